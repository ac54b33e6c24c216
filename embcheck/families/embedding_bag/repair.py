"""The axes of a bag's case made to fit each other."""

from __future__ import annotations

from typing import Any

from embcheck.core.declaration import is_subject
from embcheck.core.layout import GUARD
from embcheck.families.embedding_bag.cases import LATE_STRAYS, OFFSET_MISTAKES, BagCase
from embcheck.families.embedding_bag.invalid_calls import BAG_MISTAKES, BY_ELEMENTS
from embcheck.families.embedding_bag.kernel_paths import reads_beyond
from embcheck.families.embedding_bag.offsets import WRONGLY_CUT
from embcheck.families.embedding_bag.routes import BATCHED, REBUILT
from embcheck.families.lookup import cases

#: Entries that call an operator by position, without the Python function before it.
OPERATORS = frozenset({"torch_bag", "aten", "forward_only"})
#: Entries whose leaf is the table that they are given, and not a parameter made of it.
PURE = ("functional", "keywords", "in_order", "functional_call", "torch_bag", "aten")
#: Routes that multiply with zero what need not be finite.
SPREADING = frozenset({"through_product", "double_backward", "forward_mode"}) | BATCHED


def repair(case: BagCase) -> BagCase | None:
    """The case with axes made to fit each other."""
    if case.mistake is not None:
        return _mistaken(case)
    case = case.but(on_meta=False)
    if case.num_embeddings == 0 and case.numel + case.trailing:
        return None
    changes: dict[str, Any] = {"padding_idx": cases.padding_of(case.padding_idx, case.num_embeddings)}
    if isinstance(case.bags, tuple):
        changes["numel"] = sum(case.bags)
        if case.batch and (len(set(case.bags)) != 1):
            return None
    if case.batch or not (case.include_last_offset or case.bags == ()) or case.scale_grad_by_freq:
        changes["trailing"] = 0
    if case.batch:
        changes |= {"offset_dtype": "int64", "offset_layout": "contiguous"}
    if case.batch and case.entry in OPERATORS:
        changes["include_last_offset"] = False
    if case.values == "vast":
        # Only of half precision are sums computed in more digits.
        changes |= {"trailing": 0} if (case.mode, case.dtype) == ("mean", "float16") else {"values": "fingerprint"}
    if case.mode == "max":
        changes |= {"scale_grad_by_freq": False, "sparse": False}
        changes["upstream"] = "code" if case.upstream == "special" else case.upstream  # ties would spread it
    elif case.sparse and case.scale_grad_by_freq and case.learns != "none":
        changes["sparse"] = False
    if case.mode != "sum" or case.weights is None:
        changes |= {"weights": None, "weights_layout": "contiguous"}
        changes["learns"] = "table" if case.learns in ("both", "weights") else case.learns
    if case.entry in ("forward_only", "frozen"):
        changes["learns"] = "none" if changes.get("learns", case.learns) in ("none", "table") else "weights"
    if case.entry == "forward_only":
        changes["learns"] = "none"  # it has no derivative
    if case.entry == "swapped":
        changes["index_dtype"] = "int64"  # by which the old order is told
    if case.route == "weights_batched" and changes.get("weights", case.weights) is None:
        changes["route"] = "batched"
    if changes.get("learns", case.learns) == "none":
        changes["route"] = "several" if case.route == "several" else "value"
    if case.route in REBUILT and case.entry not in PURE:
        changes["entry"] = "functional"
    if case.route == "tables_batched" and case.entry == "functional_call":
        changes["entry"] = "functional"  # which builds a layer each time, and vmap lets none be drawn
    if case.route == "through_product" or case.route in BATCHED:
        changes["trailing"] = 0  # other memory is fed
    if case.route in BATCHED - {"batched"}:
        changes["sparse"] = False
    if case.route in ("double_backward", "forward_mode"):
        changes["scale_grad_by_freq"] = False
    if case.weights == "special" and case.route in SPREADING:
        changes["weights"] = changes.get("weights", "small") and "small"
    if case.route in BATCHED and case.values == "special" and changes.get("learns", case.learns) in ("both", "weights"):
        changes["values"] = "small"  # its second batch is sent zeros, which infinite rows make NaN
    if case.layout == "expanded":
        changes["layout"] = "column_slice"
    if case.index_layout == "expanded":
        changes["indices"] = "same" if isinstance(case.indices, str) else case.indices
        changes["history"] = "fresh" if case.history == "indices_changed" else case.history
    if case.upstream_layout == "expanded":
        changes["upstream"] = "ones"
    if case.weights_layout == "expanded" and changes.get("weights", case.weights) in ("small", "real", "special"):
        changes["weights"] = "ones"
    trailed = changes.get("trailing", case.trailing) > 0
    if not case.num_embeddings or not case.embedding_dim or (trailed and case.history == "after_backward"):
        changes["history"] = (
            "fresh"  # what is known of no columns, and of tokens behind the last bag, must not come twice
        )
    if case.dtype == "float16" and changes.get("learns", case.learns) in ("both", "weights"):
        values = changes.get("values", case.values)
        changes["values"] = "small" if values == "fingerprint" else values  # products overflow soon
    # Of a wrong count that is known the ledger tells for one gradient, and rounded ones of several calls need not be alike.
    rounded = case.scale_grad_by_freq and case.upstream == "real"
    single = is_subject(case.entry) or case.values == "special" or case.batch or not case.numel or rounded
    if case.route == "several" and single:
        changes["route"] = "value" if changes.get("learns", case.learns) == "none" else "backward_call"
    elif case.route == "several" and (changes["padding_idx"] or 0) < 0:
        # From the end it would be another row of a table with more rows.
        changes["padding_idx"] += case.num_embeddings
    fitted = case.but(**changes)
    if fitted.trailing and reads_beyond(fitted):
        # What is read beyond the upstream gradient must be the poison that is there.
        changes |= {
            "embedding_dim": min(case.embedding_dim, GUARD),
            "upstream_layout": "contiguous",
            "history": "fresh",
        }
        changes["route"] = "backward_call" if case.route != "autograd_grad" else case.route
        fitted = fitted.but(**changes)
    if isinstance(fitted.indices, tuple) and len(fitted.indices) != fitted.numel + fitted.trailing:
        return None
    return fitted


