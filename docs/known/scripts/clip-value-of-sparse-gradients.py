# law:  A valid case is accepted: nothing is raised; and torch's settings (grad mode, default dtype, threads …) stay.
# case: Aftercare(what='value', sparse=True)
# got:  raised NotImplementedError: Could not run 'aten::clamp_min_' with arguments from the 'SparseCPU'
# backend. This could be because the operator doesn't exist for this backend, or was omitted
import sys

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # 1 is for the bug alone, 0 for its end

import torch

torch.set_num_threads(1)
a = torch.full((20,), torch.nan).as_strided((2, 2), (2, 1), 8).copy_(torch.tensor([[3.0, -4.0], [0.5, 0.0]], dtype=torch.float32))
b = torch.full((19,), torch.nan).as_strided((3,), (1,), 8).copy_(torch.tensor([12, -1, 2]))
c = torch.full((17,), torch.nan).as_strided((), (), 8).copy_(torch.tensor(-8))
bare = torch.full((18,), torch.nan).as_strided((2,), (1,), 8).fill_(1)


def clipped(bare, **grads):
    grads = {name: grad.to_sparse(1) if grad.dim() == 2 else grad for name, grad in grads.items()}
    members = [torch.nn.Parameter(torch.zeros_like(grad)) for grad in grads.values()]
    for p, grad in zip(members, grads.values(), strict=True):
        p.grad = grad
    given = [*members, torch.nn.Parameter(bare)]

    total = torch.nn.utils.clip_grad_value_(given, 1.0, foreach=None)
    return {name: None if p.grad is None else p.grad.to_dense() for name, p in zip(grads, members, strict=False)}


try:
    seen = clipped(a=a, b=b, c=c, bare=bare)
except Exception as error:
    if type(error).__name__ != 'NotImplementedError' or "Could not run 'aten::clamp_min_' with arguments from the 'SparseCPU' backend. Th" not in str(error):
        raise
    print("raised", repr(error), "expected no error")
    sys.exit(1)
print("no error")
