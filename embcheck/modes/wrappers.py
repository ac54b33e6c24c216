"""Modes in which the tensors are not plain, or every operator passes through Python: subclasses, torch's own modes,
fake and meta tensors."""

from collections.abc import Mapping
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from embcheck.modes.layer import BOTH, FUNC, Build, Call, Tensor, inside, on_routes
from embcheck.modes.mode import Program, add_mode, mode

#: What is not there: elements.
_NO_VALUES = {
    "refused": "whether an index lies outside the table can't be seen without its value",
    "sparse & padded": "how many tokens are not padding can't be counted without their values",
    "limited": "which rows are rescaled can't be seen without values",
    "limited=False": "renorm's program compares values",
    "history=output_held": "whether a result was overwritten can't be seen without values",
    "history=gradient_held": "whether a result was overwritten can't be seen without values",
    "history=table_alike": "whether another table was overwritten can't be seen without values",
    "history=padding_before": "its padding_idx is the value of a token",
}


class Plain(torch.Tensor):
    """A subclass that changes nothing: every function passes through the default __torch_function__."""


_NO_LEAF = on_routes(FUNC, "a function's own argument is made no leaf")
_NO_SUBCLASS = dict.fromkeys(
    ("sparse & history=gradient_held", "sparse & route=double_backward"), "a sparse tensor is made no subclass"
)


def of_subclass(build: Build) -> Build:
    def built(weight: Tensor, **flags: Any) -> tuple[Tensor, Call]:
        learns = weight.is_leaf and weight.requires_grad
        table = weight.detach().as_subclass(Plain).requires_grad_() if learns else weight.as_subclass(Plain)
        leaf, call = build(table, **flags)

        def plain(*given: Tensor) -> Tensor:
            found = call(*given)
            if isinstance(leaf, Plain) and not isinstance(found, Plain):
                raise AssertionError(f"a call with a table of a subclass gives a {type(found).__name__}")
            return found.as_subclass(torch.Tensor)

        return leaf, plain

    return built


add_mode(
    "subclass",
    "The table is a subclass of Tensor with the default __torch_function__; the result is made plain again.",
    of_subclass,
    calls=BOTH,
    cannot=_NO_LEAF | _NO_SUBCLASS,
)


class PassFunctions(TorchFunctionMode):
    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return function(*args, **(kwargs or {}))


_WORDS = "Inside a torch.overrides.TorchFunctionMode that hands every function on."
add_mode("function_mode", _WORDS, inside, PassFunctions, calls=BOTH)


class PassOperators(TorchDispatchMode):
    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return function(*args, **(kwargs or {}))


@mode("dispatch_mode", calls=BOTH)
def dispatch_mode(program: Program, **arguments: Any) -> Mapping[str, Any]:
    """Forward and backward inside a TorchDispatchMode that hands every operator on."""
    with PassOperators():  # type: ignore[no-untyped-call]
        return program(**arguments)


_UNFAKED = _NO_VALUES | {
    "route=batched": "a batched tensor is not made fake",
    "route=forward_mode & learns=weights": "a dual is not made fake",
    "route=forward_mode & learns=both": "a dual is not made fake",
    "route=vjp & entry=one_hot_product": "one_hot looks for the largest class inside of a transform",
}


@mode("fake", calls=BOTH, values=False, cost=5, cannot=_UNFAKED)
def fake(program: Program, build: Build, **arguments: Any) -> Mapping[str, Any]:
    """Fake tensors, which have all but elements: shape, dtype, strides, device, graph and refusals are eager's."""
    from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

    faking = FakeTensorMode(allow_non_fake_inputs=True)
    given = {n: faking.from_tensor(a) if isinstance(a, Tensor) else a for n, a in arguments.items()}

    def built(weight: Tensor, **flags: Any) -> tuple[Tensor, Call]:
        with faking:
            leaf, call = build(weight, **flags)

        def called(*given: Any) -> Tensor:
            with faking:
                # Histories call with tensors of their own.
                real = [isinstance(g, Tensor) and not isinstance(g, FakeTensor) for g in given]
                return call(*(faking.from_tensor(g) if r else g for g, r in zip(given, real, strict=True)))

        return leaf, called

    return program(build=built, **given)


_NO_PRODUCTS = dict.fromkeys(
    ("sparse & route=hook_doubles", "sparse & route=double_backward"),
    "no kernel multiplies a sparse tensor without values, or makes it dense",
)


@mode("meta", calls=BOTH, values=False, cannot=_NO_VALUES | _NO_PRODUCTS)
def meta(program: Program, build: Build, **arguments: Any) -> Mapping[str, Any]:
    """Tensors on the device meta, which have all but elements."""
    given = {
        n: a.detach().to("meta").requires_grad_(a.requires_grad) if isinstance(a, Tensor) else a
        for n, a in arguments.items()
    }
    with torch.device("meta"):
        return program(build=build, **given)
