# law:  clip_grad_norm_ returns the norm of all gradients and scales them by max_norm/(norm + 1e-6), never up; clip_grad_value_ clamps; what has no gradient is passed over, what is frozen and has one is not.
# case: Aftercare(times=5000.0, dtype='float16')
# got:  0 -0 0 0, expected 0.194359 -0.259145 0.0323932 0 within 0.00607 (3 of 4 elements differ)
import sys

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # 1 is for the bug alone, 0 for its end

import torch

torch.set_num_threads(1)
a = torch.full((20,), torch.nan, dtype=torch.float16).as_strided((2, 2), (2, 1), 8).copy_(torch.tensor([[15000, -20000], [2500, 0]]))
b = torch.full((19,), torch.nan, dtype=torch.float16).as_strided((3,), (1,), 8).copy_(torch.tensor([60000, -5000, 10000]))
c = torch.full((17,), torch.nan, dtype=torch.float16).as_strided((), (), 8).copy_(torch.tensor(-40000))
bare = torch.full((18,), torch.nan, dtype=torch.float16).as_strided((2,), (1,), 8).fill_(1)


def clipped(bare, **grads):
    members = [torch.nn.Parameter(torch.zeros_like(grad)) for grad in grads.values()]
    for p, grad in zip(members, grads.values(), strict=True):
        p.grad = grad
    given = [*members, torch.nn.Parameter(bare)]

    def clip():
        utils = torch.nn.utils
        return utils.clip_grad_norm_(given, 1.0, norm_type=2.0, foreach=None)

    total = clip()
    return {name: None if p.grad is None else p.grad.to_dense() for name, p in zip(grads, members, strict=False)}


seen = clipped(a=a, b=b, c=c, bare=bare)
got, expected, wrong = seen["a"][0, 0], 0.1943590645150027, 0.0
got = got.item() if isinstance(got, torch.Tensor) else got
print("got", got, "expected", expected)
sys.exit(0 if abs(got - expected) <= 0.0060737207660938345 else 1 if abs(got - wrong) <= 0.0060737207660938345 else 2)
