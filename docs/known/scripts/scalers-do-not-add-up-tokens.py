# law:  A gradient whose entries add up to infinity is infinite, and its step is left out, in a sparse gradient as in a dense one.
# case: Aftercare(what='scale', sparse=True, bad=(0,), steps=1, initial=1.0, excess='sum')
# got:  [1.0], expected [0.5]
import sys

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # 1 is for the bug alone, 0 for its end

import torch

torch.set_num_threads(1)


def sum_(found):
    # The first row comes twice, and twice half of what float32 does not reach.
    return found * 2.0**127


def accepted(call, *given, **flags):
    """Whether nothing is raised."""
    try:
        call(*given, **flags)
    except (RuntimeError, ValueError):
        return False
    return True


def misused(scaler):
    """What a scaler takes that it is documented to refuse."""
    p = torch.nn.Parameter(torch.ones(2, 1, dtype=torch.float16))
    p.grad = torch.full_like(p, 8.0)
    optimizer = torch.optim.SGD([p], lr=0.5)
    scaler.scale(torch.ones(()))
    single = torch.nn.Parameter(torch.ones(2, 1))
    single.grad = torch.zeros_like(single)  # for all that a step could refuse is the closure
    stepped = torch.optim.SGD([single], lr=0.5)
    tries = {
        "a step with a closure": accepted(scaler.step, stepped, closure=lambda: 0.0),
        "gradients in half precision": accepted(scaler.unscale_, optimizer),
        "a step with gradients in half precision": accepted(scaler.step, optimizer),
        "the state of one that is not enabled": accepted(scaler.load_state_dict, {}),
    }
    taken = [name for name, tried in tries.items() if tried]
    return taken + (["a gradient that it refuses"] if p.grad.ne(8).any() or p.detach().ne(1).any() else [])


def told(scaler):
    """What a scaler does not tell of itself, or not take."""
    missing = []
    for name in ("growth_factor", "backoff_factor", "growth_interval"):
        try:
            getattr(scaler, f"set_{name}")(getattr(scaler, f"get_{name}")())
        except AttributeError:
            missing.append(name)
    return missing

Tensor = torch.Tensor

def scaled(given):
    weight, other = torch.nn.Parameter(torch.full((2, 1), 8.0)), torch.nn.Parameter(torch.full((2, 1), 8.0))
    rows = torch.tensor([0, 1, 0])
    shares = torch.tensor([[0.25], [1.0], [0.75]])  # a row that comes twice has a gradient of one in all
    parts = {
        "": [[weight]],
        "before": [[other, weight]],
        "after": [[weight, other]],
        "ahead": [[other], [weight]],
        "behind": [[weight], [other]],
    }
    optimizers = [
        torch.optim.SGD([{"params": [member]} for member in part], lr=0.5) for part in parts['']
    ]
    how = {"growth_factor": 4.0, "backoff_factor": 0.5, "growth_interval": 2, "enabled": True}
    scaler = torch.amp.GradScaler("cpu", init_scale=1.0, **how)
    weights, others, scales, losses, taken = [], [], [], [], []
    for step in range(1):
        for optimizer in optimizers:
            optimizer.zero_grad()
        found = torch.nn.functional.embedding(rows, weight, sparse=True)
        loss = (sum_(found) if step in (0,) else found * shares).sum()
        larger = scaler.scale(loss)
        losses.append(float(larger) / float(loss) if step not in (0,) else scaler.get_scale())
        larger.backward()
        for optimizer in optimizers:
            settings = torch.are_deterministic_algorithms_enabled()
            try:
                torch.use_deterministic_algorithms(settings or False)  # which fills what is left empty with NaN
                scaler.step(optimizer)
            finally:
                torch.use_deterministic_algorithms(settings)
            if accepted(scaler.unscale_, optimizer):
                taken.append("unscale_ after step")
            if accepted(scaler.step, optimizer):
                taken.append("step after step")
        if step in given:
            scale = given[step]
            scaler.update(scale)
            if isinstance(scale, Tensor):
                scale.zero_()
        else:
            scaler.update()
        weights.append(weight.detach().reshape(2).clone())
        others.append(other.detach().reshape(2).clone())
        scales.append(scaler.get_scale())
    return {
        "scales": scales,
        "factors": [scaler.get_growth_factor(), scaler.get_backoff_factor(), scaler.get_growth_interval()],
        "untold": told(torch.amp.GradScaler("cpu", **how)) + told(scaler),
        "state": scaler.state_dict(),
        "taken": taken + (misused(scaler)),
    }


seen = scaled(given={})
got, expected, wrong = seen["scales"], [0.5], [1.0]
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