def _mistaken(case: BagCase) -> BagCase:
    """A case that must be refused, in its plainest form: nothing else may be the reason."""
    rows, width = max(case.num_embeddings, 1), case.embedding_dim
    layout = "column_slice" if case.layout == "expanded" else case.layout
    if case.mistake in BAG_MISTAKES:
        width = max(width, 1)
        on_meta = case.on_meta and case.mistake not in BY_ELEMENTS
        return BagCase(rows, width, dtype=case.dtype, layout=layout, mistake=case.mistake, on_meta=on_meta)
    kept: dict[str, Any] = {"numel": max(case.numel, 1), "batch": case.batch, "bags": case.bags}
    if case.mistake in OFFSET_MISTAKES:
        kept = {"numel": WRONGLY_CUT, "bags": (1, 1, 2)}
    if case.mistake in LATE_STRAYS:
        kept |= {"batch": False, "trailing": 1}
    if kept.get("batch"):
        kept["bags"] = "one"
    index_dtype = "int64" if case.entry == "swapped" else case.index_dtype  # by which the old order is told
    return BagCase(
        rows,
        width,
        case.mode,
        include_last_offset=case.mistake in LATE_STRAYS or (case.include_last_offset and not kept.get("batch")),
        padding_idx=cases.padding_of(case.padding_idx, rows),
        sparse=case.sparse and case.mistake in LATE_STRAYS and case.mode != "max",
        weights=case.weights if case.mode == "sum" else None,
        learns="none" if case.entry == "forward_only" or case.learns == "none" else "table",
        dtype=case.dtype,
        index_dtype=index_dtype,
        offset_dtype=index_dtype,
        layout=layout,
        entry=case.entry,
        route=case.route if case.mistake in LATE_STRAYS and case.route == "backward_call" else "value",
        threads=case.threads,
        mistake=case.mistake,
        seed=case.seed,
        **kept,
    )
