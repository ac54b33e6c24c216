# law:  A valid case is accepted: nothing is raised; and torch's settings (grad mode, default dtype, threads …) stay.
# case: Filling(fill='orthogonal', shape=(6, 3, 5), layout='transposed', seed=1336)
# got:  raised RuntimeError: view size is not compatible with input tensor's size and stride (at least one
# dimension spans across two contiguous subspaces). Use .reshape(...) instead.
import sys

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # 1 is for the bug alone, 0 for its end

import torch
import torch.cuda

torch.set_num_threads(1)
weight = torch.full((106,), torch.nan).as_strided((6, 3, 5), (1, 6, 18), 8).copy_(torch.tensor([[[1088421888, 2143289344, 1088421888, 2139095040, 1088421888], [2143289344, 1088421888, 2139095040, 1088421888, 2143289344], [1088421888, 2139095040, 1088421888, 2143289344, 1088421888]], [[2139095040, 1088421888, 2143289344, 1088421888, 2139095040], [1088421888, 2143289344, 1088421888, 2139095040, 1088421888], [2143289344, 1088421888, 2139095040, 1088421888, 2143289344]], [[1088421888, 2139095040, 1088421888, 2143289344, 1088421888], [2139095040, 1088421888, 2143289344, 1088421888, 2139095040], [1088421888, 2143289344, 1088421888, 2139095040, 1088421888]], [[2143289344, 1088421888, 2139095040, 1088421888, 2143289344], [1088421888, 2139095040, 1088421888, 2143289344, 1088421888], [2139095040, 1088421888, 2143289344, 1088421888, 2139095040]], [[1088421888, 2143289344, 1088421888, 2139095040, 1088421888], [2143289344, 1088421888, 2139095040, 1088421888, 2143289344], [1088421888, 2139095040, 1088421888, 2143289344, 1088421888]], [[2139095040, 1088421888, 2143289344, 1088421888, 2139095040], [1088421888, 2143289344, 1088421888, 2139095040, 1088421888], [2143289344, 1088421888, 2139095040, 1088421888, 2143289344]]], dtype=torch.int32).view(torch.float32))


def orthogonal(t):
    return torch.nn.init.orthogonal_(t, generator=None)


def seeded():
    # torch.manual_seed also keeps a traceback for each kind of device that is not in use, which takes a millisecond.
    torch.default_generator.manual_seed(1336)
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(1336)


def filled(weight):
    import warnings

    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        if not weight.numel():
            warnings.simplefilter("ignore")  # filling nothing warns
        seeded()
        target = torch.nn.Parameter(weight, requires_grad=True)
        gradient = target.grad = torch.ones_like(target)
        part = target
        returned = orthogonal(part)
        orthogonal(part)
        seeded()
        orthogonal(part)
    return {}


try:
    seen = filled(weight=weight)
except Exception as error:
    if type(error).__name__ != 'RuntimeError' or "view size is not compatible with input tensor's size and stride (at least one di" not in str(error):
        raise
    print("raised", repr(error), "expected no error")
    sys.exit(1)
print("no error")
