"""Faults next to those of the patterns: inner axes that change places, states that outlive a call, other thresholds."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import torch

from embcheck.faults.bag_entries import after, before, call_fault
from embcheck.faults.bag_kernels import MAX, Bag, forward, showing
from embcheck.faults.bags import Given
from embcheck.faults.entry import embedding, functional, out_changed
from embcheck.faults.gradient_patterns import learnt
from embcheck.faults.kernels import Call, Tensor, backward, dense_gradient, lookup
from embcheck.faults.kernels import forward as kernel_forward
from embcheck.faults.layer_patterns import made
from embcheck.faults.lookup_patterns import plain, tokens
from embcheck.faults.one_hot_patterns import linear
from embcheck.faults.probes import passes, rows
from embcheck.faults.products import one_hot
from embcheck.faults.witnesses import unlike


def in_anomaly_mode() -> Tensor:
    """A maximum while anomalies are looked for."""
    with torch.autograd.detect_anomaly(check_nan=False):
        return functional.embedding_bag(torch.tensor([[0, 1]]), -rows(), mode="max")


def turned(tensor: Tensor) -> bool:
    """Whether the second and third of three axes or more have changed places in memory."""
    return tensor.dim() > 2 and not tensor.is_contiguous() and tensor.transpose(1, 2).is_contiguous()


def along(tensor: Tensor) -> Tensor:
    """What lies in memory, in the tensor's shape."""
    return tensor.transpose(1, 2).reshape(tensor.shape)


def rotated(call: Call, out: Tensor) -> Tensor:
    """Columns from the 2,048th on are one off."""
    return torch.cat([out[..., :2048], out[..., 2048:].roll(1, -1)], -1)


kernel_forward(
    "inner_axes_of_tokens_change_places", "Indices whose inner axes are transposed are read along their memory.",
    lambda c: turned(c.indices), lambda c, out: lookup(c._replace(indices=along(c.indices))),
    unlike(lambda: functional.embedding(torch.arange(4).reshape(1, 2, 2).transpose(1, 2), rows())),
)  # fmt: skip
kernel_forward(
    "columns_beyond_2048", "Columns of float16 from the 2,048th on are one off.",
    lambda c: c.given.dtype == torch.float16 and c.width > 2049, rotated,
    unlike(lambda: functional.embedding(tokens(0), rows(1, 2060, torch.float16))),
)  # fmt: skip
backward(
    "upstream_whose_inner_axes_are_turned", "An upstream gradient whose tokens and columns are transposed is read along its "
    "memory, at rank 2.",
    lambda c: c.rank == 2 and turned(c.given), lambda c, out: dense_gradient(c._replace(given=along(c.given))),
    unlike(learnt(0, 1, 2, 3, shape=(2, 2), upstream=lambda out: torch.arange(8.0).reshape(2, 2, 2).transpose(1, 2))),
)  # fmt: skip
linear(
    "linear_of_turned_heads", "Input of four axes whose inner ones are transposed is read along its memory.",
    lambda original, input, weight, bias: original(along(input) if input.dim() == 4 and turned(input) else input, weight, bias),
    lambda: functional.linear(torch.arange(8.0).reshape(1, 2, 2, 2).transpose(1, 2), torch.ones(1, 2)),
)  # fmt: skip
linear(
    "bias_without_its_gaps", "A bias with gaps is read without them.",
    lambda original, input, weight, bias: original(
        input, weight, bias.as_strided(bias.shape, (1,)) if bias is not None and bias.dim() == 1 and bias.stride(0) > 1 else bias),
    lambda: functional.linear(torch.ones(1, 2), torch.ones(2, 2), torch.arange(4.0)[::2]),
)  # fmt: skip
one_hot(
    "one_hot_of_turned_tokens", "Tokens of three axes whose inner ones are transposed are read along their memory.",
    lambda original, t, n: original(along(t) if plain(t) and turned(t) else t, n),
    unlike(lambda: functional.one_hot(torch.arange(4).reshape(1, 2, 2).transpose(1, 2), 4)),
)  # fmt: skip

# -- what outlives a call ------------------------------------------------------------------------------------------------

_PADDING: list[int | None] = [None]


def late_padding(original: Callable[..., Any], input: Tensor, weight: Tensor, **flags: Any) -> Any:
    """A lookup whose backward masks the padding of the latest call."""
    padding = flags["padding_idx"]
    _PADDING[0] = None if padding is None or not len(weight) else padding % len(weight)
    if (
        padding is None
        or flags["sparse"]
        or not (weight.requires_grad and torch.is_grad_enabled())
        or not plain(input, weight)
    ):
        return original(input, weight, **flags)
    out = original(input, weight, **flags | {"padding_idx": None})
    if flags["scale_grad_by_freq"] or not -len(weight) <= padding < len(weight):
        return original(input, weight, **flags)
    out.register_hook(
        lambda sent: sent if _PADDING[0] is None else sent.masked_fill((input == _PADDING[0])[..., None], 0)
    )
    return out


def two_paddings() -> list[Tensor | None]:
    """A lookup with padding, one without behind it, and both gradients."""
    weight = rows()
    first = functional.embedding(tokens(0, 1), weight, 0)
    second = functional.embedding(tokens(0, 1), weight)
    return passes(first.sum() + second.sum(), weight)


embedding("padding_of_the_latest_lookup", "padding", "Backward takes the padding_idx of the latest lookup.", late_padding,
          unlike(two_paddings))  # fmt: skip

_DONE: list[Any] = [lambda: None, None, None]


