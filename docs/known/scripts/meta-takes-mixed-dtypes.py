# law:  A scalar input, another width, a bias of another length and mixed dtypes are refused.
# case: AffineCase(width=2, outputs=3, bias=True, misfit='double_weight', device='meta')
# got:  accepted, expected RuntimeError
import sys

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # 1 is for the bug alone, 0 for its end

import torch

torch.set_num_threads(1)
x = torch.full((20,), torch.nan).as_strided((2, 2), (2, 1), 8).copy_(torch.tensor([[-1, -1], [-3, 2]]))
weight = torch.full((22,), torch.nan).as_strided((3, 2), (2, 1), 8).copy_(torch.tensor([[-1, 3], [1, 1], [-2, 3]]))
bias = torch.full((19,), torch.nan).as_strided((3,), (1,), 8).copy_(torch.tensor([-2, 2, 3]))


def double_weight(x, weight, bias):
    return torch.nn.functional.linear(x.float(), weight.double(), None)


def misfit(x, weight, bias ):
    return {"accepted": double_weight(*(given.to('meta') for given in (x, weight, bias)))}


try:
    seen = misfit(x=x, weight=weight, bias=bias)
except RuntimeError as error:
    print("raised, as it should:", repr(error))
    sys.exit(0)
print("no error, expected RuntimeError")
sys.exit(1)
