# law:  Numbers come from the generator that is given and from no other: seeded alike they are alike, and then they go on.
# case: Filling(fill='sparse_half', shape=(4, 4), own_generator=True, seed=90)
# got:  torch's own generator was used
import sys

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # 1 is for the bug alone, 0 for its end

import torch
import torch.cuda

torch.set_num_threads(1)
weight = torch.full((32,), torch.nan).as_strided((4, 4), (4, 1), 8).copy_(torch.tensor([[1088421888, 2143289344, 1088421888, 2139095040], [1088421888, 2143289344, 1088421888, 2139095040], [1088421888, 2143289344, 1088421888, 2139095040], [1088421888, 2143289344, 1088421888, 2139095040]], dtype=torch.int32).view(torch.float32))


def sparse_half(t, g):
    return torch.nn.init.sparse_(t, sparsity=0.5, generator=g)


def seeded():
    # torch.manual_seed also keeps a traceback for each kind of device that is not in use, which takes a millisecond.
    torch.default_generator.manual_seed(90)
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(90)


def filled(weight):
    import warnings

    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        if not weight.numel():
            warnings.simplefilter("ignore")  # filling nothing warns
        seeded()
        generator = torch.Generator().manual_seed(90)
        target = torch.nn.Parameter(weight, requires_grad=True)
        gradient = target.grad = torch.ones_like(target)
        part = target
        version, state = target._version, torch.get_rng_state()
        returned = sparse_half(part, generator)
        undisturbed = torch.equal(torch.get_rng_state(), state)
        sparse_half(part, generator)
        seeded()
        if generator is not None:
            generator.manual_seed(90)
        sparse_half(part, generator)
    return {"undisturbed": undisturbed}


seen = filled(weight=weight)
got, expected, wrong = bool(seen["undisturbed"]), True, False
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
