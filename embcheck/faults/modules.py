"""Faults of what may happen to a module: its parts, its conversions, its copies, its hooks."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import torch

from embcheck.fault import fault, patched
from embcheck.faults.entry import Embedding
from embcheck.faults.layers import Module
from embcheck.faults.lives import through_pickle
from embcheck.faults.parameter_corners import Change, spoiled
from embcheck.faults.parameters import Parameter, Tied, table

Linear, Sequential = torch.nn.Linear, torch.nn.Sequential


def module(
    name: str, sentence: str, attribute: str, change: Change, witness: Callable[[], bool], family: str = "membership"
) -> None:
    """A fault of a method of Module: ``change(original, self, *arguments)``."""
    spoiled(name, family, sentence, Module, attribute, change, witness)


def buffered() -> Any:
    """A module with a buffer of integers, one of numbers, and one that is not kept."""
    made = torch.nn.Linear(1, 1)
    made.register_buffer("count", torch.tensor(3))
    made.register_buffer("mean", torch.ones(1))
    made.register_buffer("scratch", torch.ones(1), persistent=False)
    return made


# -- listing -----------------------------------------------------------------------------------------------------

module(
    "duplicates_are_removed_always",
    "named_parameters(remove_duplicate=False) lists a tied Parameter once.",
    "named_parameters",
    lambda original, self, prefix="", recurse=True, remove_duplicate=True: original(self, prefix, recurse, True),
    lambda: len(list(Tied().model.named_parameters(remove_duplicate=False))) == 1,
)
module(
    "names_lose_their_prefix",
    "named_parameters(prefix) forgets the prefix without recursion.",
    "named_parameters",
    lambda original, self, prefix="", recurse=True, remove_duplicate=True: original(
        self, prefix if recurse else "", recurse, remove_duplicate
    ),
    lambda: next(Linear(1, 1).named_parameters("a", False))[0] == "weight",
)
module(
    "parameters_recurse_always",
    "parameters(recurse=False) lists the children's.",
    "parameters",
    lambda original, self, recurse=True: original(self, True),
    lambda: len(list(Sequential(Linear(1, 1)).parameters(False))) > 0,
)
module(
    "parameters_skip_frozen",
    "parameters() leaves out frozen vectors.",
    "parameters",
    lambda original, self, recurse=True: iter([p for p in original(self, recurse) if p.requires_grad or p.dim() != 1]),
    lambda: len(list(Linear(1, 1).requires_grad_(False).parameters())) == 1,
)
module(
    "modules_repeat_shared",
    "named_modules() lists a shared module under both of its names.",
    "named_modules",
    lambda original, self, memo=None, prefix="", remove_duplicate=True: original(self, memo, prefix, False),
    lambda: len(list(Sequential(shared := Linear(1, 1), shared).modules())) == 3,
)
module(
    "buffers_list_kept_only",
    "named_buffers() leaves out buffers that are not persistent.",
    "named_buffers",
    lambda original, self, *rest, **more: (
        pair for pair in original(self, *rest, **more) if pair[0] not in self._non_persistent_buffers_set
    ),
    lambda: len(list(buffered().buffers())) == 2,
)
module(
    "children_are_reversed",
    "named_children() comes in reverse.",
    "named_children",
    lambda original, self: iter(list(original(self))[::-1]),
    lambda: next(Sequential(Linear(1, 1), Embedding(1, 1)).named_children())[0] == "1",
)
module(
    "apply_is_parents_first",
    "apply() calls the function on a module before its children.",
    "apply",
    lambda original, self, fn: [fn(part) for part in self.modules()] and self,
    lambda: applied()[0] == "Sequential",
)
module(
    "apply_visits_shared_once",
    "apply() returns nothing.",
    "apply",
    lambda original, self, fn: original(self, fn) and None,
    lambda: Linear(1, 1).apply(lambda part: None) is None,
)


def applied() -> list[str]:
    """The kinds of module that apply() visits, in order."""
    seen: list[str] = []
    Sequential(Linear(1, 1)).apply(lambda part: seen.append(type(part).__name__))
    return seen


# -- modes, freezing, gradients ----------------------------------------------------------------------------------


def zero_first_alias(original: Change, self: Any, set_to_none: bool = True) -> None:
    """zero_grad(False) that leaves half precision gradients."""
    if set_to_none:
        original(self, True)
        return
    for p in self.parameters():
        if p.grad is not None and p.grad.dtype.itemsize > 2:
            p.grad.zero_()


def half_zeroed() -> bool:
    """Whether zero_grad(set_to_none=False) zeroes a half precision gradient."""
    layer = Embedding(1, 1, dtype=torch.bfloat16)
    layer.weight.grad = torch.ones(1, 1, dtype=torch.bfloat16)
    layer.zero_grad(set_to_none=False)
    return layer.weight.grad is not None and not layer.weight.grad.any()


module(
    "zero_grad_keeps_half",
    "zero_grad(set_to_none=False) leaves gradients of half precision.",
    "zero_grad",
    zero_first_alias,
    lambda: not half_zeroed(),
)
module(
    "zero_grad_skips_frozen",
    "zero_grad() leaves the gradients of frozen parameters.",
    "zero_grad",
    lambda original, self, set_to_none=True: keep_frozen(original, self, set_to_none),
    lambda: frozen_gradient(),
)
module(
    "freezing_drops_gradients",
    "requires_grad_(False) drops the gradients.",
    "requires_grad_",
    lambda original, self, requires_grad=True: dropped(original(self, requires_grad), requires_grad),
    lambda: freezing_drops(),
)
module(
    "requires_grad_skips_children",
    "requires_grad_(True) stops at the first level.",
    "requires_grad_",
    lambda original, self, requires_grad=True: original(self, False) if not requires_grad else shallow(self),
    lambda: not Sequential(Linear(1, 1).requires_grad_(False)).requires_grad_()[0].weight.requires_grad,
)
module(
    "eval_skips_shared_list",
    "train() does not reach the parts of a ModuleList.",
    "train",
    lambda original, self, mode=True: listless(original, self, mode),
    lambda: torch.nn.ModuleList([Linear(1, 1)]).eval()[0].training,
)
module(
    "train_takes_numbers",
    "train() accepts what is no bool.",
    "train",
    lambda original, self, mode=True: original(self, bool(mode)),
    lambda: takes_numbers(),
)


def shallow(self: Any) -> Any:
    """Thaws a module's own parameters."""
    for p in self.parameters(False):
        p.requires_grad_()
    return self


