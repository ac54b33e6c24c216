# law:  A scaler tells its factors and its interval and takes others, before its first loss and later, enabled or not.
# case: Aftercare(what='scale', enabled=False)
# got:  ['growth_factor', 'backoff_factor', 'growth_interval', 'growth_factor', 'backoff_factor',
# 'growth_interval'], expected []
import sys

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # 1 is for the bug alone, 0 for its end

import torch

torch.set_num_threads(1)


def all_(found):
    return found * float("inf")


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
    how = {"growth_factor": 4.0, "backoff_factor": 0.5, "growth_interval": 2, "enabled": False}
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0, **how)
    weights, others, scales, losses, taken = [], [], [], [], []
    for step in range(6):
        for optimizer in optimizers:
            optimizer.zero_grad()
        found = torch.nn.functional.embedding(rows, weight, sparse=False)
        loss = (all_(found) if step in () else weight).sum()
        larger = scaler.scale(loss)
        losses.append(float(larger) / float(loss) if step not in () else scaler.get_scale())
        larger.backward()
        for optimizer in optimizers:
            settings = torch.are_deterministic_algorithms_enabled()
            try:
                torch.use_deterministic_algorithms(settings or False)  # which fills what is left empty with NaN
                scaler.step(optimizer)
            finally:
                torch.use_deterministic_algorithms(settings)
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
    return {"untold": told(torch.amp.GradScaler("cpu", **how)) + told(scaler), "state": scaler.state_dict()}


seen = scaled(given={})
got, expected, wrong = seen["untold"], [], ['growth_factor', 'backoff_factor', 'growth_interval', 'growth_factor', 'backoff_factor', 'growth_interval']
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
