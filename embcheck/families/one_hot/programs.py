"""Programs: one_hot, called once or in several ways of which each is judged; see `embcheck.families.lookup.several`."""

import contextlib
from collections.abc import Callable
from typing import Any

import torch

from embcheck.core.registry import by_name
from embcheck.families.lookup.programs import Tensor, changed, surroundings
from embcheck.families.lookup.several import (
    LARGEST,
    STRIDES,
    TOKENS,
    TURNS,
    chosen,
    departures,
    larger,
    ranked,
    relaid,
    stacked,
    tiled,
)

Call = Callable[[Tensor], Tensor]
Encode = Callable[[Tensor, Any], Tensor]


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
        "surroundings": changed(around),
        "plain": type(value) is torch.Tensor,
        "separate": value.numel() == 0 or value.untyped_storage().data_ptr() != given.untyped_storage().data_ptr(),
        "sums": value.sum(-1),
    }


#: How many further calls there are, and numbers of classes that they may have.
CALLS = 6
SEVERAL_CLASSES = (2, 8, 17, 65, 257)


def several(encode: Encode, indices: Tensor, value: Tensor) -> dict[str, Any]:
    # Calls with more classes, of which all are moved on, with more tokens, in another order, whose tensors lie otherwise.
    classes, tokens = value.shape[-1], indices.reshape(-1)
    first, start, found = value.reshape(-1, classes), len(tokens) + classes, list[Tensor]()
    for turn in range(start, start + CALLS) if value.numel() else ():
        count = larger(len(tokens), TOKENS, LARGEST // classes, turn, 0)
        total = larger(classes, SEVERAL_CLASSES, LARGEST // count, turn, 2)
        moved = chosen(range(total - classes + 1), turn, 4)
        given = tiled(tokens[:, None], count, 1)[:, 0] + moved
        order = (
            given.argsort(descending=bool(turn % 2), stable=True) if chosen((0, 1), turn, 5) else torch.arange(count)
        )
        laid = relaid(ranked(given[order], 1 + turn % 3), STRIDES[TURNS[turn % 16][0]])
        inferred = bool(given.max() == total - 1) and chosen((0, 1), turn, 6)
        hot = encode(laid, None if inferred else total).reshape(count, total)
        hot = torch.empty_like(hot).index_copy_(0, order, hot).roll(-moved, 1)
        found += [part.T for part in departures(hot.T, first.T, classes)]
    return stacked("other_values", value, found, value.shape)


def functional(tokens: Tensor, classes: int | None) -> Tensor:
    return torch.nn.functional.one_hot(tokens) if classes is None else torch.nn.functional.one_hot(tokens, classes)


def keyword(tokens: Tensor, classes: int | None) -> Tensor:
    one_hot = torch.nn.functional.one_hot
    return one_hot(tokens) if classes is None else one_hot(tokens, num_classes=classes)


def aten(tokens: Tensor, classes: int | None) -> Any:
    one_hot: Any = torch.ops.aten.one_hot.default
    return one_hot(tokens) if classes is None else one_hot(tokens, classes)


def vmapped(tokens: Tensor, classes: Any) -> Tensor:
    return torch.vmap(lambda part: torch.nn.functional.one_hot(part, classes))(tokens)


def vmapped_last(tokens: Tensor, classes: Any) -> Tensor:
    return torch.vmap(lambda part: torch.nn.functional.one_hot(part, classes), in_dims=-1, out_dims=-2)(tokens)


def recorded(tokens: Tensor, classes: Any) -> Any:
    from torch.fx.experimental.proxy_tensor import make_fx  # here, for it takes seconds

    graph = make_fx(lambda given: torch.nn.functional.one_hot(given, classes), tracing_mode="fake")(tokens)
    return graph(tokens)


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


ENCODERS: dict[str, Encode] = by_name(functional, keyword, aten, vmapped, vmapped_last, recorded, compiled)
#: Those that make a graph, and take a number of classes only that is given.
GRAPHS = ("recorded", "compiled")
HISTORIES: dict[str, Callable[[Call, Tensor], Any]] = by_name(
    fresh, output_overwritten, other_tokens, after_refusal, output_held, third_alike, tokens_changed
)
#: Histories of so many earlier calls and nothing else, beside `third_alike`: what is aimed takes these.
COUNTED: dict[str, Callable[[Call, Tensor], Any]] = by_name(once_alike, thrice_alike)
