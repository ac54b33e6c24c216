"""Which of the kernels' paths a bag takes, and where the defects that are known of them show: facts for the ledger.

Sources: aten/native/EmbeddingBag.cpp (is_fast_path, make_bag_size_out, make_offset2bag_out,
_embedding_bag_dense_backward_cpu_sum_mean, embedding_bag_cpu_max_out).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from embcheck.families.embedding_bag.offsets import WRONG_OFFSETS as OFFSET_MISTAKES

if TYPE_CHECKING:
    from embcheck.families.embedding_bag.cases import BagCase


def is_fast(case: BagCase) -> bool:
    """Whether sum or mean takes the generated kernel: no float64, no padding, rows and weights without gaps."""
    gaps = {"strided": 2, "transposed": case.num_embeddings, "swapped": case.num_embeddings + 3}.get(case.layout, 1)
    weights_gap = case.weights is not None and not case.batch
    weights_gap &= case.weights_layout in ("strided", "row_strided", "expanded")
    plain = case.dtype != "float64" and case.mode != "max" and case.padding_idx is None
    return plain and (case.entry == "loaded" or gaps == 1) and not weights_gap


def derived(case: BagCase) -> bool:
    return case.route not in ("value", "forward_mode") and case.learns != "none"


def has_late_tokens(case: BagCase) -> bool:
    """Whether a token that is no padding lies behind the last offset."""
    late = case.tokens[case.numel :]
    row = case.lookup.padding_row
    return bool(late.size) if row is None else bool((late != row).any())


def counts_late_tokens(case: BagCase) -> bool:
    """Whether tokens behind the last offset are counted to the last bag.

    All kernels do so that number the bag of each token, and a mean divides by a size that ends with the tokens; the
    fast sum alone reads the last offset.
    """
    return has_late_tokens(case) and not (is_fast(case) and case.mode == "sum")


def reads_beyond(case: BagCase) -> bool:
    """Whether backward reads the upstream gradient of a bag behind the last.

    After a fast sum it numbers the bags itself, and by all offsets: those behind the last one are in one bag more.
    """
    return has_late_tokens(case) and derived(case) and is_fast(case) and case.mode == "sum"


def writes_beyond(case: BagCase) -> bool:
    """Whether tokens are reduced into bag −1, for there are tokens but no bag."""
    return (
        bool(case.trailing)
        and not len(case.lengths)
        and case.include_last_offset
        and not (is_fast(case) and case.mode == "sum")
    )


def is_bagless(case: BagCase) -> bool:
    """Whether tokens come with no offset at all: each is numbered −1, which the fast kernels alone never read, and those
    no earlier than in backward."""
    unbagged = bool(case.trailing) and not len(case.lengths) and not case.include_last_offset
    return unbagged and not (is_fast(case) and not derived(case))


def misplaced_count(case: BagCase) -> bool:
    """Whether the dense derivative divides a row by another row's count.

    Of the k-th of the rows that occur it takes the count of the k-th of all sorted tokens (right only by luck).
    """
    if not case.scale_grad_by_freq or case.sparse or not derived(case):
        return False
    ordered = np.sort(case.tokens[: case.numel])
    rows = np.unique(ordered)
    taken = case.counts[ordered[: len(rows)]]
    wrong = taken != case.counts[rows]
    if case.lookup.padding_row is not None:
        wrong &= rows != case.lookup.padding_row
    return bool(wrong.any())


def late_nan(case: BagCase) -> npt.NDArray[np.bool_]:
    """Where a NaN stands behind a number in a bag that is reduced to its maximum, shape ``(bags, embedding_dim)``: no number
    is less than it, so it is no maximum."""
    late = np.zeros((len(case.lengths), case.embedding_dim), np.bool_)
    bags = case.bag_of[case.kept]
    if case.values != "special" or not bags.size:
        return late
    rows = np.isnan(case.table_values[case.tokens[: case.numel][case.kept]])
    starts = np.flatnonzero(np.r_[True, np.diff(bags) != 0])
    late[bags[starts]] = np.logical_or.reduceat(rows, starts, axis=0) & ~rows[starts]
    return late


def has_tie(case: BagCase) -> bool:
    """Whether, in some column of a bag of up to 64 tokens in all, two different rows have the maximum."""
    if case.mode != "max" or case.values == "special" or case.numel > 64:
        return False
    bags, tokens = case.bag_of[case.kept], case.tokens[: case.numel][case.kept]
    if tokens.max(initial=0) >= case.num_embeddings:  # as of a case that is being reduced
        return False
    rows = case.table_values[tokens]
    for bag in np.unique(bags):
        several = np.unique(tokens[bags == bag])
        top = rows[bags == bag].max(0, initial=-np.inf)
        if ((case.table_values[several] == top).sum(0) > 1).any():
            return True
    return False


def refuses_decrease(case: BagCase) -> bool:
    """Whether offsets that decrease are refused: by the fast kernel, which is told where the last bag ends and stops
    at a bag that would end behind it."""
    if not (is_fast(case) and case.include_last_offset) or case.mistake not in OFFSET_MISTAKES:
        return False
    last = case.offsets[-1]
    return bool(last >= 0 and (case.offsets > last).any())


def ends_negative(case: BagCase) -> bool:
    """Whether the last of several wrong offsets is negative."""
    return case.mistake in OFFSET_MISTAKES and bool(case.offsets[-1] < 0)


def facts_of(case: BagCase) -> dict[str, bool]:
    """fast, goes_back, counts_late, reads_beyond, writes_beyond, bagless, misplaced_count,
    late_nan, tied_maximum, checks_decrease, ends_negative."""
    refused = case.mistake is not None
    told = {
        "counts_late": counts_late_tokens,
        "reads_beyond": reads_beyond,
        "writes_beyond": writes_beyond,
        "bagless": is_bagless,
        "misplaced_count": misplaced_count,
        "late_nan": lambda case: case.mode == "max" and bool(late_nan(case).any()),
        "tied_maximum": has_tie,
    }
    return {
        "fast": is_fast(case),
        "goes_back": derived(case),
        "checks_decrease": refuses_decrease(case),
        "ends_negative": ends_negative(case),
        **{name: not refused and fact(case) for name, fact in told.items()},
    }
