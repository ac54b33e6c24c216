"""Kernels that are spoiled, the facts of a call of each, and their damages: closed lists, `SITES` and `DAMAGES`.

Facts are told of the call that reaches the kernel, not of the case: an earlier call, a spelling by other operators or a
history of the case has calls of its own.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from embcheck.core.counts import told
from selfcheck.damages import Damage, given, memory
from selfcheck.site import Arguments, Call, Facts, Site, Tensor, dtype_name, layout
from selfcheck.tensor_plans import Spoil

_MODES = ("sum", "mean", "max")
_INTEGERS = (torch.int32, torch.int64)
#: The most rows whose tokens are counted.
_MOST = 1 << 24


def _tokens(indices: Tensor, rows: int, padding: int = -1) -> Facts | None:
    """The facts of tokens in a table of so many rows; None if one lies outside of it."""
    if indices.dtype not in _INTEGERS or rows > _MOST:
        return None
    tokens = indices.detach().reshape(-1).numpy()
    if tokens.size and (tokens.min() < 0 or tokens.max() >= rows):
        return None
    return {
        "rank": indices.dim(),
        "index_dtype": dtype_name(indices.dtype),
        "index_layout": layout(indices),
        **told(tokens, rows, padding),
    }


def _table(table: Tensor, rows: int) -> Facts:
    """The facts of a table, or of an upstream gradient for a table of so many rows."""
    width = table.shape[-1]
    small = table.is_floating_point() and table.element_size() == 1  # which torch can't ask for NaN
    values = table.float() if small else table
    return {
        "embedding_dim": width,
        "dtype": dtype_name(table.dtype),
        "layout": layout(table),
        "offset": table.storage_offset() > 0,
        "elements": rows * width,
        "nan": bool(values.isnan().any()),
        "infinite": bool(values.isinf().any()),
    }


def _lookup(given: Arguments, table: Tensor, rows: int, *more: str, indices: str = "indices") -> Facts | None:
    """The facts of tokens, of the table of so many rows, and of more arguments."""
    tokens = _tokens(given[indices], rows, given.get("padding_idx", -1))
    return None if tokens is None else tokens | _table(table, rows) | {name: given[name] for name in more}


def _embedding(given: Arguments) -> Facts | None:
    weight = given["weight"]
    return _lookup(given, weight, len(weight), "scale_grad_by_freq", "sparse") if weight.dim() == 2 else None


def _backward(given: Arguments) -> Facts | None:
    upstream = given["grad_output"] if "grad_output" in given else given["grad"]
    return _lookup(given, upstream, given["num_weights"], "scale_grad_by_freq") if upstream.dim() else None


def _renorm(given: Arguments) -> Facts | None:
    table = given["self"]
    found = _lookup(given, table, len(table), "max_norm", "norm_type") if table.dim() == 2 else None
    if found is None:
        return None
    looked_up = table.detach()[given["indices"].reshape(-1).unique().long()]
    over = int((looked_up.norm(given["norm_type"], dim=1) > given["max_norm"]).sum()) if looked_up.numel() else 0
    return found | {"rescaled": over, "kept": len(looked_up) - over}


def _bag(given: Arguments) -> Facts | None:
    weight, indices, offsets = given["weight"], given["indices"], given["offsets"]
    if weight.dim() != 2 or indices.dim() != 1 or offsets.dim() != 1 or offsets.dtype not in _INTEGERS:
        return None
    found = _lookup(given, weight, len(weight), "scale_grad_by_freq", "sparse", "include_last_offset")
    starts = offsets.detach().numpy()
    ends = starts if given["include_last_offset"] else np.append(starts, indices.numel())
    if found is None or not len(ends) or (np.diff(ends) < 0).any() or ends[-1] > indices.numel():
        return None
    more = {
        "trailing": int(ends[-1]) < indices.numel(),
        "offsets_dtype": dtype_name(offsets.dtype),
        "offsets_layout": layout(offsets),
    }
    return found | more | _bags(np.diff(ends), given)


def _bags(sizes: Any, given: Arguments) -> Facts:
    samples = given["per_sample_weights"]
    return {
        "mode": _MODES[given["mode"]],
        "bags": len(sizes),
        "empty_bags": int((sizes == 0).sum()),
        "empty_first": bool(len(sizes) and sizes[0] == 0),
        "empty_last": bool(len(sizes) and sizes[-1] == 0),
        "largest_bag": int(sizes.max()) if len(sizes) else 0,
        "per_sample_weights": samples is not None,
        "samples_layout": "none" if samples is None else layout(samples),
    }


def _bag_backward(given: Arguments) -> Facts | None:
    found = _backward(given)
    if found is None or given["grad"].dim() != 2 or given["mode"] not in (0, 1, 2):
        return None
    # After the fast sum nothing says how large the bags were but the bag of each token, which it leaves out as well.
    told = given["offset2bag"].detach().numpy()
    bags = len(given["grad"])
    sizes = np.bincount(told, minlength=bags) if told.size else given["bag_size"].detach().numpy()
    return found | _bags(sizes if len(sizes) == bags else np.zeros(bags, np.int64), given)


def _samples_backward(given: Arguments) -> Facts | None:
    found = _lookup(given, given["weight"], len(given["weight"]))
    return None if found is None else found | {"bags": len(given["grad"])}


def _one_hot(given: Arguments) -> Facts | None:
    tokens, classes = given["self"], given["num_classes"]
    if tokens.dtype is not torch.int64 or classes < -1 or (classes < 1 and not tokens.numel()):
        return None
    inferred = classes < 0
    classes = int(tokens.max()) + 1 if inferred else classes
    found = _tokens(tokens, classes) if classes > 0 else None
    return None if found is None else found | {"num_classes": classes, "inferred": inferred, "embedding_dim": classes}


def _index_select(given: Arguments) -> Facts | None:
    table, index = given["self"], given["index"]
    if table.dim() != 2 or given["dim"] != 0 or index.dim() > 1 or not table.is_floating_point():
        return None
    return _lookup(given, table, len(table), indices="index")


def _product(given: Arguments) -> Facts | None:
    left, right = (given["mat1"], given["mat2"]) if "mat1" in given else (given["self"], given["mat2"])
    if left.dim() != 2 or right.dim() != 2 or left.shape[1] != right.shape[0] or not left.is_floating_point():
        return None
    if left.layout is not torch.strided or right.layout is not torch.strided:
        return None
    return {
        "rows": left.shape[0],
        "inner": left.shape[1],
        "columns": right.shape[1],
        "dtype": dtype_name(left.dtype),
        "left_layout": layout(left),
        "right_layout": layout(right),
        "offset": left.storage_offset() > 0 or right.storage_offset() > 0,
        "square": left.shape[0] == left.shape[1] == right.shape[1],
    }


# -- kernels ------------------------------------------------------------------------------------------------------------


def _kernel(name: str, tell: Callable[[Arguments], Facts | None], rows: str, writes: str = "", **more: Any) -> Site:
    return Site(name, f"aten:{name}", "kernel", writes, tell, rows, more.pop("columns", "embedding_dim"), **more)


_BAG_WEIGHTS = "_embedding_bag_per_sample_weights_backward"
SITES: Mapping[str, Site] = {
    site.name: site
    for site in (
        _kernel("embedding", _embedding, "numel"),
        _kernel("embedding_dense_backward", _backward, "num_embeddings"),
        _kernel("embedding_sparse_backward", _backward, "numel"),
        _kernel("embedding_renorm_", _renorm, "num_embeddings", "self"),
        _kernel("_embedding_bag", _bag, "bags"),
        _kernel("_embedding_bag_forward_only", _bag, "bags"),
        _kernel("_embedding_bag_dense_backward", _bag_backward, "num_embeddings"),
        _kernel(_BAG_WEIGHTS, _samples_backward, "numel", columns=""),
        _kernel("one_hot", _one_hot, "numel", columns="num_classes", floating=False),
        _kernel("index_select", _index_select, "numel"),
        _kernel("mm", _product, "rows", columns="columns"),
        _kernel("addmm", _product, "rows", columns="columns"),
    )
}

# -- what comes out -----------------------------------------------------------------------------------------------------


def _at(place: Any, change: Callable[[Tensor], Tensor | float]) -> Spoil:
    """The row, or the elements, at a place changed."""

    def spoil(call: Call, rows: Tensor) -> Tensor:
        rows[place] = change(rows[place])
        return rows

    return spoil


def _ulp(call: Call, rows: Tensor) -> Tensor:
    rows = rows.resolve_conj().resolve_neg()
    numbers = torch.view_as_real(rows) if rows.is_complex() else rows
    bits = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}[numbers.element_size()]
    numbers.view(bits)[-1, -1] += 1
    return rows


def _stale(call: Call, rows: Tensor) -> Tensor | None:
    before = call.previous
    return before if before is not None and (before.shape, before.dtype) == (rows.shape, rows.dtype) else None


def _zero_padding(call: Call, rows: Tensor) -> Tensor:
    rows[call.given["indices"].reshape(-1) == call.given["padding_idx"]] = 0
    return rows


def _first_again(tokens: Tensor) -> Tensor:
    """The last token is taken for the first one."""
    return torch.cat([tokens.reshape(-1)[:-1], tokens.reshape(-1)[:1]]).view(tokens.shape)


_BAGS = ("_embedding_bag", "_embedding_bag_forward_only")
_SCALING = ("embedding_dense_backward", "_embedding_bag_dense_backward")
_BACKWARDS = (*_SCALING, "embedding_sparse_backward", *_BAGS, _BAG_WEIGHTS)
#: Tokens that are not all alike.
_SEVERAL = ("numel>=2", "num_embeddings>=2", "all_padding=False", "several_in_bags")

#: Damages of kernels.
DAMAGES: Mapping[str, Damage] = {
    damage.name: damage
    for damage in (
        Damage("zero(first)", spoil=_at(0, torch.zeros_like)),
        Damage("zero(last)", spoil=_at(-1, torch.zeros_like)),
        Damage("zero(column)", spoil=_at(np.s_[:, -1], torch.zeros_like)),
        Damage("negate(last)", spoil=_at(-1, torch.neg)),
        Damage("double(first)", spoil=_at(0, lambda row: 2 * row)),
        Damage("shift", spoil=lambda call, rows: rows.roll(1, 0), rows=2),
        Damage("swap", spoil=lambda call, rows: torch.cat([rows[1:2], rows[:1], rows[2:]]), rows=2),
        Damage("repeat(first)", spoil=lambda call, rows: torch.cat([rows[:-1], rows[:1]]), rows=2),
        Damage(
            "cast(bfloat16)",
            spoil=lambda call, rows: rows.bfloat16().to(rows.dtype),
            forbids=("dtype=bfloat16",),
            floating=True,
        ),
        Damage(
            "cast(float32)",
            spoil=lambda call, rows: rows.float().to(rows.dtype),
            needs=("dtype=float64",),
            floating=True,
        ),
        Damage("ulp(last)", spoil=_ulp, floating=True),
        Damage("nan(last)", spoil=_at((-1, -1), lambda element: torch.nan), floating=True),
        Damage("stale", spoil=_stale, needs=("earlier>=1",)),
        Damage("zero(padding)", spoil=_zero_padding, needs=("padding_hit",), at=("embedding",)),
        given("padding_idx", "none", lambda padding: -1, _BACKWARDS, needs=("padding_hit",)),
        given("scale_grad_by_freq", "other", lambda scaled: not scaled, _SCALING, needs=("max_count>=2",)),
        given("mode", "other", (1, 0, 0).__getitem__, _BAGS, needs=("per_sample_weights=False", "largest_bag>=2")),
        given("per_sample_weights", "none", lambda samples: None, _BAGS, needs=("per_sample_weights",)),
        given("indices", "first", _first_again, needs=_SEVERAL),
        # Where their order matters.
        given(
            "indices",
            "sorted",
            lambda tokens: tokens.reshape(-1).sort().values.reshape(tokens.shape),
            ("embedding", *_BACKWARDS),
            needs=_SEVERAL,
        ),
        given("weight", "memory", memory),
        given("grad", "memory", memory, ("_embedding_bag_dense_backward",)),
        given("grad_output", "memory", memory),
        given("mat2", "memory", memory, forbids=("right_layout=contiguous",)),
        given("max_norm", "larger", lambda norm: 1.01 * norm, needs=("rescaled>=1",)),
        given("norm_type", "2", lambda kind: 2.0, needs=("embedding_dim>=2",), forbids=("norm_type=2",)),
    )
}
