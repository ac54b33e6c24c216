# law:  Offsets that are none, tokens outside the table, and calls that mean nothing are refused, and nothing is written.
# case: BagCase(num_embeddings=1, embedding_dim=1, mistake='offsets_bool')
# got:  accepted, expected RuntimeError
import sys

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # 1 is for the bug alone, 0 for its end

import torch

torch.set_num_threads(1)
weight = torch.full((17,), torch.nan).as_strided((1, 1), (1, 1), 8).copy_(torch.tensor([[1]]))


def tokens(*shape):
    return torch.zeros(shape, dtype=torch.int64)


def offsets_bool(weight):
    return torch.nn.functional.embedding_bag(tokens(2).int(), weight, tokens(1).bool())


def mistaken(weight):
    return {"value": offsets_bool(weight)}


try:
    seen = mistaken(weight=weight)
except RuntimeError as error:
    print("raised, as it should:", repr(error))
    sys.exit(0)
print("no error, expected RuntimeError")
sys.exit(1)
