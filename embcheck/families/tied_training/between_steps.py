"""Events in the middle of a run: functions that import nothing but torch.

An event is told the step ``k`` that it comes before, ``model``, ``optimizer``, ``build``, the path of the ``table``, and the
tokens (``indices``).  Those of EVERY_STEP come before each, the others before step 1.  What an event returns, a model and an
optimizer, takes the place of these.  None may change what the steps do, but for the learning rate, which is observed.
"""

from __future__ import annotations

from typing import Any

import torch

from embcheck.core.registry import named
from embcheck.families.tied_training.training_steps import Function, Tensor

EVERY_STEP = frozenset({"closure_failed", "reloaded_always", "evaluated", "moved", "frozen", "looked_at", "hooked"})


def stepped_by_nothing(model: Any, optimizer: Any, build: Function, table: str, **given: Any) -> Any:
    if optimizer.__class__.__name__ != "SparseAdam":
        return
    twin = torch.nn.Parameter(model.get_submodule(table).weight.detach().clone())
    none, ones = torch.zeros(1, 0, dtype=torch.int64), torch.ones_like(twin).to_sparse(1)
    other = build([twin])
    for _ in range(3):  # at first, then behind steps of which there are moments
        before = twin.detach().clone()
        twin.grad = torch.sparse_coo_tensor(none, torch.zeros(0, twin.shape[1], dtype=twin.dtype), twin.shape)
        other.step()  # the gradient of a batch of nothing but padding
        if not torch.equal(twin, before):
            raise AssertionError("a gradient without entries moved the parameter")
        twin.grad = ones
        other.step()


def closure_failed(k: int, optimizer: Any, **given: Any) -> Any:
    def failing() -> Any:
        raise (ArithmeticError if k % 2 else ValueError)("a batch that can't be read")

    try:
        optimizer.step(failing)
    except (ArithmeticError, ValueError):
        return
    raise AssertionError("the closure's error was lost")


def rate_halved(optimizer: Any, **given: Any) -> Any:
    for group in optimizer.param_groups:
        group["lr"] = group["lr"] / 2


def loaded(optimizer: Any, state: Any, build: Function) -> Any:
    """Another optimizer of the same groups, which loads a state."""
    fresh = build([{"params": group["params"]} for group in optimizer.param_groups], lr=8.0)
    fresh.load_state_dict(state)
    return fresh


def reloaded_pickled(model: Any, optimizer: Any, **given: Any) -> Any:
    import pickle

    return model, loaded(optimizer, pickle.loads(pickle.dumps(optimizer.state_dict())), optimizer.__class__)


def filed(value: Any, **flags: Any) -> Any:
    import io

    file = io.BytesIO()
    torch.save(value, file)
    file.seek(0)
    return torch.load(file, **flags)


def reloaded_saved(model: Any, optimizer: Any, **given: Any) -> Any:
    kept = filed({"model": model.state_dict(), "optimizer": optimizer.state_dict()})
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    model.load_state_dict(kept["model"])
    return model, loaded(optimizer, kept["optimizer"], optimizer.__class__)


def rewound(model: Any, optimizer: Any, **given: Any) -> Any:
    import copy

    kept, values = copy.deepcopy(optimizer.state_dict()), copy.deepcopy(model.state_dict())
    for parameter in model.parameters():
        ones = torch.ones_like(parameter)
        held = [value for value in optimizer.state.get(parameter, {}).values() if isinstance(value, Tensor)]
        sparse = optimizer.__class__.__name__ == "SparseAdam" or any(value.is_sparse for value in held)
        parameter.grad = ones.to_sparse(1) if sparse else ones
    if optimizer.__class__.__name__ != "LBFGS" and not optimizer.param_groups[0].get("differentiable"):
        optimizer.step()
    for parameter in model.parameters():
        parameter.grad = None
    optimizer.load_state_dict(kept)
    model.load_state_dict(values)


def copied(model: Any, optimizer: Any, **given: Any) -> Any:
    import copy

    return copy.deepcopy((model, optimizer))


def pickled(model: Any, optimizer: Any, **given: Any) -> Any:
    import pickle

    return pickle.loads(pickle.dumps((model, optimizer)))


def copy_trained(model: Any, **given: Any) -> Any:
    import copy

    other = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.fill_(77.0)


def model_reloaded(model: Any, **given: Any) -> Any:
    kept = {name: value.clone() for name, value in model.state_dict().items()}
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(77.0)
    model.load_state_dict(kept)


def evaluated(model: Any, table: str, indices: Tensor, **given: Any) -> Any:
    model.eval()
    with torch.no_grad():
        model.get_submodule(table)(indices[0])
    model.train()


def moved(model: Any, optimizer: Any, table: str, **given: Any) -> Any:
    model.to("cpu").to(model.get_submodule(table).weight.dtype).requires_grad_(True)
    return model.apply(lambda module: None), optimizer


def frozen(k: int, model: Any, **given: Any) -> Any:
    model.requires_grad_(k != 1)


def group_added(model: Any, optimizer: Any, table: str, **given: Any) -> Any:
    weight = model.get_submodule(table).weight
    optimizer.add_param_group({"params": [torch.nn.Parameter(torch.ones(2, 2, dtype=weight.dtype))], "lr": 8.0})
    try:
        optimizer.add_param_group({"params": [weight]})
    except ValueError:
        return
    raise AssertionError("a parameter was accepted in a second group")


def looked_at(model: Any, optimizer: Any, **given: Any) -> Any:
    repr(optimizer), repr(model), optimizer.state_dict(), model.state_dict(), list(model.named_parameters())


def hooked(k: int, model: Any, optimizer: Any, **given: Any) -> Any:
    if k == 0:
        model.calls = calls = {"before": 0, "after": 0}
        optimizer.register_step_pre_hook(lambda *_: calls.update(before=calls["before"] + 1))
        optimizer.register_step_post_hook(lambda *_: calls.update(after=calls["after"] + 1))
    if model.calls != {"before": k, "after": k}:
        raise AssertionError(f"after {k} steps the step hooks were called {model.calls}")


#: What "skipped", "accumulated" and "alternating" say of the steps is the case's matter.
EVENTS: dict[str, Function] = named(
    {
        "nothing": lambda **given: None,
        "stepped_by_nothing": stepped_by_nothing,
        "closure_failed": closure_failed,
        "rate_halved": rate_halved,
        "reloaded": lambda model, optimizer, **given: (
            model,
            loaded(optimizer, optimizer.state_dict(), type(optimizer)),
        ),
        "reloaded_always": lambda model, optimizer, build, **given: (
            model,
            loaded(optimizer, optimizer.state_dict(), build),
        ),
        "reloaded_pickled": reloaded_pickled,
        "reloaded_saved": reloaded_saved,
        "rewound": rewound,
        "copied": copied,
        "pickled": pickled,
        "saved": lambda model, optimizer, **given: filed((model, optimizer), weights_only=False),
        "copy_trained": copy_trained,
        "model_reloaded": model_reloaded,
        "evaluated": evaluated,
        "moved": moved,
        "frozen": frozen,
        "skipped": lambda **given: None,
        "accumulated": lambda **given: None,
        "alternating": lambda **given: None,
        "group_added": group_added,
        "looked_at": looked_at,
        "hooked": hooked,
    },
    prefix="event_",
)
