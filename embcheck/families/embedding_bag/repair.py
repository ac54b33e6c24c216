"""The axes of a bag's case made to fit each other."""

from typing import Any

from embcheck.core.declaration import is_subject
from embcheck.core.layout import GUARD
from embcheck.core.rules import Rule, fitted
from embcheck.families.embedding_bag.cases import LATE_STRAYS, OFFSET_MISTAKES, BagCase
from embcheck.families.embedding_bag.invalid_calls import BAG_MISTAKES, BY_ELEMENTS
from embcheck.families.embedding_bag.kernel_paths import is_bagless, reads_beyond
from embcheck.families.embedding_bag.offsets import WRONGLY_CUT
from embcheck.families.embedding_bag.routes import BATCHED, REBUILT
from embcheck.families.lookup import cases
from embcheck.families.lookup.prior_calls import LEARNING

#: Entries that call an operator by position, without the Python function before it.
OPERATORS = frozenset({"torch_bag", "aten", "forward_only"})
#: Entries whose leaf is the table that they are given, and not a parameter made of it.
PURE = ("functional", "in_order", "functional_call", "torch_bag", "aten")
#: Routes that multiply with zero what need not be finite.
SPREADING = frozenset({"double_backward", "forward_mode"}) | BATCHED


def _samples_learn(case: BagCase) -> bool:
    return case.learns in ("both", "weights")


def _leaves_memory(case: BagCase) -> bool:
    """Whether its backward reads or writes for a bag that is none."""
    return reads_beyond(case) or is_bagless(case)


def _is_single(case: BagCase) -> bool:
    """Whether several calls of a bag need not be alike, or can't be made."""
    # Of a wrong count that is known the ledger tells for one gradient; rounded ones of several calls differ.
    rounded = case.scale_grad_by_freq and case.upstream == "real"
    cut = case.batch or not case.numel or case.trailing > 0
    return is_subject(case.entry) or case.values == "special" or cut or rounded


