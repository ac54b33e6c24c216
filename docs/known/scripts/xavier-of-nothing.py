# law:  A valid case is accepted: nothing is raised; and torch's settings (grad mode, default dtype, threads …) stay.
# case: Filling(fill='xavier_uniform', shape=(0, 0))
# got:  raised ZeroDivisionError: float division by zero
import sys

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # 1 is for the bug alone, 0 for its end

import torch
import torch.cuda

torch.set_num_threads(1)
weight = torch.full((17,), torch.nan).as_strided((0, 0), (1, 1), 8)


def xavier_uniform(t):
    return torch.nn.init.xavier_uniform_(t, generator=None)


def seeded():
    # torch.manual_seed also keeps a traceback for each kind of device that is not in use, which takes a millisecond.
    torch.default_generator.manual_seed(0)
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(0)


def filled(weight):
    import warnings

    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        if not weight.numel():
            warnings.simplefilter("ignore")  # filling nothing warns
        seeded()
        target = torch.nn.Parameter(weight, requires_grad=True)
        gradient = target.grad = torch.ones_like(target)
        part = target
        returned = xavier_uniform(part)
        xavier_uniform(part)
        seeded()
        xavier_uniform(part)
    return {}


try:
    seen = filled(weight=weight)
except Exception as error:
    if type(error).__name__ != 'ZeroDivisionError' or 'float division by zero' not in str(error):
        raise
    print("raised", repr(error), "expected no error")
    sys.exit(1)
print("no error")
