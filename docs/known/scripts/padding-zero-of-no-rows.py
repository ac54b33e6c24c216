# law:  A wrong padding_idx, shape, rank, keyword, size or index dtype is refused, and nothing is written.
# case: ConstructionCase(wrong='padding_zero_of_an_empty_table')
# got:  accepted, expected AssertionError
import sys

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # 1 is for the bug alone, 0 for its end

import torch

torch.set_num_threads(1)
weight = torch.full((22,), torch.nan).as_strided((3, 2), (2, 1), 8).copy_(torch.tensor([[1, -2], [3, -4], [5, -6]]))


def padding_zero_of_an_empty_table(weight, **flags):
    return torch.nn.Embedding.from_pretrained(weight[:0], padding_idx=0, **flags)


def refused(flags, weight):
    padding_zero_of_an_empty_table(weight, **flags)
    return {}


try:
    seen = refused(weight=weight, flags={})
except AssertionError as error:
    print("raised, as it should:", repr(error))
    sys.exit(0)
print("no error, expected AssertionError")
sys.exit(1)
