"""The program of an embedding bag, its spellings, and what happens before the call that is judged, mostly as for a lookup."""

from collections.abc import Callable
from typing import Any

import torch

from embcheck.core.registry import by_name, named
from embcheck.families.embedding_bag.routes import BagCall, Tensor, value
from embcheck.families.lookup.prior_calls import COUNTED, PASTS, learn, unchanged
from embcheck.families.lookup.programs import changed, rebuilding, surroundings

Build = Callable[..., tuple[Tensor, BagCall]]


def bag(
    build: Build,
    history: Callable[..., Any],
    route: Callable[..., dict[str, Any]],
    weight: Tensor,
    indices: Tensor,
    upstream: Tensor,
    flags: dict[str, Any],
    learns: str,
    offsets: Tensor | None = None,
    sample_weights: Tensor | None = None,
) -> dict[str, Any]:
    leaf, call = build(weight, **flags)
    frozen = not leaf.requires_grad
    learning = torch.is_grad_enabled()
    if learning:
        leaf.requires_grad_(learns in ("table", "both"))
        if sample_weights is not None:
            sample_weights.requires_grad_(learns in ("weights", "both"))
    given = (indices, offsets, sample_weights)
    held = history(leaf, call, *given)
    leaves = [leaf] + ([] if sample_weights is None else [sample_weights])
    for tensor in leaves:
        tensor.grad = None
    watched = [t for t in (leaf, *given) if t is not None and not t.is_inference()]
    before = [t._version for t in watched]
    around = surroundings()
    seen = (route if learning else value)(leaf, call, given, upstream, rebuilding(build, flags))
    memory = [t.untyped_storage().data_ptr() for t in (leaf, *given) if t is not None]
    out = seen["value"]
    seen["separate"] = out.numel() == 0 or out.untyped_storage().data_ptr() not in memory
    if learning:
        seen["weight_grad"] = seen.get("weight_grad", leaf.grad)
        seen["sample_grad"] = seen.get("sample_grad", None if sample_weights is None else sample_weights.grad)
    return {
        "versions": before == [t._version for t in watched],
        "surroundings": changed(around),
        "plain": type(out) is Tensor,
        "frozen": frozen,
        "held": held is None or held(),
        "shares_table": leaf.untyped_storage().data_ptr() == weight.untyped_storage().data_ptr(),
        **seen,
    }


# -- spellings ---------------------------------------------------------------------------------------------------


def functional(weight: Tensor, **flags: Any) -> tuple[Tensor, BagCall]:
    return weight, lambda indices, offsets=None, samples=None: torch.nn.functional.embedding_bag(
        indices, weight, offsets, per_sample_weights=samples, **flags
    )


def in_order(weight: Tensor, **flags: Any) -> tuple[Tensor, BagCall]:
    scale, mode, sparse = flags.get("scale_grad_by_freq", False), flags.get("mode", "mean"), flags.get("sparse", False)
    last, padding = flags.get("include_last_offset", False), flags.get("padding_idx")
    return weight, lambda indices, offsets=None, samples=None: torch.nn.functional.embedding_bag(
        indices, weight, offsets, None, 2.0, scale, mode, sparse, samples, last, padding
    )


def module(weight: Tensor, **flags: Any) -> tuple[Tensor, BagCall]:
    layer = torch.nn.EmbeddingBag(weight.shape[0], weight.shape[1], _weight=weight, **flags)
    return layer.weight, layer


def from_pretrained(weight: Tensor, **flags: Any) -> tuple[Tensor, BagCall]:
    layer = torch.nn.EmbeddingBag.from_pretrained(weight.detach(), freeze=False, **flags)
    return layer.weight, layer


def frozen(weight: Tensor, **flags: Any) -> tuple[Tensor, BagCall]:
    layer = torch.nn.EmbeddingBag.from_pretrained(weight, **flags)
    return layer.weight, layer


def loaded(weight: Tensor, **flags: Any) -> tuple[Tensor, BagCall]:
    layer = torch.nn.EmbeddingBag(weight.shape[0], weight.shape[1], dtype=weight.dtype)
    layer.load_state_dict({"weight": weight.detach()})
    for name, flag in flags.items():
        setattr(layer, name, flag)
    return layer.weight, layer


def functional_call(weight: Tensor, **flags: Any) -> tuple[Tensor, BagCall]:
    layer = torch.nn.EmbeddingBag(weight.shape[0], weight.shape[1], dtype=weight.dtype, **flags)
    return weight, lambda indices, offsets=None, samples=None: torch.func.functional_call(
        layer, {"weight": weight}, (indices, offsets, samples)
    )


