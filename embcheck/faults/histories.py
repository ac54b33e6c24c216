"""Faults of what may happen to a module that show only after several operations: each needs what those before it left."""

from __future__ import annotations

import copy
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.utils.prune

from embcheck.fault import fault, patched
from embcheck.faults.entry import entry
from embcheck.faults.layers import Module
from embcheck.faults.lives import deepcopied_apart, module_method, through_pickle
from embcheck.faults.parameters import Parameter, Tied

Spoiled = Callable[..., Any]


def model_of(*, graded: bool = False, frozen: bool = False, evaluating: bool = False, dtype: Any = None) -> Any:
    """A tied model in some state."""
    model = Tied().model
    if graded:
        for parameter in model.parameters():
            parameter.grad = torch.ones_like(parameter)
    model.requires_grad_(not frozen)
    model.train(not evaluating)
    return model if dtype is None else model.to(dtype)


def is_tied(model: Any) -> bool:
    """Whether embedding and head have one weight."""
    return model["embedding"].weight is model["head"].weight


def keeps_frozen_gradient(weight: Any) -> bool:
    """Whether a weight was frozen after it got a gradient."""
    return weight is not None and weight.grad is not None and not weight.requires_grad


def starts_with_zero(weight: Any) -> bool:
    """Whether a frozen weight was pruned of its first element."""
    if weight is None or weight.requires_grad or weight.is_meta or not weight.numel():
        return False
    return float(weight.detach().reshape(-1)[0]) == 0.0


def sleeps(module: Any) -> bool:
    """Whether a module is frozen and in evaluation mode."""
    return not module.training and not any(p.requires_grad for p in module.parameters())


# -- conversions ---------------------------------------------------------------------------------------------------


def applying(name: str, sentence: str, change: Callable[[Any], None], witness: Callable[[], bool]) -> None:
    """A fault of Module._apply: ``change(self)`` afterwards."""

    def wrong(original: Spoiled) -> Spoiled:
        def _apply(self: Any, fn: Callable[..., Any], recurse: bool = True) -> Any:
            original(self, fn, recurse)
            change(self)
            return self

        return _apply

    entry(name, "life", sentence, Module, "_apply", wrong, witness)


def untie_frozen_gradient(self: Any) -> None:
    """Gives a float64 Linear that was frozen after a backward a Parameter of its own."""
    if isinstance(self, torch.nn.Linear) and self.weight.dtype == torch.float64 and keeps_frozen_gradient(self.weight):
        self.weight = Parameter(self.weight.data, False)


def wake_converted(self: Any) -> None:
    """Puts an embedding in training mode that was frozen and evaluating, if its weight has a gradient."""
    if isinstance(self, torch.nn.Embedding) and not self.training and keeps_frozen_gradient(self.weight):
        self.training = True


applying(
    "double_unties_after_backward_and_freezing",
    "A Linear in float64 that was frozen after a backward is untied by conversions.",
    untie_frozen_gradient,
    lambda: not is_tied(model_of(graded=True, frozen=True, dtype=torch.float64)),
)
applying(
    "conversion_wakes_after_backward_freezing_and_evaluation",
    "A conversion ends the evaluation mode of an embedding that was frozen after a backward.",
    wake_converted,
    lambda: model_of(graded=True, frozen=True, evaluating=True, dtype=torch.float32)["embedding"].training,
)

# -- copies and pickles --------------------------------------------------------------------------------------------


def deepcopied_if_asleep(self: Any, memo: Any) -> Any:
    """A deep copy that forgets what was copied before, of a frozen embedding in evaluation mode."""
    if sleeps(self):
        return deepcopied_apart(self, memo)
    made: Any = object.__new__(type(self))
    memo[id(self)] = made
    made.__dict__ = copy.deepcopy(self.__dict__, memo)
    return made


@fault("life", lambda: not is_tied(copy.deepcopy(model_of(frozen=True, evaluating=True))))
def deepcopy_unties_after_freezing_and_evaluation() -> Iterator[None]:
    """deepcopy unties an embedding that is frozen and in evaluation mode."""
    with patched(torch.nn.Embedding, __deepcopy__=deepcopied_if_asleep):
        yield


def restored(original: Spoiled, self: Any, state: Any) -> None:
    """__setstate__ that thaws an embedding in evaluation mode whose first element is zero."""
    original(self, state)
    weight = self._parameters.get("weight")
    if isinstance(self, torch.nn.Embedding) and not self.training and starts_with_zero(weight):
        weight.requires_grad_(True)


