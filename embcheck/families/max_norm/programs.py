"""Programs: lookups with max_norm, which write to their table."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.utils.parametrize
import torch.utils.checkpoint

from embcheck.core.registry import by_name, named
from embcheck.families.lookup.programs import Tensor, changed, freezes, surroundings
from embcheck.families.lookup.several import (
    COLUMNS,
    FACTORS,
    ROWS,
    STRIDES,
    TURNS,
    Tokens,
    chosen,
    larger,
    ranked,
    relaid,
    room,
    tiled,
)
from embcheck.families.lookup.spelling import ENTRIES, Build, Entry, Lookup

Call = Callable[[Tensor], Tensor]
Take = Callable[[Tensor, Call, Tensor], "tuple[Tensor, Tensor | None]"]


def renormalise(
    build: Build,
    history: Callable[[Tensor, Call, Tensor], None],
    route: Take,
    weight: Tensor,
    indices: Tensor,
    upstream: Tensor,
    flags: dict[str, Any],
    requires_grad: bool,
    several: Callable[..., dict[str, Tensor]] | None = None,
) -> dict[str, Any]:
    leaf, call = build(weight, **flags)
    if torch.is_grad_enabled() and not freezes(leaf, flags):
        leaf.requires_grad_(requires_grad)
    history(leaf, call, indices)
    leaf.grad = None
    before = leaf.detach().clone()
    version = 0 if leaf.is_inference() else leaf._version
    around = surroundings()
    value, used = route(leaf, call, indices)
    samples = getattr(call, "samples", None)
    seen: dict[str, Any] = {
        "before": before,
        "after": leaf.detach().clone(),
        "moved": 0 if leaf.is_inference() else leaf._version - version,
        "surroundings": changed(around),
        "is_leaf": leaf.is_leaf and leaf.grad_fn is None,
        "value": value.detach().clone(),
        "requires_grad": value.requires_grad,
        "leaf_requires_grad": leaf.requires_grad,
        "separate": value.numel() == 0 or value.untyped_storage().data_ptr() != leaf.untyped_storage().data_ptr(),
    }
    if value.requires_grad:
        outputs, upstreams = [value], [upstream]
        if used is not None and used.requires_grad:
            outputs, upstreams = [used, value], [torch.ones_like(used), upstream]
        torch.autograd.backward(outputs, upstreams)
    seen["weight_grad"] = leaf.grad
    seen["sample_grad"] = None if samples is None else samples.grad
    seen["kept"] = torch.equal(leaf.detach().nan_to_num(), seen["after"].nan_to_num())
    call(indices)
    seen["twice"] = leaf.detach().clone()
    if several is not None:
        with torch.no_grad():
            seen |= several(leaf, call, indices, before, seen["after"])
    return seen


def several(
    leaf: Tensor,
    call: Callable[[Tensor], Tensor],
    indices: Tensor,
    before: Tensor,
    after: Tensor,
    columns: Sequence[int] = (),
) -> dict[str, Tensor]:
    # The table as it was, of either sign and laid otherwise, with rows behind it, or several times with the tokens of each.
    table, start = leaf.detach(), before.shape[0] + before.shape[1] + indices.numel()
    found: list[Tensor] = []
    for turn in range(start, start + len(FACTORS)) if before.numel() and indices.numel() else ():
        sign, strides = 1 if turn % 2 else -1, [STRIDES[place] for place in TURNS[turn % 16]]
        width = _width(turn, before, indices, columns)
        most = room(width)
        tokens = Tokens.at(turn, indices.reshape(-1), len(before), most, True)
        own = tokens.copies * len(before)
        wide = tiled(before, larger(own, ROWS, most, turn, 4), before.shape[1])
        wide = torch.cat([wide, wide.new_zeros(len(wide), width - wide.shape[1])], 1)
        given = tokens.given
        if chosen((0, 0, 1), turn, 7):
            given = given.sort(descending=bool(turn % 2)).values
        given = given.to(torch.int32 if turn // 4 % 2 else torch.int64)
        leaf.data = relaid(wide, strides[2]).mul_(sign)
        value = call(relaid(ranked(given, 1 + turn % 3), strides[0])).reshape(-1, width)
        rows = leaf.detach().index_select(0, given)
        rescaled, rest = (leaf.detach() * sign).tensor_split([before.shape[1]], 1)
        found += [part for part in rescaled[:own].split(len(before)) if not torch.equal(part, after)]
        kept = not rest.any() and torch.equal(rescaled[own:], wide[own:, : before.shape[1]])
        if not kept or not ((value == rows) | (value.isnan() & rows.isnan())).all():
            # A row that no token names has changed, or an element that was zero; or the rows are not what is looked up.
            found.append(torch.full_like(after, torch.nan))
    leaf.data = table
    return {"other_after": torch.stack(found)} if found else {}


def several_wider(
    leaf: Tensor, call: Callable[[Tensor], Tensor], indices: Tensor, before: Tensor, after: Tensor
) -> dict[str, Tensor]:
    # The same with columns of zeros, which add nothing to a norm and nothing to what is rounded in it.
    return several(leaf, call, indices, before, after, COLUMNS)


def _width(turn: int, table: Tensor, indices: Tensor, columns: Sequence[int]) -> int:
    """How many columns a turn has: as many as the table for one turn in two."""
    width, most = table.shape[1], max(len(table), indices.numel())
    sizes = [n for n in columns if n > width and most <= room(n)]
    return int(chosen((*sizes, *[width] * max(1, len(sizes))), turn, 0))


# -- routes ------------------------------------------------------------------------------------------------------


def used_before(leaf: Tensor, call: Call, indices: Tensor) -> tuple[Tensor, Tensor | None]:
    used = (leaf * leaf).sum()
    return call(indices), used


def cloned_before(leaf: Tensor, call: Call, indices: Tensor) -> tuple[Tensor, Tensor | None]:
    clone = leaf.clone()
    used = (clone * clone).sum()
    return call(indices), used


TAKES: dict[str, Take] = named(
    {
        "plain": lambda leaf, call, indices: (call(indices), None),
        **by_name(used_before, cloned_before),
        "used_after": lambda leaf, call, indices: (call(indices), (leaf * leaf).sum()),
        "checkpointed": lambda leaf, call, indices: (
            torch.utils.checkpoint.checkpoint(call, indices, use_reentrant=False),
            None,
        ),
        "checkpointed_with_the_table": lambda leaf, call, indices: (
            torch.utils.checkpoint.checkpoint(lambda table, tokens: call(tokens), leaf, indices, use_reentrant=False),
            None,
        ),
    }
)
#: Routes whose backward pass looks up once more, and so rescales once more.
RECOMPUTED = frozenset({"checkpointed", "checkpointed_with_the_table"})

# -- spellings ---------------------------------------------------------------------------------------------------


def renorm_(
    weight: Tensor, padding_idx: int | None = None, max_norm: float | None = None, norm_type: float = 2.0, **flags: Any
) -> tuple[Tensor, Lookup]:
    row = -1 if padding_idx is None else padding_idx % weight.shape[0]

    def call(indices: Tensor) -> Tensor:
        if max_norm is not None:
            with torch.no_grad():
                torch.embedding_renorm_(weight, indices, max_norm, norm_type)
        return torch.embedding(weight, indices, row, **flags)

    return weight, call


def aten_renorm_(
    weight: Tensor, padding_idx: int | None = None, max_norm: float | None = None, norm_type: float = 2.0, **flags: Any
) -> tuple[Tensor, Lookup]:
    def call(indices: Tensor) -> Tensor:
        if max_norm is not None:
            torch.ops.aten.embedding_renorm_.default(weight.detach(), indices.contiguous(), max_norm, norm_type)
            torch.autograd.graph.increment_version(weight)
        return torch.nn.functional.embedding(indices, weight, padding_idx, **flags)

    return weight, call


def cut(indices: Tensor, last: bool) -> tuple[Tensor, Tensor]:
    """Bags of one token each, whose offsets may say where the ``last`` one ends, too."""
    starts = torch.arange(indices.numel() + int(last), dtype=indices.dtype, device=indices.device)
    return indices.reshape(-1), starts


def bagged(weight: Tensor, offsets: bool = False, **flags: Any) -> tuple[Tensor, Lookup]:
    # Without the last offset a sum or a maximum has no offsets, but a batch of bags.
    last = "include_last_offset" in flags
    cuts = offsets or last

    def call(indices: Tensor) -> Tensor:
        tokens, starts = cut(indices, last)
        bags = torch.nn.functional.embedding_bag(
            tokens if cuts else tokens[:, None], weight, starts if cuts else None, **flags
        )
        return bags.reshape(*indices.shape, weight.shape[1])

    return weight, call


def bag_sum(weight: Tensor, **flags: Any) -> tuple[Tensor, Lookup]:
    return bagged(weight, mode="sum", **flags)


def bag_mean(weight: Tensor, **flags: Any) -> tuple[Tensor, Lookup]:
    return bagged(weight, True, mode="mean", **flags)


def bag_max(weight: Tensor, **flags: Any) -> tuple[Tensor, Lookup]:
    return bagged(weight, mode="max", **flags)


def bag_module(weight: Tensor, **flags: Any) -> tuple[Tensor, Lookup]:
    layer = torch.nn.EmbeddingBag(weight.shape[0], weight.shape[1], mode="sum", _weight=weight, **flags)
    # With the last offset in evaluation, where max_norm rescales just as well.
    last = layer.include_last_offset
    layer.train(not last)

    def call(indices: Tensor) -> Tensor:
        tokens, starts = cut(indices, last)
        bags: Tensor = layer(tokens, starts) if last else layer(tokens[:, None])
        return bags.reshape(*indices.shape, weight.shape[1])

    return layer.weight, call


class Weighing:
    """Sums of one token each whose weights learn, too; ``samples`` are those of the latest call."""

    samples: Tensor

    def __init__(self, weight: Tensor, cut: bool, flags: dict[str, Any]) -> None:
        self.weight, self.cut, self.flags = weight, cut, flags

    def __call__(self, indices: Tensor) -> Tensor:
        last = "include_last_offset" in self.flags
        tokens, starts = cut(indices, last) if self.cut else (indices.reshape(-1, 1), None)
        learns = torch.is_grad_enabled()
        self.samples = torch.ones(tokens.shape, dtype=self.weight.dtype, requires_grad=learns)
        bags = torch.nn.functional.embedding_bag(
            tokens, self.weight, starts, mode="sum", per_sample_weights=self.samples, **self.flags
        )
        return bags.reshape(*indices.shape, self.weight.shape[1])


class Viewed(torch.nn.Module):
    """A parametrization that changes no value: what is looked up is no Parameter, but lies in its memory."""

    def forward(self, original: Tensor) -> Tensor:
        return original.view_as(original)


def parametrized(weight: Tensor, **flags: Any) -> tuple[Tensor, Lookup]:
    layer: Any = torch.nn.Embedding(weight.shape[0], weight.shape[1], _weight=weight, **flags)
    torch.nn.utils.parametrize.register_parametrization(layer, "weight", Viewed(), unsafe=True)
    return layer.parametrizations.weight.original, layer


_PLAIN = frozenset({"padding_idx", "max_norm", "norm_type", "scale_grad_by_freq", "sparse"})
#: A bag has a frequency of its own.
_BAG = frozenset({"padding_idx", "max_norm", "norm_type", "sparse"})
_BAGS: dict[str, Build] = named(
    {
        **by_name(bag_sum, bag_mean, bag_max, bag_module),
        "bag_weights_learn": lambda weight, **flags: (weight, Weighing(weight, False, flags)),
        "bag_cut_weights_learn": lambda weight, **flags: (weight, Weighing(weight, True, flags)),
    }
)
#: Every spelling of a lookup that takes max_norm.  A bag holds one token, so that its sum is the row.
SPELLINGS: dict[str, Entry] = {
    **{name: entry for name, entry in ENTRIES.items() if {"max_norm", "norm_type", "padding_idx"} <= entry.flags},
    "renorm_": Entry("renorm_", renorm_, _PLAIN),
    "aten_renorm_": Entry("aten_renorm_", aten_renorm_, _PLAIN),
    **{
        name: Entry(name, build, _BAG - {"sparse"} if name == "bag_max" else _BAG, module=name == "bag_module")
        for name, build in _BAGS.items()
    },
    "parametrized": Entry("parametrized", parametrized, _PLAIN - {"sparse"}, module=True),
}
#: Spellings whose per_sample_weights learn beside the table.
LEARNING = frozenset({"bag_weights_learn", "bag_cut_weights_learn"})
