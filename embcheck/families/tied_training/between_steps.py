"""Events in the middle of a run: functions that import nothing but torch.

An event ``(k, model, optimizer, build, table, indices) -> (model, optimizer)`` comes before step k.  None of those here
may change what the steps do, but for the learning rate, which is observed.
"""

from __future__ import annotations

from typing import Any

import torch

from embcheck.core.registry import into
from embcheck.families.tied_training.training_steps import EVENTS, Function, Tensor


@into(EVENTS)
def nothing(k: int, model: Any, optimizer: Any, build: Function, table: str, indices: Tensor) -> Any:
    return model, optimizer


@into(EVENTS)
def stepped_by_nothing(k: int, model: Any, optimizer: Any, build: Function, table: str, indices: Tensor) -> Any:
    if k == 1 and optimizer.__class__.__name__ == "SparseAdam":
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
    return model, optimizer


@into(EVENTS)
def closure_failed(k: int, model: Any, optimizer: Any, build: Function, table: str, indices: Tensor) -> Any:
    def failing() -> Any:
        raise (ArithmeticError if k % 2 else ValueError)("a batch that can't be read")

    try:
        optimizer.step(failing)
    except (ArithmeticError, ValueError):
        return model, optimizer
    raise AssertionError("the closure's error was lost")


@into(EVENTS)
def rate_halved(k: int, model: Any, optimizer: Any, build: Function, table: str, indices: Tensor) -> Any:
    if k == 1:
        for group in optimizer.param_groups:
            group["lr"] = group["lr"] / 2
    return model, optimizer


@into(EVENTS)
def reloaded(k: int, model: Any, optimizer: Any, build: Function, table: str, indices: Tensor) -> Any:
    if k == 1:
        groups = [{"params": group["params"]} for group in optimizer.param_groups]
        fresh = optimizer.__class__(groups, lr=8.0)
        fresh.load_state_dict(optimizer.state_dict())
        return model, fresh
    return model, optimizer


@into(EVENTS)
def reloaded_always(k: int, model: Any, optimizer: Any, build: Function, table: str, indices: Tensor) -> Any:
    groups = [{"params": group["params"]} for group in optimizer.param_groups]
    fresh = build(groups, lr=8.0)
    fresh.load_state_dict(optimizer.state_dict())
    return model, fresh


@into(EVENTS)
def reloaded_pickled(k: int, model: Any, optimizer: Any, build: Function, table: str, indices: Tensor) -> Any:
    import pickle

    if k == 1:
        kept = pickle.dumps(optimizer.state_dict())
        optimizer = optimizer.__class__([{"params": group["params"]} for group in optimizer.param_groups], lr=8.0)
        optimizer.load_state_dict(pickle.loads(kept))
    return model, optimizer


@into(EVENTS)
def reloaded_saved(k: int, model: Any, optimizer: Any, build: Function, table: str, indices: Tensor) -> Any:
    import io

    if k == 1:
        file = io.BytesIO()
        torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, file)
        file.seek(0)
        kept = torch.load(file)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.zero_()
        optimizer = optimizer.__class__([{"params": group["params"]} for group in optimizer.param_groups], lr=8.0)
        model.load_state_dict(kept["model"])
        optimizer.load_state_dict(kept["optimizer"])
    return model, optimizer


@into(EVENTS)
def rewound(k: int, model: Any, optimizer: Any, build: Function, table: str, indices: Tensor) -> Any:
    import copy

    if k == 1:
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
    return model, optimizer


@into(EVENTS)
def copied(k: int, model: Any, optimizer: Any, build: Function, table: str, indices: Tensor) -> Any:
    import copy

    return copy.deepcopy((model, optimizer)) if k == 1 else (model, optimizer)


@into(EVENTS)
def pickled(k: int, model: Any, optimizer: Any, build: Function, table: str, indices: Tensor) -> Any:
    import pickle

    return pickle.loads(pickle.dumps((model, optimizer))) if k == 1 else (model, optimizer)


@into(EVENTS)
def saved(k: int, model: Any, optimizer: Any, build: Function, table: str, indices: Tensor) -> Any:
    import io

    if k == 1:
        file = io.BytesIO()
        torch.save((model, optimizer), file)
        file.seek(0)
        model, optimizer = torch.load(file, weights_only=False)
    return model, optimizer


@into(EVENTS)
def copy_trained(k: int, model: Any, optimizer: Any, build: Function, table: str, indices: Tensor) -> Any:
    import copy

    if k == 1:
        other = copy.deepcopy(model)
        with torch.no_grad():
            for parameter in other.parameters():
                parameter.fill_(77.0)
    return model, optimizer


@into(EVENTS)
def model_reloaded(k: int, model: Any, optimizer: Any, build: Function, table: str, indices: Tensor) -> Any:
    if k == 1:
        kept = {name: value.clone() for name, value in model.state_dict().items()}
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.fill_(77.0)
        model.load_state_dict(kept)
    return model, optimizer


@into(EVENTS)
def evaluated(k: int, model: Any, optimizer: Any, build: Function, table: str, indices: Tensor) -> Any:
    model.eval()
    with torch.no_grad():
        model.get_submodule(table)(indices[0])
    model.train()
    return model, optimizer


@into(EVENTS)
def moved(k: int, model: Any, optimizer: Any, build: Function, table: str, indices: Tensor) -> Any:
    model.to("cpu").to(model.get_submodule(table).weight.dtype).requires_grad_(True)
    return model.apply(lambda module: None), optimizer


@into(EVENTS)
def frozen(k: int, model: Any, optimizer: Any, build: Function, table: str, indices: Tensor) -> Any:
    model.requires_grad_(k != 1)
    return model, optimizer


@into(EVENTS)
def skipped(k: int, model: Any, optimizer: Any, build: Function, table: str, indices: Tensor) -> Any:
    return model, optimizer


@into(EVENTS)
def accumulated(k: int, model: Any, optimizer: Any, build: Function, table: str, indices: Tensor) -> Any:
    return model, optimizer


@into(EVENTS)
def alternating(k: int, model: Any, optimizer: Any, build: Function, table: str, indices: Tensor) -> Any:
    return model, optimizer


@into(EVENTS)
def group_added(k: int, model: Any, optimizer: Any, build: Function, table: str, indices: Tensor) -> Any:
    if k == 1:
        weight = model.get_submodule(table).weight
        optimizer.add_param_group({"params": [torch.nn.Parameter(torch.ones(2, 2, dtype=weight.dtype))], "lr": 8.0})
        try:
            optimizer.add_param_group({"params": [weight]})
        except ValueError:
            return model, optimizer
        raise AssertionError("a parameter was accepted in a second group")
    return model, optimizer


@into(EVENTS)
def looked_at(k: int, model: Any, optimizer: Any, build: Function, table: str, indices: Tensor) -> Any:
    repr(optimizer), repr(model), optimizer.state_dict(), model.state_dict(), list(model.named_parameters())
    return model, optimizer


@into(EVENTS)
def hooked(k: int, model: Any, optimizer: Any, build: Function, table: str, indices: Tensor) -> Any:
    if k == 0:
        model.calls = calls = {"before": 0, "after": 0}
        optimizer.register_step_pre_hook(lambda *_: calls.update(before=calls["before"] + 1))
        optimizer.register_step_post_hook(lambda *_: calls.update(after=calls["after"] + 1))
    if model.calls != {"before": k, "after": k}:
        raise AssertionError(f"after {k} steps the step hooks were called {model.calls}")
    return model, optimizer
