# law:  What vector_to_parameters deals out is a copy: the vector and the parameters go their own ways.
# case: Aftercare(what='vector')
# got:  writing to the vector wrote to the parameters
import sys

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # 1 is for the bug alone, 0 for its end

import torch

torch.set_num_threads(1)
a = torch.full((20,), torch.nan).as_strided((2, 2), (2, 1), 8).copy_(torch.tensor([[3.0, -4.0], [0.5, 0.0]], dtype=torch.float32))
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
    return {"copied": copied}


seen = flattened(a=a, b=b, c=c)
got, expected, wrong = bool(seen["copied"]), True, False
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