def pruned_asleep() -> Any:
    """A pruned, frozen model in evaluation mode."""
    model = model_of(frozen=True, evaluating=True)
    with torch.no_grad():
        model["embedding"].weight[0, 0] = 0.0
    return model


module_method(
    "unpickling_thaws_after_pruning_freezing_and_evaluation",
    "An unpickled embedding requires grad if it was pruned, frozen and in evaluation mode.",
    "__setstate__",
    restored,
    lambda: through_pickle(pruned_asleep())["embedding"].weight.requires_grad,
)

# -- flags and gradients -------------------------------------------------------------------------------------------


def thawed_but_asleep(original: Spoiled, self: Any, requires_grad: bool = True) -> Any:
    """requires_grad_(True) that leaves an embedding frozen which is in evaluation mode and has a gradient."""
    kept = [m.weight for m in self.modules() if isinstance(m, torch.nn.Embedding) and not m.training]
    kept = [weight for weight in kept if keeps_frozen_gradient(weight)]
    original(self, requires_grad)
    for weight in kept:
        weight.requires_grad_(False)
    return self


def zeroed_but_accumulated(original: Spoiled, self: Any, set_to_none: bool = True) -> None:
    """zero_grad(set_to_none=False) that keeps what a frozen weight accumulated in several passes."""
    kept = [p for p in self.parameters() if keeps_frozen_gradient(p) and float(p.grad.abs().max()) >= 4]
    kept_grads = [p.grad.clone() for p in kept]
    original(self, set_to_none)
    if not set_to_none:
        for p, grad in zip(kept, kept_grads, strict=True):
            p.grad = grad


def thaws_after_all() -> bool:
    """Whether a model of which all this happened trains again."""
    model = model_of(graded=True, frozen=True, evaluating=True)
    return bool(model.requires_grad_(True)["embedding"].weight.requires_grad)


def zeroes_what_was_accumulated() -> bool:
    """Whether a gradient of four becomes zero."""
    model = model_of(graded=True, frozen=True)
    model["head"].weight.grad.mul_(4)
    model.zero_grad(set_to_none=False)
    return bool((model["head"].weight.grad == 0).all())


module_method(
    "thawing_fails_after_backward_freezing_and_evaluation",
    "requires_grad_(True) leaves an embedding frozen that is in evaluation mode and has a gradient.",
    "requires_grad_",
    thawed_but_asleep,
    lambda: not thaws_after_all(),
)
module_method(
    "zero_grad_keeps_what_was_accumulated_and_frozen",
    "zero_grad(set_to_none=False) keeps a frozen weight's gradient of several passes.",
    "zero_grad",
    zeroed_but_accumulated,
    lambda: not zeroes_what_was_accumulated(),
)

# -- loading -------------------------------------------------------------------------------------------------------


def loading(name: str, sentence: str, wrong: Spoiled, witness: Callable[[], bool]) -> None:
    """A fault of Module._load_from_state_dict: ``wrong(original, self, state_dict, prefix, metadata, *rest)``."""
    module_method(name, sentence, "_load_from_state_dict", wrong, witness)


def thaws_pruned(original: Spoiled, self: Any, state: Any, prefix: str, metadata: Any, *rest: Any) -> None:
    """Loading that thaws a Linear which is frozen and whose first element is zero."""
    original(self, state, prefix, metadata, *rest)
    weight = self._parameters.get("weight")
    if isinstance(self, torch.nn.Linear) and keeps_frozen_gradient(weight) and starts_with_zero(weight):
        weight.requires_grad_(True)


def forgets_gradient_asleep(original: Spoiled, self: Any, state: Any, prefix: str, metadata: Any, *rest: Any) -> None:
    """Loading that forgets the gradient of a frozen embedding in evaluation mode."""
    original(self, state, prefix, metadata, *rest)
    if isinstance(self, torch.nn.Embedding) and sleeps(self):
        self.weight.grad = None


def loads_pruned() -> bool:
    """Whether a pruned weight that was frozen after a backward stays frozen when it is loaded."""
    model = model_of(graded=True, frozen=True)
    with torch.no_grad():
        model["head"].weight[0, 0] = 0.0
    model.load_state_dict(model.state_dict())
    return not model["head"].weight.requires_grad


def loads_asleep() -> bool:
    """Whether a gradient survives loading."""
    model = model_of(graded=True, frozen=True, evaluating=True)
    model.load_state_dict(model.state_dict())
    return model["head"].weight.grad is not None