def positional(operator: Callable[..., Any], weight: Tensor, flags: dict[str, Any], none: int | None) -> BagCall:
    mode = ("sum", "mean", "max").index(flags.get("mode", "mean"))
    scale, sparse = flags.get("scale_grad_by_freq", False), flags.get("sparse", False)
    last, padding = flags.get("include_last_offset", False), flags.get("padding_idx", none)
    if none is not None and "padding_idx" in flags:  # below the Python function -1 means none
        padding = flags["padding_idx"] % weight.shape[0]

    def call(indices: Tensor, offsets: Tensor | None = None, samples: Tensor | None = None) -> Any:
        counted = last and offsets is not None
        if offsets is None:
            offsets = torch.arange(indices.shape[0], dtype=indices.dtype) * indices.shape[1]
        samples = None if samples is None else samples.reshape(-1)
        indices, offsets = indices.reshape(-1).contiguous(), offsets.contiguous()
        return operator(weight, indices, offsets, scale, mode, sparse, samples, counted, padding)[0]

    return call


def torch_bag(weight: Tensor, **flags: Any) -> tuple[Tensor, BagCall]:
    return weight, positional(torch.embedding_bag, weight, flags, None)


def aten(weight: Tensor, **flags: Any) -> tuple[Tensor, BagCall]:
    return weight, positional(torch.ops.aten._embedding_bag.default, weight, flags, -1)


def forward_only(weight: Tensor, **flags: Any) -> tuple[Tensor, BagCall]:
    return weight, positional(torch.ops.aten._embedding_bag_forward_only.default, weight, flags, -1)


BAG_ENTRIES: dict[str, Build] = by_name(
    functional, in_order, module, from_pretrained, frozen, loaded, functional_call, torch_bag, aten
) | by_name(forward_only)


def nested(weight: Tensor, **flags: Any) -> tuple[Tensor, BagCall]:
    # The bags are the components of a nested tensor; behind each lies a token, 0, that is of none.
    def call(indices: Tensor, offsets: Tensor, samples: None = None) -> Tensor:
        lengths = torch.diff(offsets, append=offsets.new_tensor([len(indices)]))
        parts = indices.split(lengths.tolist())
        values = torch.cat([torch.cat([part, part.new_zeros(1)]) for part in parts])
        ends = torch.cat([offsets.new_zeros(1), (lengths + 1).cumsum(0)])
        tokens = torch.nested.nested_tensor_from_jagged(values, ends, lengths=lengths)
        return torch.nn.functional.embedding_bag(tokens, weight, **flags)

    return weight, call


def other_shape(leaf: Tensor, call: BagCall, indices: Tensor, *rest: Any) -> None:
    call(torch.zeros(3, 2, dtype=indices.dtype))
    call(torch.zeros(1, 5, dtype=indices.dtype))


def pooled(leaf: Tensor, indices: Tensor, offsets: Tensor | None, **flags: Any) -> None:
    """The same tokens in the same bags with other flags, and a backward pass."""
    learn(leaf, torch.nn.functional.embedding_bag(indices, leaf, None if indices.dim() == 2 else offsets, **flags))


def table_alike(leaf: Tensor, call: BagCall, indices: Tensor, offsets: Tensor | None, *rest: Any) -> Callable[[], bool]:
    # What holds the other table keeps its identity and its memory apart from this one's.
    other = (leaf.detach() + 1).requires_grad_(leaf.requires_grad)
    pooled(other, indices, offsets, mode="sum")
    return unchanged(other)


def offsets_changed(leaf: Tensor, call: BagCall, indices: Tensor, offsets: Tensor | None, *rest: Any) -> None:
    # All bags but the first and the last are empty; where the last one ends stays as it is.
    if offsets is None or len(offsets) < 3 or 0 in offsets.stride():
        return
    kept = offsets.clone()
    offsets[1:-1] = offsets[-1]
    call(indices, offsets, *rest)
    offsets.copy_(kept)


def weights_changed(
    leaf: Tensor, call: BagCall, indices: Tensor, offsets: Tensor | None, samples: Tensor | None
) -> None:
    if samples is None or 0 in samples.stride():
        return
    with torch.no_grad():
        kept = samples.clone()
        samples.fill_(1.0)
        call(indices, offsets, samples)
        samples.copy_(kept)


_OWN: dict[str, Callable[..., Any]] = named(
    {
        "other_shape": other_shape,
        "as_maxima": lambda leaf, call, indices, offsets, *rest: pooled(leaf, indices, offsets, mode="max"),
        "padding_before": lambda leaf, call, indices, offsets, *rest: pooled(
            leaf, indices, offsets, mode="sum", padding_idx=leaf.shape[0] - 1
        ),
        "weighted_before": lambda leaf, call, indices, offsets, *rest: pooled(
            leaf, indices, offsets, mode="sum", per_sample_weights=torch.full(indices.shape, 2.0, dtype=leaf.dtype)
        ),
        **by_name(table_alike, offsets_changed, weights_changed),
    }
)
_NAMES = (
    *("fresh", "repeated", "weight_changed", "indices_changed", "other_shape", "after_backward", "after_error"),
    *("as_maxima", "padding_before", "weighted_before", "data_exchanged", "table_alike", "indices_refilled"),
    *("offsets_changed", "weights_changed", "output_held"),
)
BAG_HISTORIES = {name: _OWN.get(name) or PASTS[name] for name in _NAMES}
#: All histories of a bag: of those that are counted, what is aimed takes three.
BAG_PASTS = BAG_HISTORIES | COUNTED
