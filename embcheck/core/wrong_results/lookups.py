"""What torch is known to give instead of rows that are looked up, their gradients, and bags of them."""

import itertools
from typing import Any

import numpy as np
import numpy.typing as npt

from embcheck.core.bound import gamma
from embcheck.core.format import Floats
from embcheck.core.oracle import accumulate
from embcheck.core.result import Elements
from embcheck.core.wrong_results.judgement import of_elements, of_plain
from embcheck.core.wrong_results.numbers import decoded


@of_elements
def the_table_as_it_was(case: Any, seen: Elements) -> Any:
    """The table is the one that was given, of which rows should have been rescaled."""
    return np.array_equal(seen.got, np.broadcast_to(case.weight, seen.got.shape))


@of_elements
def undivided(case: Any, seen: Elements) -> Any:
    """The gradient of a gradient is the row of each token that counts, not divided by how often the token is there."""
    return _are(seen, np.where(case.counted[:, None], case.weight_values[case.tokens], 0.0))


@of_elements
def plain_rows(case: Any, seen: Elements) -> Any:
    """The gradient of a gradient is the row of each token, also of padding, and not divided."""
    return _are(seen, case.weight_values[case.tokens])


def _are(seen: Elements, rows: Floats) -> bool:
    return seen.got.size == rows.size and np.array_equal(seen.got, rows.reshape(seen.got.shape), equal_nan=True)


@of_elements
def scattered_plainly(case: Any, seen: Elements) -> Any:
    """The gradient is that of a table without padding_idx and without scale_grad_by_freq."""
    upstream = case.upstream_values
    value, terms = (accumulate(case.tokens, case.num_embeddings, each) for each in (upstream, np.abs(upstream)))
    with np.errstate(invalid="ignore"):
        limit = gamma(case.counts[:, None] + 1, case.format.unit_roundoff) * terms
        near = (seen.got == value) | (np.abs(seen.got - value) <= limit) | (np.isnan(seen.got) & np.isnan(value))
    return near.all()


@of_elements
def columns_reversed(case: Any, seen: Elements) -> Any:
    """The columns stand in reverse order: of rows, bit for bit, and of the gradient, as near as sums are."""
    due = decoded(case.format, seen)[..., ::-1]
    limit = np.zeros(1)
    if "grad" in seen.place:
        terms = accumulate(case.tokens, case.num_embeddings, np.abs(case.upstream_values))
        limit = gamma(case.counts[:, None] + 4, case.format.unit_roundoff) * terms[:, ::-1]
    return _near(case, seen.got, due, limit)


@of_elements
def rows_as_they_were(case: Any, seen: Elements) -> Any:
    """Each row that differs is one of the table that was given; of one that was changed on the way nothing is said."""
    if case.history != "fresh":
        return True
    known = {row.tobytes() for row in case.weight_values + 0.0}
    return all((row + 0.0).tobytes() in known for row in np.asarray(seen.got[seen.differ.any(-1)], np.float64))


@of_elements
def no_longer_than_due(case: Any, seen: Elements) -> Any:
    """Rows that were rescaled by a negative factor: of the due length at most, whatever their signs.

    The norm has an error for each element that is added.
    """
    finite = np.isfinite(seen.got)
    due = np.abs(seen.expected) * (1 + (8 + case.embedding_dim) * case.format.unit_roundoff)
    return not (np.abs(seen.got) > due)[finite & seen.differ].any()


@of_elements
def a_whole_multiple(case: Any, seen: Elements) -> Any:
    """What should have been divided by a count is not: it is as many times what is due."""
    got, expected = seen.got[seen.differ], seen.expected[seen.differ]
    whole = np.rint(got / expected)
    # What cancels in a sum has the roundings of its terms.
    limit = 64 * case.format.unit_roundoff * np.abs(got).max(initial=0.0)
    return ((whole >= 2) & (np.abs(got - whole * expected) <= limit)).all()


@of_elements
def as_often_as_there_are_ranks(case: Any, seen: Elements) -> Any:
    """What should have been averaged over the ranks is their sum."""
    return _are(seen, case.ranks * seen.expected)


# -- bags ----------------------------------------------------------------------------------------------------------


def _last_bag(case: Any) -> int:
    """The place of the first token of the last bag."""
    return int(case.numel - (int(case.lengths[-1]) if len(case.lengths) else 0))


def _late(case: Any) -> Any:
    """The tokens behind the last bag that are no padding."""
    late = case.tokens[case.numel :]
    row = case.lookup.padding_row
    return late if row is None else late[late != row]