_RULES: tuple[Rule, ...] = (
    (lambda c: c.batch or not (c.include_last_offset or c.bags == ()) or c.scale_grad_by_freq, {"trailing": 0}),
    (lambda c: c.batch, {"offset_dtype": "int64", "offset_layout": "contiguous"}),
    (lambda c: c.batch and c.entry in OPERATORS, {"include_last_offset": False}),
    # Only of half precision are sums computed in more digits.
    (lambda c: c.values == "vast" and (c.mode, c.dtype) == ("mean", "float16"), {"trailing": 0}),
    (lambda c: c.values == "vast" and (c.mode, c.dtype) != ("mean", "float16"), {"values": "fingerprint"}),
    (lambda c: c.values == "near" and c.mode != "max", {"values": "real"}),
    (lambda c: c.mode == "max", {"scale_grad_by_freq": False, "sparse": False}),
    (lambda c: c.mode == "max" and c.upstream == "special", {"upstream": "code"}),  # ties would spread it
    (lambda c: c.sparse and c.scale_grad_by_freq and c.learns != "none", {"sparse": False}),
    (lambda c: c.mode != "sum" or c.weights is None, {"weights": None, "weights_layout": "contiguous"}),
    (lambda c: c.weights is None and _samples_learn(c), {"learns": "table"}),
    (lambda c: c.entry == "frozen" and c.learns == "table", {"learns": "none"}),
    (lambda c: c.entry == "frozen" and c.learns == "both", {"learns": "weights"}),
    (lambda c: c.entry == "forward_only", {"learns": "none"}),  # it has no derivative
    (lambda c: c.learns == "none" and c.route != "several", {"route": "value"}),
    (lambda c: c.route in REBUILT and c.entry not in PURE, {"entry": "functional"}),
    # Which builds a layer each time, and vmap lets none be drawn.
    (lambda c: c.route == "tables_batched" and c.entry == "functional_call", {"entry": "functional"}),
    (lambda c: c.route in BATCHED, {"trailing": 0}),  # other memory is fed
    (lambda c: c.route == "tables_batched", {"sparse": False}),
    (lambda c: c.route in ("double_backward", "forward_mode"), {"scale_grad_by_freq": False}),
    (lambda c: c.weights == "special" and c.route in SPREADING, {"weights": "small"}),
    # The second batch is sent zeros, which infinite rows make NaN.
    (lambda c: c.route in BATCHED and c.values == "special" and _samples_learn(c), {"values": "small"}),
    (lambda c: c.layout == "expanded", {"layout": "column_slice"}),
    (lambda c: c.index_layout == "expanded" and isinstance(c.indices, str), {"indices": "same"}),
    (lambda c: c.index_layout == "expanded" and c.history == "indices_changed", {"history": "fresh"}),
    (lambda c: c.upstream_layout == "expanded", {"upstream": "ones"}),
    (lambda c: c.weights_layout == "expanded" and c.weights in ("small", "real", "special"), {"weights": "ones"}),
    # What is known of no columns, and of tokens behind the last bag, must not come twice.
    (lambda c: not c.num_embeddings or not c.embedding_dim, {"history": "fresh"}),
    (lambda c: c.trailing and c.history == "after_backward", {"history": "fresh"}),
    (
        lambda c: c.trailing and c.history in LEARNING and _leaves_memory(c.but(route="backward_call")),
        {"history": "fresh"},
    ),
    # An earlier backward of that kind is refused like any other.
    (lambda c: c.sparse and c.scale_grad_by_freq and c.history == "after_backward", {"history": "fresh"}),
    # Products overflow soon.
    (lambda c: c.dtype == "float16" and _samples_learn(c) and c.values == "fingerprint", {"values": "small"}),
    (lambda c: c.route == "several" and _is_single(c) and c.learns == "none", {"route": "value"}),
    (lambda c: c.route == "several" and _is_single(c), {"route": "backward_call"}),
    # What is read beyond the upstream gradient must be the poison that is there.
    (lambda c: c.trailing and reads_beyond(c) and c.route != "autograd_grad", {"route": "backward_call"}),
    (lambda c: c.trailing and reads_beyond(c), {"upstream_layout": "contiguous", "history": "fresh"}),
    (lambda c: c.embedding_dim > GUARD and c.trailing and reads_beyond(c), {"embedding_dim": GUARD}),
)


def repair(case: BagCase) -> BagCase | None:
    if case.mistake is not None:
        return _mistaken(case)
    if case.num_embeddings == 0 and case.numel + case.trailing:
        return None
    if isinstance(case.bags, tuple) and case.batch and len(set(case.bags)) != 1:
        return None
    numel = sum(case.bags) if isinstance(case.bags, tuple) else case.numel
    padding = cases.padding_of(case.padding_idx, case.num_embeddings)
    found = fitted(case.but(on_meta=False, numel=numel, padding_idx=padding), _RULES)
    if isinstance(found.indices, tuple) and len(found.indices) != found.numel + found.trailing:
        return None
    if found.route == "several":
        return found.but(padding_idx=found.lookup.padding_row)  # from the end it would be another one of more rows
    return found


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
        kept = {"numel": WRONGLY_CUT, "batch": False, "bags": (1, 1, 2)}
    if case.mistake in LATE_STRAYS:
        kept |= {"batch": False, "trailing": 1}
    if kept["batch"]:
        kept["bags"] = "one"
    kept |= {
        axis: getattr(case, axis) for axis in ("mode", "dtype", "index_dtype", "entry", "threads", "mistake", "seed")
    }
    late = case.mistake in LATE_STRAYS
    return BagCase(
        rows,
        width,
        include_last_offset=late or (case.include_last_offset and not kept["batch"]),
        padding_idx=cases.padding_of(case.padding_idx, rows),
        sparse=case.sparse and late and case.mode != "max",
        weights=case.weights if case.mode == "sum" else None,
        learns="none" if case.entry == "forward_only" or case.learns == "none" else "table",
        offset_dtype=case.index_dtype,
        layout=layout,
        route=case.route if late and case.route == "backward_call" else "value",
        **kept,
    )
