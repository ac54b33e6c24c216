# law:  A valid case is accepted: nothing is raised; and torch's settings (grad mode, default dtype, threads …) stay.
# case: Schedule(plan='by_function', steps=5, joined=2)
# got:  raised ValueError: zip() argument 2 is shorter than argument 1
import sys

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # 1 is for the bug alone, 0 for its end

import torch

torch.set_num_threads(1)


def by_function(optimizer, **more):
    return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda epoch: 1 / (1 + epoch), **more)


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

    def build():
        members = [torch.nn.Parameter(torch.ones(1)) for _ in (1.0,)]
        lrs = [rate for rate in (1.0,)]
        groups = [{"params": [p], "lr": lr, **other} for p, lr, other in zip(members, lrs, others, strict=True)]
        return torch.optim.SGD(groups, lr=1.0, momentum=0.5)

    optimizer = build()
    scheduler = by_function(optimizer)
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
        if epoch == 2:
            late = torch.nn.Parameter(torch.ones(1))
            optimizer.add_param_group({"params": [late], "lr": 0.5})
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


try:
    seen = scheduled(others=[{'weight_decay': 0.5}])
except Exception as error:
    if type(error).__name__ != 'ValueError' or 'zip() argument 2 is shorter than argument 1' not in str(error):
        raise
    print("raised", repr(error), "expected no error")
    sys.exit(1)
print("no error")
