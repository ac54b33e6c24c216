"""Faults of max_norm that show on some rows, norms, dtypes and sizes only."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from embcheck.fault import Fault, Witness, add, dispatched
from embcheck.faults.kernels import Tensor
from embcheck.faults.renorm import after, kernel, rescale

functional = torch.nn.functional
INF = float("inf")


def one_row(weight: Tensor, token: int, max_norm: float, norm_type: float) -> bool:
    """True, after a row is rescaled as it must be."""
    rescale(weight, torch.tensor([token]), max_norm, norm_type)
    return True


def rows_fault(
    name: str, sentence: str, wrong: Callable[[Tensor, int, float, float, int], bool], witness: Witness,
    *, repeated: bool = False,
) -> Fault:  # fmt: skip
    """Registers a fault: ``wrong(weight, token, max_norm, norm_type, place)`` does a row itself and tells whether it did."""

    @contextmanager
    def plant() -> Iterator[None]:
        def change(weight: Tensor, tokens: Tensor, max_norm: float, norm_type: float) -> None:
            for place, token in enumerate(tokens.tolist()):
                if not wrong(weight, token, max_norm, norm_type, place):
                    one_row(weight, token, max_norm, norm_type)

        with dispatched({"embedding_renorm_": kernel(change, repeated=repeated)}):
            yield

    return add(Fault(name, "renorm", sentence, plant, witness))


def norm_of(weight: Tensor, token: int, norm_type: float) -> float:
    """The p-norm of a row."""
    return float(weight[token].norm(norm_type)) if weight.shape[1] else 0.0


def scaled(weight: Tensor, token: int, by: float) -> bool:
    """True, after a row is multiplied."""
    weight[token].mul_(by)
    return True


def row(
    values: list[float], max_norm: float, norm_type: float = 2.0, dtype: torch.dtype = torch.float32, times: int = 1
) -> list[float]:
    """What a lookup of one row makes of it."""
    weight = torch.tensor([values], dtype=dtype)
    functional.embedding(torch.zeros(times, dtype=torch.int64), weight, max_norm=max_norm, norm_type=norm_type)
    found: list[float] = weight[0].tolist()
    return found


rows_fault(
    "renorm_at_the_limit", "A row whose norm is exactly max_norm is rescaled.",
    lambda w, t, m, p, k: norm_of(w, t, p) == m > 0 and m < INF and scaled(w, t, 1 - 2.0**-5),
    lambda: row([3.0, 4.0], 5.0) != [3.0, 4.0],
)  # fmt: skip
rows_fault(
    "renorm_above_by_an_ulp", "A row that is one ulp over max_norm is left alone.",
    lambda w, t, m, p, k: m < norm_of(w, t, p) <= m * (1 + 2.0**-22),
    lambda: row([1.0 + 2.0**-23], 1.0) == [1.0 + 2.0**-23],
)  # fmt: skip
rows_fault(
    "renorm_of_one_is_one_and_a_half", "norm_type=1 is taken for 1.5.",
    lambda w, t, m, p, k: p == 1.0 and one_row(w, t, m, 1.5), lambda: row([3.0, 4.0], 1.0, 1.0)[0] > 0.43,
)  # fmt: skip
rows_fault(
    "renorm_of_a_half_is_one", "norm_type below 1 is taken for 1.",
    lambda w, t, m, p, k: 0 < p < 1 and one_row(w, t, m, 1.0), lambda: row([1.0, 1.0], 1.0, 0.5)[0] > 0.3,
)  # fmt: skip
rows_fault(
    "renorm_of_minus_infinity", "norm_type=-inf is taken for inf.",
    lambda w, t, m, p, k: p == -INF and one_row(w, t, m, INF), lambda: row([1.0, 4.0], 2.0, -INF) != [1.0, 4.0],
)  # fmt: skip
rows_fault(
    "renorm_of_negative_powers", "A negative norm_type is taken for a positive one.",
    lambda w, t, m, p, k: -INF < p < 0 and one_row(w, t, m, -p), lambda: row([1.0, 4.0], 2.0, -1.0) != [1.0, 4.0],
)  # fmt: skip
rows_fault(
    "renorm_forgets_signs", "Norms of norm_type=3 add x³ and not |x|³.",
    lambda w, t, m, p, k: p == 3 and float((w[t] ** 3).sum()) <= m**3, lambda: row([-4.0, 1.0], 1.0, 3.0)[0] == -4.0,
)  # fmt: skip
rows_fault(
    "renorm_twice_for_two_tokens", "A row that comes twice is rescaled to max_norm, then to max_norm of that again.",
    lambda w, t, m, p, k: bool(scaled_again(w, t, m, p, k)), lambda: row([3.0, 4.0], 1.0, times=2) != row([3.0, 4.0], 1.0),
    repeated=True,
)  # fmt: skip
rows_fault(
    "renorm_makes_absolute", "A rescaled row of float64 loses its signs.",
    lambda w, t, m, p, k: w.dtype == torch.float64 and norm_of(w, t, p) > m and one_row(w, t, m, p) and w[t].abs_() is not None,
    lambda: row([-3.0, 4.0], 1.0, dtype=torch.float64)[0] > 0,
)  # fmt: skip
rows_fault(
    "renorm_in_bfloat16_bits", "In float16 the scale has 8 bits.",
    lambda w, t, m, p, k: w.dtype == torch.float16 and norm_of(w, t, p) > m
    and scaled(w, t, float(torch.tensor(m / (norm_of(w, t, p) + 1e-7)).bfloat16())),
    lambda: row([5.0], 1.0, dtype=torch.float16) != [1.0],
)  # fmt: skip
rows_fault(
    "renorm_of_first_columns", "Norms count the first 128 columns.",
    lambda w, t, m, p, k: w.shape[1] > 128 and float(w[t, :128].norm(p)) <= m, lambda: row([0.0] * 128 + [2.0], 1.0)[128] == 2.0,
)  # fmt: skip
rows_fault(
    "renorm_after_a_thousand", "Of more than 1,000 rows those after the 1,000th are left alone.",
    lambda w, t, m, p, k: t > 1000, lambda: float(thousand()[1001]) == 2.0,
)  # fmt: skip
rows_fault(
    "renorm_of_nan", "A row with a NaN becomes NaN.",
    lambda w, t, m, p, k: bool(w[t].isnan().any()) and w[t].fill_(float("nan")) is not None,
    lambda: row([float("nan"), 4.0], 1.0)[1] != 4.0,
)  # fmt: skip
rows_fault(
    "renorm_to_zero_is_negative", "max_norm=0 makes -0.0 of positive elements.",
    lambda w, t, m, p, k: m == 0 and norm_of(w, t, p) > 0 and scaled(w, t, -0.0), lambda: str(row([1.0], 0.0)) == "[-0.0]",
)  # fmt: skip
rows_fault(
    "renorm_whole_limits", "max_norm is rounded down to a whole number above 1.",
    lambda w, t, m, p, k: 1 < m < INF and m != int(m) and one_row(w, t, float(int(m)), p),
    lambda: row([3.0], 2.5) != [2.5],
)  # fmt: skip
rows_fault(
    "renorm_moves_the_next_row", "With a rescaled row the next one is touched by an ulp.",
    lambda w, t, m, p, k: norm_of(w, t, p) > m and t + 1 < len(w) and one_row(w, t, m, p) and scaled(w, t + 1, 1 + 2.0**-7),
    lambda: after([0])[1] != [6.0, 8.0],
)  # fmt: skip
rows_fault(
    "renorm_grows_each_time", "A rescaled row ends one per cent over max_norm if that is below 1.",
    lambda w, t, m, p, k: 0 < m < 1 and norm_of(w, t, p) > m and scaled(w, t, 1.01 * m / norm_of(w, t, p)),
    lambda: row([3.0, 4.0], 0.5)[0] > 0.302,
)  # fmt: skip


def scaled_again(weight: Tensor, token: int, max_norm: float, norm_type: float, place: int) -> bool:
    """Rescales a row; where it had been rescaled before, once more."""
    norm = norm_of(weight, token, norm_type)
    if place and max_norm and 0.999 * max_norm < norm <= 1.001 * max_norm:
        return scaled(weight, token, max_norm / (1.01 * norm))
    return False


def thousand() -> Tensor:
    """A column of 1,002 twos, looked up with max_norm 1."""
    weight = torch.full((1002, 1), 2.0)
    functional.embedding(torch.arange(1002), weight, max_norm=1.0)
    return weight