def bounded_once(original: Callable[..., Any], input: Tensor, weight: Tensor, **flags: Any) -> Any:
    """max_norm forgotten for the same tokens in a table of the same version."""
    if flags["max_norm"] is None or not plain(input, weight) or weight.is_inference():
        return original(input, weight, **flags)
    key = (weight._version, tuple(input.reshape(-1).tolist()), flags["max_norm"], flags["norm_type"])
    if _DONE[0]() is weight and _DONE[1] == key:
        return original(input, weight, **flags | {"max_norm": None})
    out = original(input, weight, **flags)
    _DONE[:2] = weakref.ref(weight), (weight._version, *key[1:])
    return out


def written_between() -> Tensor:
    """A table after two lookups, written through .data in between."""
    weight = torch.tensor([[3.0, 4.0]])
    for _ in range(2):
        functional.embedding(tokens(0), weight, max_norm=1.0)
        weight.data.mul_(8.0)
    return weight


embedding("bounded_once_a_version", "renorm", "max_norm is forgotten for the same tokens as before until the table's version "
          "moves.", bounded_once, unlike(written_between))  # fmt: skip


def learning_source(layer: Any, given: dict[str, Any]) -> None:
    """The tensor that a table was made of learns as the table does."""
    weight = given.get("_weight")
    if isinstance(weight, Tensor) and weight.is_leaf and weight.is_floating_point() and not given.get("_freeze"):
        weight.requires_grad_()


def learns_then() -> bool:
    """Whether a tensor requires grad once a table is made of it."""
    weight = torch.ones(2, 2)
    torch.nn.Embedding(2, 2, _weight=weight)
    return weight.requires_grad


made("given_tables_learn_too", "A _weight that is given requires grad afterwards.", learns_then, spoil=learning_source)

_OUTPUT: list[Any] = [lambda: None, lambda: None, None, None]


def same_bags(original: Callable[..., Any], given: Given) -> Any:
    """A sum of the same tokens, table and versions is the one before."""
    input, weight = given["input"], given["weight"]
    out = original(**given)
    if given["mode"] != "sum" or out.requires_grad or not plain(input, weight) or out.is_inference():
        return out
    key = (input._version, weight._version, out.shape, out.dtype)
    if (
        _OUTPUT[0]() is input
        and _OUTPUT[1]() is weight
        and _OUTPUT[2] == key
        and given.get("per_sample_weights") is None
    ):
        return torch.clone(_OUTPUT[3])
    _OUTPUT[:] = weakref.ref(input), weakref.ref(weight), key, out.clone()
    return out


def other_offsets() -> list[Tensor]:
    """Sums of the same tokens in other bags."""
    indices, weight = torch.arange(3), rows().detach()
    return [functional.embedding_bag(indices, weight, tokens(0, start), mode="sum") for start in (1, 2)]


call_fault("bagq_sums_by_identity", "A frozen sum of the same tokens in other bags is the sum before.", same_bags,
           unlike(other_offsets))  # fmt: skip

# -- bags ----------------------------------------------------------------------------------------------------------------


def rolled(bag: Bag, out: Tensor) -> Tensor:
    """The last column is the one before."""
    out[:, -1] = out[:, -2]
    return out


forward(
    "bagq_wide_half_maxima", "Maxima of float16 over more than 100 columns, of more than two bags, end like the column before.",
    lambda bag: bag.mode == MAX and bag.weight.dtype == torch.float16 and bag.width > 100 and bag.bags > 2,
    showing([0, 1, 2], [0, 1, 2], width=101, dtype=torch.float16, mode="max"), spoil=rolled,
)  # fmt: skip
forward(
    "bagq_nan_weights_are_skipped", "Tokens whose weight is NaN are left out.",
    lambda bag: bag.samples is not None and bool(bag.samples.isnan().any()),
    showing([0, 1], samples=[float("nan"), 1.0], mode="sum"),
    lambda bag: bag._replace(samples=torch.nan_to_num(bag.samples)) if bag.samples is not None else bag,
)  # fmt: skip
call_fault(
    "bagq_weights_with_gaps_in_batches", "per_sample_weights of a batch whose rows are apart are read without the gaps.",
    before(
        lambda g: g.get("per_sample_weights") is not None and g["per_sample_weights"].dim() == 2
        and plain(g["per_sample_weights"]) and g["per_sample_weights"].stride(1) == 1
        and len(g["per_sample_weights"]) > 1 and g["per_sample_weights"].stride(0) > g["per_sample_weights"].shape[1],
        lambda g: g | {"per_sample_weights": g["per_sample_weights"].as_strided(
            g["per_sample_weights"].shape, (g["per_sample_weights"].shape[1], 1))},
    ),
    unlike(lambda: functional.embedding_bag(torch.tensor([[0], [1]]), rows(), mode="sum",
                                             per_sample_weights=torch.arange(4.0).reshape(2, 2)[:, :1])),
)  # fmt: skip
call_fault(
    "bagq_anomaly_maxima", "In anomaly mode a maximum is that of the magnitudes.",
    after(lambda g: torch.is_anomaly_enabled() and g["mode"] == "max", lambda out, g: out.abs()),
    unlike(in_anomaly_mode),
)  # fmt: skip
embedding(
    "column_slice_of_a_leaf_has_no_graph", "gradient", "The first columns of a leaf, taken as a table, do not learn.",
    out_changed(
        lambda input, weight, flags: weight._base is not None and weight._base.is_leaf and weight._base.requires_grad
        and weight.dim() == 2 and weight.stride(0) > weight.shape[1],
        lambda out, input, weight: out.detach(),
    ),
    unlike(lambda: functional.embedding(tokens(0), rows()[:, :1])),
)  # fmt: skip