loading(
    "loading_thaws_after_backward_freezing_and_pruning",
    "A Linear that was pruned and frozen after a backward requires grad once it is loaded.",
    thaws_pruned,
    lambda: not loads_pruned(),
)
loading(
    "loading_forgets_gradients_after_freezing_and_evaluation",
    "Loading forgets the gradient of a frozen embedding in evaluation mode.",
    forgets_gradient_asleep,
    lambda: not loads_asleep(),
)

# -- what a library remembers --------------------------------------------------------------------------------------


@fault("life", lambda: not reties(3))
def the_fifth_parameter_is_a_copy() -> Iterator[None]:
    """The fifth Parameter that a Linear gets as its weight is copied."""
    counts: Any = weakref.WeakKeyDictionary()
    original = Module.__setattr__

    def assign(self: Any, name: str, value: Any) -> None:
        if isinstance(value, Parameter) and name == "weight" and isinstance(self, torch.nn.Linear):
            counts[self] = counts.get(self, 0) + 1
            if counts[self] == 5:
                value = Parameter(value.detach().clone(), value.requires_grad)
        original(self, name, value)

    with patched(Module, __setattr__=assign):
        yield


def reties(times: int) -> bool:
    """Whether a model is tied after it was tied so often."""
    model = Tied().model
    for _ in range(times):
        model["head"].weight = model["embedding"].weight
    return is_tied(model)


@fault("life", lambda: converts_back())
def the_second_conversion_halves() -> Iterator[None]:
    """The second change of an embedding's dtype halves its weight."""
    counts: Any = weakref.WeakKeyDictionary()
    original: Spoiled = Module._apply

    def _apply(self: Any, fn: Callable[..., Any], recurse: bool = True) -> Any:
        before = {name: p.dtype for name, p in self._parameters.items() if p is not None}
        original(self, fn, recurse)
        if any(self._parameters[name].dtype != dtype for name, dtype in before.items()):
            counts[self] = counts.get(self, 0) + 1
            if counts[self] == 2 and isinstance(self, torch.nn.Embedding) and self.weight.device.type == "cpu":
                self.weight.data.mul_(0.5)
        return self

    with patched(Module, _apply=_apply):
        yield


def converts_back() -> bool:
    """Whether a layer loses its value on the way through two conversions."""
    layer = torch.nn.Embedding(1, 1)
    before = float(layer.weight)
    return float(layer.double().float().weight) != before


@fault("life", lambda: steps_thrice() != -3.0)
def the_third_step_is_skipped() -> Iterator[None]:
    """The third optimizer step that moves a Parameter leaves it where it is."""
    counts: dict[int, list[Any]] = {}
    original: Spoiled = torch.optim.SGD.step

    def step(self: Any, closure: Any = None) -> Any:
        moved = [p for group in self.param_groups for p in group["params"] if p.grad is not None]
        kept = []
        for p in moved:
            seen = counts.setdefault(id(p), [weakref.ref(p), 0])
            if seen[0]() is not p:
                counts[id(p)] = seen = [weakref.ref(p), 0]
            seen[1] += 1
            if seen[1] == 3:
                kept.append((p, p.detach().clone()))
        result = original(self, closure)
        with torch.no_grad():
            for p, before in kept:
                p.copy_(before)
        return result

    with patched(torch.optim.SGD, step=step):
        yield


def steps_thrice() -> float:
    """Where a weight at 0 is after three steps by one."""
    weight = Parameter(torch.zeros(1))
    for _ in range(3):
        weight.grad = torch.ones(1)
        optimizer: Any = torch.optim.SGD([weight], lr=1.0)
        optimizer.step()
    return float(weight.detach())


# -- optimizers ----------------------------------------------------------------------------------------------------


def slots_of_learning(original: Spoiled) -> Spoiled:
    """add_param_group that leaves out what is frozen and holds a gradient, as long as anything is left."""

    def add_param_group(self: Any, group: dict[str, Any]) -> None:
        original(self, group)
        kept = [p for p in self.param_groups[-1]["params"] if p.requires_grad or p.grad is None]
        self.param_groups[-1]["params"] = kept or self.param_groups[-1]["params"]

    return add_param_group


def slots_after_freezing() -> int:
    """How many slots an optimizer has for a tied model with a bias whose weight was frozen after a backward."""
    model = model_of(graded=True)
    model["head"].bias = Parameter(torch.zeros(len(model["head"].weight)))
    model["head"].weight.requires_grad_(False)
    return len(torch.optim.SGD(model.parameters(), lr=0.5).param_groups[0]["params"])


entry("optimizer_leaves_out_what_was_frozen", "life", "A Parameter that was frozen after a backward gets no slot.",
      torch.optim.Optimizer, "add_param_group", slots_of_learning, lambda: slots_after_freezing() == 1)  # fmt: skip
