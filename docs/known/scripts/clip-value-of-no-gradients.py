# law:  A valid case is accepted: nothing is raised; and torch's settings (grad mode, default dtype, threads …) stay.
# case: Aftercare(what='value', single='bare')
# got:  raised RuntimeError: Expected !nested_tensorlist[0].empty() to be true, but got false.  (Could this
# error message be improved?  If so, please report an enhancement request to PyTorc
import sys

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # 1 is for the bug alone, 0 for its end

import torch

torch.set_num_threads(1)
bare = torch.full((18,), torch.nan).as_strided((2,), (1,), 8).fill_(1)


def clipped(bare, **grads):
    members = [torch.nn.Parameter(torch.zeros_like(grad)) for grad in grads.values()]
    for p, grad in zip(members, grads.values(), strict=True):
        p.grad = grad
    given = [*members, torch.nn.Parameter(bare)]
    given = members[0] if members else torch.nn.Parameter(bare)

    total = torch.nn.utils.clip_grad_value_(given, 1.0, foreach=None)
    return {name: None if p.grad is None else p.grad.to_dense() for name, p in zip(grads, members, strict=False)}


try:
    seen = clipped(bare=bare)
except Exception as error:
    if type(error).__name__ != 'RuntimeError' or 'Expected !nested_tensorlist[0].empty() to be true, but got false.  (Could this e' not in str(error):
        raise
    print("raised", repr(error), "expected no error")
    sys.exit(1)
print("no error")
