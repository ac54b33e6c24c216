# law:  An index outside [0, num_embeddings) is refused and nothing is written.
# case: Case(num_embeddings=1, embedding_dim=0, shape=(1,), stray='V')
# got:  raised RuntimeError (INDICES element is out of DATA bounds, id=1 axis_dim=1), expected IndexError
import sys

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # 1 is for the bug alone, 0 for its end

import torch

torch.set_num_threads(1)
weight = torch.full((17,), torch.nan).as_strided((1, 0), (1, 1), 8).requires_grad_()
indices = torch.full((17,), 1515870810).as_strided((1,), (1,), 8).copy_(torch.tensor([1]))


def functional(weight, **flags):
    return weight, lambda indices: torch.nn.functional.embedding(indices, weight, **flags)


def forward(weight, indices, flags):
    leaf, call = functional(weight, **flags)
    leaf.requires_grad_(True)
    value = call(indices)
    return {}


try:
    seen = forward(weight=weight, indices=indices, flags={})
except IndexError as error:
    print("raised, as it should:", repr(error))
    sys.exit(0)
except Exception as error:
    if type(error).__name__ != 'RuntimeError' or 'INDICES element is out of DATA bounds, id=1 axis_dim=1' not in str(error):
        raise
    print("raised", repr(error), "expected IndexError")
    sys.exit(1)
print("no error, expected IndexError")
sys.exit(2)
