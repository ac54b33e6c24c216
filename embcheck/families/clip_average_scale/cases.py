"""What follows a backward pass or a step, as a case: gradients that are clipped, weights that are averaged or flattened,
losses that are scaled."""

import math
from typing import Annotated, Any

import numpy as np

from embcheck.core.axes import Axes
from embcheck.core.bound import Rounded
from embcheck.core.format import FORMATS, Floats
from embcheck.core.layout import MATRICES_TRANSPOSED
from embcheck.families.clip_average_scale.scaling import BESIDE, EXCESSES
from embcheck.families.tied_training import oracle
from embcheck.families.tied_training.algorithms import FORMULAS
from embcheck.families.tied_training.optimizers import KINDS

#: The gradients of three parameters: a matrix, a vector, a number.
GRADS: dict[str, Any] = {"a": [[3.0, -4.0], [0.5, 0.0]], "b": [12.0, -1.0, 2.0], "c": -8.0}
#: What is flattened, beside them an empty table and an empty vector.
PARTS = {name: np.array(grad) for name, grad in GRADS.items()} | {"e": np.zeros((0, 2)), "f": np.zeros((3, 0))}
VALUES = (1.0, 3.0, -5.0, 8.0, 0.0, 2.0)
#: Optimizers whose losses are scaled, with an eps beside which the size of a gradient shows.
SCALED: dict[str, dict[str, Any]] = {
    "SGD": {"lr": 0.5},
    "Adam": {"lr": 0.5, "betas": (0.5, 0.75), "eps": 1.0},
    "AdamW": {"lr": 0.5, "betas": (0.5, 0.75), "eps": 1.0, "weight_decay": 0.25},
    "Adagrad": {"lr": 0.5, "eps": 1.0},
    "RMSprop": {"lr": 0.5, "alpha": 0.5, "eps": 1.0},
}

ORDERS = (("a", "b", "c"), ("a",), ("e",), ("a", "e", "b"), ("e", "c", "f", "a", "b"), ("c", "a", "e"), ("b", "c"))
#: Of the matrix.
SHAPES: tuple[tuple[int, ...], ...] = (
    (2, 2), (1, 1), (3, 1), (1, 7), (8, 7), (17, 33), (2, 3, 2), (1, 70), (33,), (8, 2, 17), (0, 7), (520, 2), (2,), (1,), (),
)  # fmt: skip
LAYOUTS = ("contiguous", "transposed", "column_slice", "strided", "offset", MATRICES_TRANSPOSED)


