# law:  A scheduler that is made with last_epoch, on an optimizer that loaded its state, goes on: the rate stays as it was loaded, and those that follow are the closed form's.
# case: Schedule(plan='restarts_thrice', steps=5, resumed=4, again='last_epoch')
# got:  1 1 0.75 0.25 1 0.75, expected 1 1 0.75 0.25 1 0.969846 within 4.26e-14 (1 of 6 elements differ)
import sys

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # 1 is for the bug alone, 0 for its end

import torch

torch.set_num_threads(1)


def restarts_thrice(optimizer, **more):
    return torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, 1, T_mult=3, **more)


def alike(one, other):
    """Whether two states are equal: containers by what they hold, tensors by their values."""
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(alike(value, other[name]) for name, value in one.items())
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(alike, one, other))
    return bool(one == other)


def scheduled(others):
    import copy

    def build():
        members = [torch.nn.Parameter(torch.ones(1)) for _ in (1.0,)]
        lrs = [rate for rate in (1.0,)]
        groups = [{"params": [p], "lr": lr, **other} for p, lr, other in zip(members, lrs, others, strict=True)]
        return torch.optim.SGD(groups, lr=1.0, momentum=0.5)

    optimizer = build()
    scheduler = restarts_thrice(optimizer)
    found = {"rates": [], "momenta": [], "told": [], "epochs": [], "others": []}
    loaded = []  # a state, and its equal that is not loaded
    stays = True

    def note():
        own = optimizer.param_groups[: len((1.0,))]
        found["rates"].append([float(group["lr"]) for group in own])
        betas = [group.get("betas", (group.get("momentum"),)) for group in own]
        found["momenta"].append([float(each[0]) for each in betas])
        found["others"].append([[group[name] for name in other] for group, other in zip(own, others, strict=True)])
        found["others"][-1].append([each[1:] for each in betas])
        found["told"].append([float(rate) for rate in scheduler.get_last_lr()[: len((1.0,))]])
        found["epochs"].append(getattr(scheduler, "last_epoch", -1))

    note()
    for epoch in range(5):
        if epoch == 4:
            kept = copy.deepcopy(optimizer.state_dict())
            optimizer = build()
            optimizer.load_state_dict(kept)
            scheduler = restarts_thrice(optimizer, last_epoch=3)
            stays = not loaded or alike(*loaded)
        optimizer.step()
        scheduler.step()
        note()
    return {
        "rates": torch.tensor(found["rates"], dtype=torch.float64),
        "momenta": torch.tensor(found["momenta"], dtype=torch.float64),
        "told": torch.tensor(found["told"], dtype=torch.float64),
        "epochs": found["epochs"],
        "stays": [stays, alike(*loaded)] if loaded else None,
        "others": found["others"],
    }


seen = scheduled(others=[{'weight_decay': 0.5}])
got, expected, wrong = seen["rates"][0:6:][5, 0], 0.9698463103929542, 0.75
got = got.item() if isinstance(got, torch.Tensor) else got
print("got", got, "expected", expected)
sys.exit(0 if abs(got - expected) <= 4.263256414560601e-14 else 1 if abs(got - wrong) <= 0.00021984631039295423 else 2)
