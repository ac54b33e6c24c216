# law:  A valid case is accepted: nothing is raised; and torch's settings (grad mode, default dtype, threads …) stay.
# case: Aftercare(what='vector', layout='transposed')
# got:  raised RuntimeError: view size is not compatible with input tensor's size and stride (at least one
# dimension spans across two contiguous subspaces). Use .reshape(...) instead.
import sys

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # 1 is for the bug alone, 0 for its end

import torch

torch.set_num_threads(1)
a = torch.full((20,), torch.nan).as_strided((2, 2), (1, 2), 8).copy_(torch.tensor([[3.0, -4.0], [0.5, 0.0]], dtype=torch.float32))
b = torch.full((19,), torch.nan).as_strided((3,), (1,), 8).copy_(torch.tensor([12, -1, 2]))
c = torch.full((17,), torch.nan).as_strided((), (), 8).copy_(torch.tensor(-8))


def flattened(**parts):
    utils = torch.nn.utils
    members = [torch.nn.Parameter(parts[name]) for name in ('a', 'b', 'c')]
    vector = torch.cat([p.reshape(-1) for p in members])
    vector = utils.parameters_to_vector(iter(members))
    flat = vector.detach().clone()
    dealt = torch.arange(1.0, 1 + flat.numel(), dtype=flat.dtype)
    utils.vector_to_parameters(dealt, iter(members))
    shares = [p.detach().flatten().tolist() for p in members]
    dealt.neg_()
    copied = shares == [p.detach().flatten().tolist() for p in members]
    try:
        utils.vector_to_parameters([1.0], iter(members))  # type: ignore[arg-type]
    except TypeError:
        pass
    return {}


try:
    seen = flattened(a=a, b=b, c=c)
except Exception as error:
    if type(error).__name__ != 'RuntimeError' or "view size is not compatible with input tensor's size and stride (at least one di" not in str(error):
        raise
    print("raised", repr(error), "expected no error")
    sys.exit(1)
print("no error")