class ClipAverageScaleCase(Axes):
    """Gradients that are clipped, weights that are averaged, or losses that are scaled."""

    what: Annotated[str, ("norm", "value", "average", "scale", "vector")] = "norm"
    limit: Annotated[float, (1.0, 0.0, 0, 0.5, 2.5, 100.0)] = 1.0
    kind: Annotated[Any, (2.0, 1, 1.0, 3.0, float("inf"), "inf")] = 2.0
    foreach: Annotated[Any, (None, True, False)] = None
    average: Annotated[str, ("equal", "ema", "ema_single", "swa", "own")] = "equal"
    #: whether a matrix has a sparse gradient, as a table's may be
    sparse: Annotated[bool, (False, True)] = False
    buffers: Annotated[bool, (False, True)] = False
    #: whether one of the buffers is a number of steps
    counter: Annotated[bool, (False, True)] = False
    growth: Annotated[int, (2, 1, 3)] = 2
    bad: Annotated[tuple[int, ...], ((), (0,), (1,), (2, 3), (0, 1, 2))] = ()
    unscaled_first: Annotated[bool, (False, True)] = False
    #: where a parameter stands whose gradients are finite: in a group of its own, or with an optimizer of its own
    beside: Annotated[str, ("", "before", "ahead", "behind", "followed")] = ""
    #: error_if_nonfinite, and a number that is put among the gradients, or "nan"
    strict: Annotated[bool, (False, True)] = False
    #: how many times as large the gradients are: of 5000 the norm of float16 numbers is none
    times: Annotated[float, (1.0, 5000.0)] = 1.0
    poison: Annotated[Any, (0.0, float("inf"), float("-inf"), "nan")] = 0.0
    steps: Annotated[int, (6, 1, 2, 3)] = 6
    dtype: Annotated[str, ("float32", "float64", "bfloat16", "float16")] = "float32"
    #: the dtype of the vector's gradient, or of the parameter beside
    other_dtype: Annotated[str, ("", "float64", "float32")] = ""
    #: in which order parameters are flattened, and whether the first is listed again
    order: Annotated[tuple[str, ...], ORDERS] = ("a", "b", "c")
    twice: Annotated[bool, (False, True)] = False
    #: whether one parameter is given by itself and not in a list
    single: Annotated[bool, (False, True)] = False
    #: whether the norm was taken before, or of "leaves" and not of gradients
    taken: Annotated[Any, (False, True, "leaves")] = False
    #: how matrices lie in memory
    layout: Annotated[str, LAYOUTS] = "contiguous"
    #: how a scaler goes on as another, in every other step; of "set" it is the same, after other values
    carried: Annotated[str, ("", "loaded", "copied", "set")] = ""
    optimizer: Annotated[str, tuple(SCALED)] = "SGD"
    path: Annotated[str, ("", "foreach", "fused")] = ""
    momentum: Annotated[float, (0.0, 0.5)] = 0.0
    #: the scale at first, and what makes gradients infinite where they are: all are, or are no numbers, one row is,
    #: or finite gradients of a token that comes twice add up to infinity
    initial: Annotated[float, (8.0, 1.0, 4.0, 65536.0)] = 8.0
    excess: Annotated[str, tuple(EXCESSES)] = "all"
    #: the shape of the matrix, whether Parameters are frozen, whether one has no gradient, and how often it was done before
    shape: Annotated[tuple[int, ...], SHAPES] = (2, 2)
    frozen: Annotated[bool, (False, True)] = False
    bare: Annotated[bool, (True, False)] = True
    before: Annotated[int, (0, 1, 2, 3)] = 0

    def facts(self) -> dict[str, Any]:
        """members: how many parameters are flattened; first_is_largest: the largest magnitude is in the first gradient;
        least_is_largest: it is that of a number below zero;
        sums_to_infinity: entries of a sparse gradient do that are finite, as they are scaled, too; beyond_half: float16 numbers
        whose norm is above 65504, the largest of them; beyond_one_half: others have a wider dtype."""
        half = self.dtype == "float16" and self.other_dtype in ("", "float16")
        beyond = self.what == "norm" and self.total > 65504
        numbers, first = self.numbers, next(iter(self.grads.values()))
        return {
            **self.axes,
            "in_double": self.what == "average" and self.dtype == "float64",
            "averages_again": self.what == "average" and self.steps > 1,
            "crossed": self.what == "vector" and self.layout != "contiguous" and "a" in self.order,
            "with_momentum": self.momentum > 0,
            "left_out": bool(self.bad),
            "first_left_out": 0 in self.bad,
            "sums_to_infinity": self.sparse and self.excess == "sum" and 1.0 in self.scales_in_excess,
            "unscaled_in_excess": 1.0 in self.scales_in_excess,
            "members": len(self.order) + self.twice,
            "kind_is_text": isinstance(self.kind, str),
            "first_is_largest": self.what == "norm" and bool(np.abs(numbers).max() == np.abs(first).max(initial=0.0)),
            "least_is_largest": self.what == "norm" and bool(-numbers.min() > numbers.max()),
            "beyond_half": half and beyond,
            "beyond_one_half": self.dtype == "float16" and self.other_dtype in ("float32", "float64") and beyond,
        }

    @property
    def grads(self) -> dict[str, Floats]:
        return {name: self.times * self.part(name) for name in (("a",) if self.single else self.order)}

    def part(self, name: str) -> Floats:
        """What is clipped or flattened by its name, times what no narrower format holds: the matrix of another shape has halves
        from -3 to 3."""
        fine = FORMATS[self.other_dtype if self.other_dtype and name == "b" else self.dtype].fine
        if name != "a" or self.shape == (2, 2):
            return fine * PARTS[name]
        return fine * ((np.arange(math.prod(self.shape)) * 5 % 13 - 6) / 2).reshape(self.shape)

    @property
    def elements(self) -> int:
        return sum(grad.size for grad in self.grads.values())

    @property
    def numbers(self) -> Floats:
        """A zero and the elements of all gradients."""
        return np.concatenate([np.zeros(1), *(grad.reshape(-1) for grad in self.grads.values())])

    @property
    def total(self) -> float:
        """The norm of all gradients together."""
        every_one, kind = np.abs(self.numbers), float(self.kind)
        return float(every_one.max() if np.isinf(kind) else (every_one**kind).sum() ** (1 / kind))

    @property
    def unlike(self) -> str:
        """The dtype of what is averaged beside."""
        return "float16" if self.dtype == "float32" else "float32"

    @property
    def averages(self) -> Floats:
        """The average after each update; the first update copies."""
        found, mean = [], 0.0
        for count, value in enumerate(VALUES[: self.steps]):
            share = {"equal": 1 / (count + 1), "swa": 1 / (count + 1), "own": 1 / (count + 2)}.get(self.average, 0.25)
            mean = value if count == 0 else mean + (value - mean) * share
            found.append(mean)
        return np.array(found)

    @property
    def scales(self) -> tuple[list[float], list[float], int]:
        """The scale after each step, that of each loss, and how many steps were taken since it grew."""
        scale, good = self.initial, 0
        after, before = list[float](), list[float]()
        for step in range(self.steps):
            before.append(scale)
            good = 0 if step in self.bad else good + 1
            if step in self.bad:
                scale *= 0.5
            elif good == self.growth:
                scale, good = scale * 4, 0
            after.append(scale)
        return after, before, good

    @property
    def scales_in_excess(self) -> list[float]:
        """The scale in each step that is to be left out."""
        return [self.scales[1][step] for step in self.bad if step < self.steps]

    @property
    def flags(self) -> dict[str, Any]:
        """What the optimizer of scaled losses is built with."""
        flags = dict(SCALED[self.optimizer]) | ({self.path: True} if self.path else {})
        return flags | ({"momentum": self.momentum} if self.momentum else {})

    @property
    def unit(self) -> float:
        """By what losses are multiplied: in float64 a number that no float32 holds."""
        return FORMATS["float64"].fine if self.dtype == "float64" else 1.0

    def weights(self, bad: tuple[int, ...], grads: tuple[float, float], dtype: str) -> tuple[Floats, Floats]:
        """Weights of 8 with these gradients after each step, those that are left out aside, and their bounds."""
        fmt = FORMATS[dtype]
        flags = {**KINDS[self.optimizer].defaults, **self.flags}
        ones = [None if step in bad else Rounded(np.array(grads)[:, None], fmt) for step in range(self.steps)]
        multiple = 0.0 if self.optimizer == "SGD" else oracle.MULTIPLE  # what is dyadic and small is not rounded at all
        steps = oracle.Steps(flags, np.full((2, 1), 8.0), ones, [float(flags["lr"])] * self.steps, fmt)
        values, bounds = oracle.run(FORMULAS[self.optimizer], steps, multiple=multiple)
        return values.reshape(-1, 2), bounds.reshape(-1, 2)

    @property
    def own_optimizer(self) -> bool:
        """Whether the other parameter has an optimizer of its own."""
        return len(BESIDE[self.beside]) > 1

    @property
    def counts(self) -> list[float]:
        """How many steps the optimizer counts of the weight and of the other parameter; SGD counts none."""
        if self.optimizer == "SGD":
            return [0.0, 0.0]
        taken = float(sum(step not in self.bad for step in range(self.steps)))
        return [taken, 0.0 if not self.beside else float(self.steps) if self.own_optimizer else taken]

    def others(self, bad: tuple[int, ...]) -> tuple[Floats, Floats]:
        """The same of the parameter beside, whose own optimizer, if it has one, leaves out no step."""
        return self.weights(() if self.own_optimizer else bad, (1.0, 1.0), self.other_dtype or self.dtype)