@of_elements
def rows_behind_the_last_bag(case: Any, seen: Elements) -> Any:
    """Of the rows that the last bag or the tokens behind it hold, those of the latter."""
    rows = np.unique(case.tokens[_last_bag(case) :])
    return np.isin(rows[seen.differ.any(-1)], _late(case)).all()


@of_elements
def where_the_bag_has_tokens(case: Any, seen: Elements) -> Any:
    """Of the weights behind the last bag, those of tokens that are no padding."""
    return np.isin(case.tokens[case.numel :][seen.differ], _late(case)).all()


@of_elements
def with_the_tokens_behind(case: Any, seen: Elements) -> Any:
    """The last bag is reduced with the tokens behind it, or its mean divided by their number too."""
    start = _last_bag(case)
    kept = np.r_[case.kept[start:], np.isin(case.tokens[case.numel :], _late(case))]
    tokens = case.tokens[start:][kept]
    rows = case.table_values[tokens]
    if case.mode == "max":
        got = seen.got[seen.differ]
        return (np.isin(got, rows) | (np.isnan(got) & np.isnan(rows).any())).all()
    terms = rows * case.sample_values[start:][kept][:, None]
    own = int(case.kept[start:].sum())
    unit, least = gamma(len(terms) + 3, case.format.unit_roundoff), case.format.smallest_subnormal
    lengths = {max(own, 1), max(len(terms), 1), len(case.tokens) - start} if case.mode == "mean" else {1}
    return any(
        _near(case, seen.got, each.sum(0) / size, (unit * np.abs(each).sum(0) + least) / size)
        for each in (terms[:own], terms)
        for size in lengths
    )


def _near(case: Any, got: Floats, due: Floats, limit: Floats) -> bool:
    """Whether numbers are near what is due, or NaN or infinite as that is; beyond the format it may be infinite."""
    beyond = np.isinf(got) & (np.abs(due) + limit >= 2.0**case.format.emax)
    return bool(((got == due) | (np.abs(got - due) <= limit) | (np.isnan(got) & np.isnan(due)) | beyond).all())


@of_elements
def by_the_gradient_of_the_last_bag(case: Any, seen: Elements) -> Any:
    """Tokens behind the last bag get its gradient as its own do, as often as backward is called; a mean is divided by their
    number, too.  Of a maximum, and of what is divided by counts, no row gets more than all these tokens could."""
    start = _last_bag(case)
    last, late = case.upstream_values[-1], np.isin(case.tokens[case.numel :], _late(case))
    if seen.got.ndim == 1:
        products = np.where(late[:, None], case.table_values[case.tokens[case.numel :]] * last, 0.0)
        most = np.abs(products).sum(1)
        return _as_often(case, seen, products.sum(1), most, ~np.isfinite(most))
    kept = np.r_[case.kept[start:], late]
    tokens, own = case.tokens[start:][kept], int(case.kept[start:].sum())
    rows = np.unique(case.tokens[start:])
    shares = case.sample_values[start:][kept]
    if case.mode == "max" or case.scale_grad_by_freq:
        reach = 3 * np.abs(last) * np.abs(shares).sum() * (1 + 2.0**-6) + 2.0**-6 * np.abs(seen.expected)
        return not (np.abs(seen.got - seen.expected) > reach)[seen.differ].any()
    here = np.arange(len(tokens)) < own
    factors = np.where(np.isfinite(shares)[:, None] & np.isfinite(last), 0.0, np.nan)
    lost = np.isnan(accumulate(np.searchsorted(rows, tokens), len(rows), factors))
    sizes = {max(own, 1), max(len(tokens), 1), len(case.tokens) - start} if case.mode == "mean" else {1}
    given = np.where(here, shares, 0.0) / (max(own, 1) if case.mode == "mean" else 1)
    for size, whom in itertools.product(sizes, (here, np.ones_like(here))):
        more = np.where(whom, shares, 0.0) / size - given
        total, most = (accumulate(np.searchsorted(rows, tokens), len(rows), _shared(each, one))
                       for each, one in ((more, last), (np.abs(more) + np.abs(given), np.abs(last))))  # fmt: skip
        if _as_often(case, seen, total, most + _sent(case)[rows], lost):
            return True
    return False


def _sent(case: Any) -> Floats:
    """The magnitudes of what the tokens of all bags send to each row, added up: of a sum that cancels, little is left."""
    kept = case.kept[: case.numel]
    sent = np.abs(case.upstream_values[case.bag_of[kept]] * case.sample_values[: case.numel][kept][:, None])
    found: Floats = accumulate(
        case.tokens[: case.numel][kept], case.num_embeddings, np.where(np.isfinite(sent), sent, 0.0)
    )
    return found


