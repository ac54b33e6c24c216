# law:  Offsets that are none, tokens outside the table, and calls that mean nothing are refused, and nothing is written.
# case: BagCase(num_embeddings=1, embedding_dim=1, mistake='limited_weighted_mean')
# got:  weight: its elements changed
import sys

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # 1 is for the bug alone, 0 for its end

import torch

torch.set_num_threads(1)
weight_memory = torch.full((17,), torch.nan)
weight = weight_memory.as_strided((1, 1), (1, 1), 8).copy_(torch.tensor([[1]]))
weight_before = weight_memory.clone()


def tokens(*shape):
    return torch.zeros(shape, dtype=torch.int64)


def limited_weighted_mean(weight):
    samples = torch.ones(1, 2, dtype=weight.dtype)
    table = weight.detach()
    return torch.nn.functional.embedding_bag(tokens(1, 2), table, None, 1e-3, mode="mean", per_sample_weights=samples)


def mistaken(weight):
    return {"value": limited_weighted_mean(weight)}


try:
    seen = mistaken(weight=weight)
except Exception as error:
    print("raised, as it should:", repr(error))
before, after = weight_before, weight_memory.detach()
written = (before.view(torch.uint8) != after.view(torch.uint8)).sum().item()
print("bytes written to weight:", written, "expected 0")
sys.exit(1 if written else 0)
