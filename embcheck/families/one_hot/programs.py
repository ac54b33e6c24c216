"""one_hot: the case, what it should give, and the programs in torch and nothing else."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from embcheck.core.axes import Axes, Input
from embcheck.core.case import Ints
from embcheck.core.counts import tokens_of
from embcheck.core.pattern import stray_of
from embcheck.families.lookup.programs import surroundings

Tensor = torch.Tensor
Call = Callable[[Tensor], Tensor]
Encode = Callable[[Tensor, Any], Tensor]


# -- programs ----------------------------------------------------------------------------------------------------


def encoded(
    encode: Encode,
    history: Callable[[Call, Tensor], Any],
    indices: Tensor,
    classes: int | None,
    cast: str,
    several: Callable[..., dict[str, Any]] | None = None,
) -> dict[str, Any]:
    given = indices if cast == "int64" else indices.to(getattr(torch, cast))
    before = given.clone()
    held = history(lambda tokens: encode(tokens, classes), given)
    around = surroundings()
    version = 0 if given.is_inference() else given._version
    value = encode(given, classes)
    others = {} if several is None else several(encode, given, value)
    return {
        **others,
        "value": value,
        "held": held is None or held(),
        "kept": torch.equal(given, before) and (given.is_inference() or given._version == version),
        "surroundings": surroundings() == around,
        "plain": type(value) is torch.Tensor,
        "separate": value.numel() == 0 or value.untyped_storage().data_ptr() != given.untyped_storage().data_ptr(),
        "sums": value.sum(-1),
    }


def functional(tokens: Tensor, classes: int | None) -> Tensor:
    return torch.nn.functional.one_hot(tokens) if classes is None else torch.nn.functional.one_hot(tokens, classes)


def keyword(tokens: Tensor, classes: int | None) -> Tensor:
    one_hot = torch.nn.functional.one_hot
    return one_hot(tokens) if classes is None else one_hot(tokens, num_classes=classes)


def aten(tokens: Tensor, classes: int | None) -> Tensor:
    one_hot: Any = torch.ops.aten.one_hot.default
    value: Tensor = one_hot(tokens) if classes is None else one_hot(tokens, classes)
    return value


def vmapped(tokens: Tensor, classes: Any) -> Tensor:
    return torch.vmap(lambda part: torch.nn.functional.one_hot(part, classes))(tokens)


def vmapped_last(tokens: Tensor, classes: Any) -> Tensor:
    return torch.vmap(lambda part: torch.nn.functional.one_hot(part, classes), in_dims=-1, out_dims=-2)(tokens)


def recorded(tokens: Tensor, classes: Any) -> Tensor:
    from torch.fx.experimental.proxy_tensor import make_fx  # here, for it takes seconds

    graph = make_fx(lambda given: torch.nn.functional.one_hot(given, classes), tracing_mode="fake")(tokens)
    value: Tensor = graph(tokens)
    return value


def compiled(tokens: Tensor, classes: Any) -> Tensor:
    torch._dynamo.reset()
    return torch.compile(lambda given: torch.nn.functional.one_hot(given, classes), backend="aot_eager")(tokens)


def fresh(call: Call, tokens: Tensor) -> None:
    pass


def output_overwritten(call: Call, tokens: Tensor) -> None:
    call(tokens).fill_(7)


def other_tokens(call: Call, tokens: Tensor) -> None:
    call(tokens.flip(0) if tokens.dim() else tokens)
    torch.nn.functional.one_hot(torch.tensor([[3, 0], [1, 2]]))


def after_refusal(call: Call, tokens: Tensor) -> None:
    with contextlib.suppress(RuntimeError):
        call(torch.full((2,), -1))


def output_held(call: Call, tokens: Tensor) -> Callable[[], bool]:
    first = call(tokens.flip(0) if tokens.dim() else tokens)
    copy = first.clone()
    return lambda: torch.equal(first, copy)


def third_alike(call: Call, tokens: Tensor) -> None:
    call(tokens.flip(0) if tokens.dim() else tokens)
    call(tokens * 0)


def once_alike(call: Call, tokens: Tensor) -> None:
    call(tokens.flip(0) if tokens.dim() else tokens)


def thrice_alike(call: Call, tokens: Tensor) -> None:
    third_alike(call, tokens)
    call(tokens.roll(1, 0) if tokens.dim() else tokens)


def tokens_changed(call: Call, tokens: Tensor) -> None:
    # The same tensor held larger tokens, some of which there may be no class for.
    if tokens.numel() and 0 not in tokens.stride():
        tokens.add_(1)
        with contextlib.suppress(RuntimeError):
            call(tokens)
        tokens.sub_(1)


ENCODERS: dict[str, Encode] = {
    function.__name__: function for function in (functional, keyword, aten, vmapped, vmapped_last, recorded, compiled)
}
#: Those that make a graph, and take a number of classes only that is given.
GRAPHS = ("recorded", "compiled")
HISTORIES: dict[str, Callable[[Call, Tensor], Any]] = {
    function.__name__: function
    for function in (fresh, output_overwritten, other_tokens, after_refusal, output_held, third_alike, tokens_changed)
}
#: Histories of so many earlier calls and nothing else, beside `third_alike`: what is aimed takes these.
COUNTED: dict[str, Callable[[Call, Tensor], Any]] = {
    function.__name__: function for function in (once_alike, thrice_alike)
}

# -- the case ----------------------------------------------------------------------------------------------------

#: num_classes by name, as a function of the number of values that tokens may take; None leaves it out.
CLASSES: dict[str, Callable[[int], int | None]] = {
    "exact": lambda values: values,
    "omitted": lambda values: None,
    "-1": lambda values: -1,
    "plus_1": lambda values: values + 1,
    "plus_7": lambda values: values + 7,
    "0": lambda values: 0,
    "-2": lambda values: -2,
    "-V": lambda values: -values - 1,
    "minus_1": lambda values: values - 1,
}
INFERRED = ("omitted", "-1")


class _OneHotAxes(NamedTuple):
    """The axes of one_hot, simplest value first."""

    #: tokens lie in [0, values)
    values: int = 3
    #: the name of a pattern, or the token values themselves in row-major order
    indices: str | tuple[int, ...] = "cycle"
    shape: tuple[int, ...] = (3,)
    classes: str = "exact"
    out_of_range: str | None = None
    #: the dtype of the tokens
    cast: str = "int64"
    index_layout: str = "contiguous"
    entry: str = "functional"
    history: str = "fresh"
    threads: int = 1
    seed: int = 0


class OneHotCase(Axes, _OneHotAxes):  # type: ignore[misc]
    """one_hot of ``shape`` tokens, with ``num_classes`` as ``classes`` names it."""

    @cached_property
    def numel(self) -> int:
        """How many tokens there are."""
        return math.prod(self.shape)

    @cached_property
    def tokens(self) -> Ints:
        """The token values, row-major, the stray one among them; shape ``(numel,)``."""
        if isinstance(self.indices, tuple):
            tokens = np.array(self.indices, np.int64)
        else:
            tokens = tokens_of(self.indices, self.numel, self.values, None, self.seed)
        if self.out_of_range is not None and self.numel:
            tokens = tokens.copy()
            tokens[self.seed % self.numel] = stray_of(self.out_of_range, self.given or self.values, self.cast)
        return tokens

    @property
    def given(self) -> int | None:
        """The argument num_classes, None where it is left out."""
        return CLASSES[self.classes](self.values)

    @property
    def inferred(self) -> bool:
        """Whether num_classes is left to be found."""
        return self.classes in INFERRED

    @cached_property
    def width(self) -> int:
        """num_classes as it should come out: what is given, else one more than the largest token."""
        if not self.inferred:
            return self.given or 0
        return int(self.tokens.max()) + 1 if self.numel else 0

    @cached_property
    def refused(self) -> bool:
        """Whether one_hot must raise: no LongTensor, no class, or a token outside of [0, num_classes)."""
        if self.cast != "int64" or self.width <= 0:
            return True
        tokens = self.tokens
        return bool(tokens.size) and bool(tokens.min() < 0 or tokens.max() >= self.width)

    @cached_property
    def expected(self) -> npt.NDArray[np.int64]:
        """1 at the token, 0 elsewhere, shape ``(*shape, num_classes)``."""
        hot = np.equal(self.tokens[:, None], np.arange(self.width)).astype(np.int64)
        return hot.reshape(*self.shape, self.width)

    @property
    def index_input(self) -> Input:
        """The tokens as a tensor to feed."""
        stored, layout = self.tokens.reshape(self.shape), self.index_layout
        if layout == "expanded" and self.numel and not (stored == stored.flat[0]).all():
            layout = "contiguous"  # a tensor of stride 0 holds one value
        if layout == "equal_rows" and stored.size and (stored != stored.reshape(-1, stored.shape[-1])[0]).any():
            layout = "contiguous"  # and one whose rows lie in the same place, one row
        return Input(stored, "int64", layout)

    def facts(self) -> dict[str, Any]:
        """The axes and: numel, rank, width, refused, empty, inferred, first_class, last_class, spare, vmapped, strayed,
        miscast, classless."""
        tokens = self.tokens
        return {
            **self.axes,
            "numel": self.numel,
            "rank": len(self.shape),
            "width": self.width,
            "refused": self.refused,
            "empty": not self.numel,
            "inferred": self.inferred,
            "first_class": bool((tokens == 0).any()),
            "last_class": bool((tokens == self.width - 1).any()),
            "spare": self.width > self.values,
            "vmapped": self.entry.startswith("vmapped"),
            "strayed": self.cast == "int64" and self.width > 0 and self.refused,
            "miscast": self.cast != "int64",
            "classless": self.width <= 0,
        }