def _shared(shares: Floats, row: Floats) -> Floats:
    """So much of a row for each token; nothing of infinity is nothing."""
    return np.where(shares[:, None] == 0, 0.0, shares[:, None] * row)


def _as_often(case: Any, seen: Elements, more: Floats, most: Floats, lost: npt.NDArray[np.bool_]) -> bool:
    """Whether a gradient is off by so much, once or as often as a route calls backward; infinity may be off by nothing,
    and what has a factor that is no finite number may be none."""
    unit = case.format.unit_roundoff
    none = lost & ~np.isfinite(seen.got)
    for times in (1, 2, 3):
        due = np.where(np.isinf(seen.expected), seen.expected, seen.expected + times * more)
        limit = (
            gamma(len(case.tokens) + 4, unit) * (np.abs(seen.expected) + times * most) + case.format.smallest_subnormal
        )
        if _near(case, np.where(none, due, seen.got), due, limit):
            return True
    return False


@of_elements
def by_the_count_of_another_row(case: Any, seen: Elements) -> Any:
    """The k-th of the rows that occur is divided by the count of the k-th of all sorted tokens."""
    ordered, tokens = np.sort(case.tokens[: case.numel]), case.tokens[: case.numel][case.kept]
    rows = np.unique(ordered)
    taken = np.ones(case.num_embeddings)
    taken[rows] = case.counts[ordered[: len(rows)]]
    sent = np.abs(case.upstream_values[case.bag_of[case.kept]] * case.sample_values[: case.numel][case.kept][:, None])
    reach = 3 * accumulate(tokens, case.num_embeddings, sent) / taken[:, None]  # of a route that calls backward thrice
    limit = gamma(case.counts[:, None] + 8, case.format.unit_roundoff) * reach
    share = np.maximum(case.counts, 1) / taken
    if len(seen.got) != case.num_embeddings:
        near_the_end = np.unique(case.tokens[_last_bag(case) :])
        share, limit = np.delete(share, near_the_end), np.delete(limit, near_the_end, axis=0)
    due = (seen.expected * share[:, None])[seen.differ]
    return _near(case, seen.got[seen.differ], due, limit[seen.differ])


@of_elements
def the_largest_number(case: Any, seen: Elements) -> Any:
    """Where a maximum should be NaN it is that of the numbers in the bag."""
    bags = case.bag_of[case.kept]
    rows = case.table_values[case.tokens[: case.numel][case.kept]]
    largest = np.full((len(case.lengths), case.embedding_dim), -np.inf)
    np.fmax.at(largest, bags, rows)
    lost = np.zeros(largest.shape, np.bool_)
    np.logical_or.at(lost, bags, np.isnan(rows))
    return np.array_equal(seen.got[seen.differ], largest[lost][seen.differ])


@of_elements
def where_a_sum_is_beyond_all_numbers(case: Any, seen: Elements) -> Any:
    """A mean is infinite where the magnitudes of its terms add up beyond the format."""
    terms = np.abs(case.table_values[case.tokens[: case.numel][case.kept]])
    total = accumulate(case.bag_of[case.kept], len(case.lengths), terms)
    return (total * (1 + 2.0**-8) >= 2.0 ** (case.format.emax + 1))[seen.differ].all()


@of_elements
def the_sum_of_all_tokens(case: Any, seen: Elements) -> Any:
    """Each bag is summed, whatever its mode, its padding too."""
    every = case.but(mode="sum")
    every.__dict__["lookup"] = case.lookup.but(padding_idx=None, indices=tuple(map(int, case.lookup.tokens)))
    value, limit = every.expected
    return (np.abs(seen.got - value) <= limit).all()


@of_plain
def a_bag_too_many(got: Any, expected: Any) -> Any:
    """A shape of one row more than it should have."""
    return got == (expected[0] + 1, *expected[1:])


@of_plain
def a_smaller_shape(got: Any, expected: Any) -> Any:
    """A shape with as many axes, none longer than it should be."""
    alike = isinstance(got, tuple) and len(got) == len(expected)
    return alike and all(isinstance(one, int) and one <= due for one, due in zip(got, expected, strict=True))


@of_elements
def with_what_lies_between(case: Any, seen: Elements) -> Any:
    """Behind each bag of a nested tensor lies a token, 0, which is reduced with it."""
    bags = np.arange(len(case.lengths))
    rows = case.table_values[np.r_[case.tokens, 0 * bags]]
    counts = case.lengths[:, None] + 1 if case.mode == "mean" else 1
    due = accumulate(np.r_[case.bag_of, bags], len(bags), rows) / counts
    return (np.abs(seen.got - due) <= 4 * case.format.unit_roundoff * np.abs(due)).all()
