# law:  A valid case is accepted: nothing is raised; and torch's settings (grad mode, default dtype, threads …) stay.
# case: Aftercare(kind=1e999, hollow=True)
# got:  raised RuntimeError: _foreach_norm cannot compute the infinity norm on an empty tensor because the
# operation does not have an identity
import sys

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # 1 is for the bug alone, 0 for its end

import torch

torch.set_num_threads(1)
a = torch.full((20,), torch.nan).as_strided((2, 2), (2, 1), 8).copy_(torch.tensor([[3.0, -4.0], [0.5, 0.0]], dtype=torch.float32))
b = torch.full((19,), torch.nan).as_strided((3,), (1,), 8).copy_(torch.tensor([12, -1, 2]))
c = torch.full((17,), torch.nan).as_strided((), (), 8).copy_(torch.tensor(-8))
bare = torch.full((18,), torch.nan).as_strided((2,), (1,), 8).fill_(1)


def clipped(kind, bare, **grads):
    members = [torch.nn.Parameter(torch.zeros_like(grad)) for grad in grads.values()]
    for p, grad in zip(members, grads.values(), strict=True):
        p.grad = grad
    members.append(torch.nn.Parameter(torch.zeros((0, 3), dtype=bare.dtype)))
    members[-1].grad = torch.zeros_like(members[-1])
    given = [*members, torch.nn.Parameter(bare)]

    def clip():
        utils = torch.nn.utils
        return utils.clip_grad_norm_(given, 1.0, norm_type=kind, foreach=None)

    total = clip()
    return {name: None if p.grad is None else p.grad.to_dense() for name, p in zip(grads, members, strict=False)}


try:
    seen = clipped(a=a, b=b, c=c, bare=bare, kind=float("inf"))
except Exception as error:
    if type(error).__name__ != 'RuntimeError' or '_foreach_norm cannot compute the infinity norm on an empty tensor because the op' not in str(error):
        raise
    print("raised", repr(error), "expected no error")
    sys.exit(1)
print("no error")