def keep_frozen(original: Change, self: Any, set_to_none: bool) -> None:
    """zero_grad of what requires grad."""
    kept = [(p, p.grad) for p in self.parameters() if not p.requires_grad and p.grad is not None]
    kept = [(p, grad.clone()) for p, grad in kept]
    original(self, set_to_none)
    for p, grad in kept:
        p.grad = grad


def frozen_gradient() -> bool:
    """Whether a frozen parameter keeps its gradient over zero_grad()."""
    layer = Linear(1, 1, bias=False)
    layer.weight.grad = torch.ones(1, 1)
    layer.requires_grad_(False).zero_grad()
    return layer.weight.grad is not None


def dropped(self: Any, requires_grad: bool) -> Any:
    """A module without gradients where it was frozen."""
    if not requires_grad:
        for p in self.parameters():
            p.grad = None
    return self


def freezing_drops() -> bool:
    """Whether freezing drops gradients."""
    layer = Linear(1, 1)
    layer.weight.grad = torch.ones(1, 1)
    return layer.requires_grad_(False).weight.grad is None


def listless(original: Change, self: Any, mode: bool) -> Any:
    """train() that leaves the parts of a ModuleList."""
    if isinstance(self, torch.nn.ModuleList):
        self.training = mode
        return self
    return original(self, mode)


def takes_numbers() -> bool:
    """Whether train() accepts a number."""
    try:
        Linear(1, 1).train(0)  # type: ignore[arg-type]
    except ValueError:
        return False
    return True


# -- conversions -------------------------------------------------------------------------------------------------


def converting(
    name: str, sentence: str, act: Callable[[Any, Any], None], witness: Callable[[], bool], family: str = "life"
) -> None:
    """A fault of _apply: ``act(self, fn)`` after a module's own parameters were converted."""

    def change(original: Change, self: Any, fn: Change, recurse: bool = True) -> Any:
        original(self, fn, recurse)
        act(self, fn)
        return self

    module(name, sentence, "_apply", change, witness, family)


def each(self: Any, when: Callable[[Any], bool], act: Callable[[Any, str, Any], object]) -> None:
    """Does something to each own parameter that meets a condition."""
    for name, value in list(self._parameters.items()):
        if value is not None and when(value):
            act(self, name, value)


def anew(self: Any, name: str, value: Any) -> None:
    """Another Parameter on the same memory."""
    self._parameters[name] = Parameter(value.data, value.requires_grad)


