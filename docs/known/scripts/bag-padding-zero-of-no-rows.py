# law:  Offsets that are none, tokens outside the table, and calls that mean nothing are refused, and nothing is written.
# case: BagCase(num_embeddings=1, embedding_dim=1, mistake='padding_zero_of_no_rows')
# got:  raised IndexError (index 0 is out of bounds for dimension 0 with size 0), expected AssertionError
import sys

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # 1 is for the bug alone, 0 for its end

import torch

torch.set_num_threads(1)
weight = torch.full((17,), torch.nan).as_strided((1, 1), (1, 1), 8).copy_(torch.tensor([[1]]))


def padding_zero_of_no_rows(weight):
    return torch.nn.EmbeddingBag(0, weight.shape[1], padding_idx=0)


def mistaken(weight):
    return {"value": padding_zero_of_no_rows(weight)}


try:
    seen = mistaken(weight=weight)
except AssertionError as error:
    print("raised, as it should:", repr(error))
    sys.exit(0)
except Exception as error:
    if type(error).__name__ != 'IndexError' or 'index 0 is out of bounds for dimension 0 with size 0' not in str(error):
        raise
    print("raised", repr(error), "expected AssertionError")
    sys.exit(1)
print("no error, expected AssertionError")
sys.exit(2)