def contiguous(self: Any, name: str, value: Any) -> None:
    """The same Parameter in contiguous memory."""
    value.data = value.data.contiguous()


def numbers(self: Any, fn: Change) -> None:
    """Integers among the buffers as numbers."""
    for name, value in self._buffers.items():
        if (
            value is not None
            and not value.is_floating_point()
            and any(p.dtype == torch.float64 for p in self.parameters())
        ):
            self._buffers[name] = value.double()


converting(
    "half_unties_embedding",
    "half() gives an embedding another Parameter.",
    lambda self, fn: each(self, lambda p: p.dtype == torch.float16 and isinstance(self, Embedding), anew),
    lambda: (m := Tied().model.half())["embedding"].weight is not m["head"].weight,
)
converting(
    "to_makes_contiguous",
    "to() of a frozen transposed weight makes it contiguous.",
    lambda self, fn: each(self, lambda p: p.dim() == 2 and not p.requires_grad and not p.is_contiguous(), contiguous),
    lambda: transposed(False).to(torch.float64).weight.is_contiguous(),
)
converting(
    "double_converts_integers",
    "double() converts buffers of integers.",
    numbers,
    lambda: buffered().double().count.dtype == torch.float64,
    "membership",
)
converting(
    "conversion_freezes_bias",
    "Converting a module in evaluation mode freezes its bias.",
    lambda self, fn: each(self, lambda p: p.dim() == 1 and not self.training, lambda s, n, p: p.requires_grad_(False)),
    lambda: not Linear(1, 1).eval().double().bias.requires_grad,
)
converting(
    "conversion_keeps_gradients_dtype",
    "Converting to bfloat16 forgets a gradient.",
    lambda self, fn: each(self, lambda p: p.dtype == torch.bfloat16, lambda s, n, p: setattr(p, "grad", None)),
    lambda: forgets_in_bfloat16(),
)


def transposed(requires_grad: bool = True) -> Any:
    """A linear layer with a transposed weight."""
    layer = Linear(3, 2, bias=False)
    layer.weight = Parameter(table(3).t(), requires_grad)
    return layer


def forgets_in_bfloat16() -> bool:
    """Whether bfloat16() forgets a gradient."""
    layer = Linear(1, 1)
    layer.weight.grad = torch.ones(1, 1)
    return layer.bfloat16().weight.grad is None


# -- copies ------------------------------------------------------------------------------------------------------


def deepcopying(name: str, sentence: str, change: Change, witness: Callable[[], bool], family: str = "life") -> None:
    """A fault of a Parameter's deep copy: ``change(original, self, memo)``."""
    spoiled(name, family, sentence, Parameter, "__deepcopy__", change, witness)


def with_grad(made: Any, self: Any) -> Any:
    """A copy with the gradient itself."""
    if made.grad is None and self.grad is not None and made.shape == self.grad.shape:
        made.grad = self.grad
    return made


def aliased() -> bool:
    """Whether a deep copy has the gradient of the original."""
    weight = Parameter(table())
    weight.grad = torch.ones(2, 2)
    return copy.deepcopy(weight).grad is not None


def frozen_untied() -> bool:
    """Whether a deep copy of a frozen tied model is untied."""
    made = copy.deepcopy(Tied().model.requires_grad_(False))
    return made["embedding"].weight is not made["head"].weight


deepcopying(
    "deepcopy_shares_the_gradient",
    "A deep copy has the original's gradient.",
    lambda original, self, memo: with_grad(original(self, memo), self),
    aliased,
)
deepcopying(
    "deepcopy_of_empty_thaws",
    "A deep copy of a Parameter without elements requires grad.",
    lambda original, self, memo: original(self, memo).requires_grad_() if not self.numel() else original(self, memo),
    lambda: copy.deepcopy(Parameter(torch.zeros(0, 2), False)).requires_grad,
    "leaf",
)


@fault("life", frozen_untied)
def deepcopy_unties_frozen() -> Iterator[None]:
    """A deep copy of a frozen tied head is untied."""

    def apart(self: Any, memo: Any) -> Any:
        made: Any = object.__new__(type(self))
        made.__dict__ = copy.deepcopy(self.__dict__, memo if self.weight.requires_grad else {})
        return made

    with patched(Linear, __deepcopy__=apart):
        yield


spoiled(
    "pickle_loses_evaluation",
    "life",
    "An unpickled module is in training mode.",
    Module,
    "__setstate__",
    lambda original, self, state: original(self, state | {"training": True}),
    lambda: through_pickle(Linear(1, 1).eval()).training,
)
