"""The training of a tied pair as a case: which optimizer, how tied, what happens; and the gradients that are due."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from embcheck import interruption, occasion, optimizer, stream
from embcheck.bound import Rounded
from embcheck.case import Axes, Input
from embcheck.format import FORMATS, Floats, Format
from embcheck.optimizer import FLAGS, KINDS, UNSET
from embcheck.space import Space, covering_rows

Ints = npt.NDArray[np.int64]

#: Tokens that are looked up, and hidden states that the head sees, in each step.
TOKENS = 3

#: Layouts in which no two elements share memory.
LAYOUTS = ("contiguous", "transposed", "column_slice", "row_strided", "strided", "offset")
SHAPES = ((3, 2), (1, 1), (2, 3), (1, 4), (5, 1), (4, 8), (5, 7), (9, 16), (17, 5), (3, 33))
LARGE = ((65, 17), (33, 64), (129, 33), (257, 130))

#: How often the parameter is looked up in each tie.
_LOOKUPS = {"three_way": 2}

#: Events that make a new model; that stop or double the gradient of the second step.
_COPIES = frozenset({"copied", "pickled", "saved"})
_REPLACING = _COPIES | {"reloaded", "reloaded_always", "reloaded_pickled", "reloaded_saved"}
_EMPTY = frozenset({"frozen", "skipped"})

#: Learning rate before step k as a multiple of the first one's.
RATES: dict[str, tuple[float, ...]] = {
    "constant": (1.0,) * 8,
    "step_lr": tuple(0.5**k for k in range(8)),
    "step_lr_two": tuple(0.25 ** (k // 2) for k in range(8)),
    "multi_step": tuple(0.5 ** ((k >= 1) + (k >= 3)) for k in range(8)),
    "constant_lr": tuple(0.5 if k < 2 else 1.0 for k in range(8)),
    "linear": tuple(0.5 + 0.25 * min(k, 2) for k in range(8)),
    "exponential": tuple(0.5**k for k in range(8)),
    "polynomial": tuple(max(0.0, 1 - k / 4) for k in range(8)),
    "cosine": tuple((1 + np.cos(np.pi * k / 4)) / 2 for k in range(8)),
    "warm_restarts": tuple((1 + np.cos(np.pi * (k % 2) / 2)) / 2 for k in range(8)),
    "harmonic": tuple(1 / (k + 1) for k in range(8)),
    "multiplicative": tuple(0.5**k for k in range(8)),
    "plateau": tuple(0.5 ** max(0, k - 1) for k in range(8)),
    "sequential": (0.5, 0.5, *(0.5 ** (k - 2) for k in range(2, 8))),
    "chained": tuple((0.5 if k < 2 else 1.0) * 0.5**k for k in range(8)),
}


class _TyingAxes(NamedTuple):
    """The axes of a training run, simplest value first in each axis' enumeration; then the optimizer's flags."""

    optimizer: str = "SGD"
    shape: tuple[int, int] = (3, 2)
    steps: int = 1
    tie: str = "head_takes_embedding"
    uses: str = "both"
    bias: bool = False
    sparse: bool = False
    dtype: str = "float32"
    layout: str = "contiguous"
    grad_layout: str = "fresh"
    listing: str = "parameters"
    lap: str = "pair"
    zero: str = "to_none"
    event: str = "nothing"
    schedule: str = "constant"
    clip: str = "unclipped"
    closure: bool = False
    boxed: str = ""
    #: instead of training: "once" lists the parameter twice in a group, "groups" in two
    twice: str = ""
    lr: Any = UNSET
    weight_decay: Any = UNSET
    momentum: Any = UNSET
    dampening: Any = UNSET
    nesterov: Any = UNSET
    maximize: Any = UNSET
    foreach: Any = UNSET
    fused: Any = UNSET
    differentiable: Any = UNSET
    capturable: Any = UNSET
    betas: Any = UNSET
    eps: Any = UNSET
    amsgrad: Any = UNSET
    decoupled_weight_decay: Any = UNSET
    lr_decay: Any = UNSET
    initial_accumulator_value: Any = UNSET
    alpha: Any = UNSET
    centered: Any = UNSET
    momentum_decay: Any = UNSET
    rho: Any = UNSET
    lambd: Any = UNSET
    t0: Any = UNSET
    etas: Any = UNSET
    step_sizes: Any = UNSET
    beta2_decay: Any = UNSET
    d: Any = UNSET
    ns_steps: Any = UNSET
    ns_coefficients: Any = UNSET
    adjust_lr_fn: Any = UNSET
    max_iter: Any = UNSET
    max_eval: Any = UNSET
    tolerance_grad: Any = UNSET
    tolerance_change: Any = UNSET
    history_size: Any = UNSET
    line_search_fn: Any = UNSET
    seed: int = 0


class Tying(Axes, _TyingAxes):  # type: ignore[misc]
    """``steps`` steps of ``optimizer`` on a table of ``shape`` that an embedding and a head share."""

    @cached_property
    def format(self) -> Format:
        """The number format of the table."""
        return FORMATS[self.dtype]

    @cached_property
    def flags(self) -> dict[str, Any]:
        """The hyperparameters, those not passed at their documented defaults."""
        return optimizer.hyperparameters(self)

    @cached_property
    def data(self) -> Data:
        """What is fed."""
        return _data(self.shape, self.steps, self.seed % 16)

    @cached_property
    def passes(self) -> tuple[int, ...]:
        """How many backward passes come before each step."""
        second = 0 if self.event in _EMPTY else 2 if self.event == "accumulated" else 1
        return tuple(second if k == 1 else 1 for k in range(self.steps))

    @cached_property
    def routes(self) -> tuple[str, ...]:
        """Which of the two paths each step takes: both, lookup or head."""
        if self.uses == "turns":
            return tuple(("lookup", "head")[k % 2] for k in range(self.steps))
        return (self.uses,) * self.steps

    @property
    def turns(self) -> int:
        """How many optimizers take turns."""
        return 2 if self.event == "alternating" else 1

    @cached_property
    def gradients(self) -> tuple[Floats, Floats]:
        """dL/dW and dL/db that each step should find, before clipping, shapes ``(steps, V, D)`` and ``(steps, V)``.

        Zero where there is none (`missing`).  Sums of small integers: exact in every format and order.
        """
        return _gradients(self)

    @cached_property
    def missing(self) -> list[bool]:
        """Whether a step finds no gradient at all."""
        keeps = self.zero in ("to_zeros", "model_to_zeros", "never")
        none = [count == 0 and not keeps for count in self.passes]
        return none

    @cached_property
    def due(self) -> list[Rounded]:
        """dL/dW of each step after clipping, with its bound."""
        weight, bias = self.gradients
        return [self._clipped(g, b) for g, b in zip(weight, bias, strict=True)]

    @cached_property
    def norms(self) -> list[Rounded]:
        """The norm of all gradients together before clipping, the tied one counted once."""
        weight, bias = self.gradients
        return [self._norm(g, b) for g, b in zip(weight, bias, strict=True)]

    def _norm(self, gradient: Floats, bias: Floats) -> Rounded:
        parts = [gradient.ravel(), bias] if self.bias else [gradient.ravel()]
        u, size = self.format.unit_roundoff, gradient.size + bias.size
        match self.clip:
            case "norm_one":
                value = sum(float(np.abs(part).sum()) for part in parts)
            case "norm_largest":
                value = max(float(np.abs(part).max(initial=0)) for part in parts)
            case _:
                value = float(np.sqrt(sum(float((part**2).sum()) for part in parts)))
        # A sum of n terms in any order, accumulated in float32 for the narrow formats, then a root, a square, a root.
        return Rounded(value, self.format, (size * min(u, 2.0**-24) + 8 * u) * value)

    def _clipped(self, gradient: Floats, bias: Floats) -> Rounded:
        fmt = self.format
        if self.clip.startswith("value"):
            return Rounded(np.clip(gradient, -2.0, 2.0), fmt)
        if not self.clip.startswith("norm"):
            return Rounded(gradient, fmt)
        norm = self._norm(gradient, bias)
        coefficient = 0.5 / (norm + 1e-6)
        if coefficient.value - coefficient.error >= 1:
            return Rounded(gradient, fmt)
        return Rounded(gradient, fmt) * coefficient

    @cached_property
    def rates(self) -> list[float]:
        """The learning rate of each step."""
        first = float(self.flags["lr"])
        if self.event == "rate_halved":
            return [first if k < 1 else first / 2 for k in range(self.steps)]
        return [first * factor for factor in RATES[self.schedule][: self.steps]]

    @property
    def refused(self) -> bool:
        """Whether the documentation says that this must raise."""
        return optimizer.invalid(self) or self.twice == "groups"

    @property
    def is_sparse(self) -> bool:
        """Whether the gradient is sparse."""
        return self.sparse and set(self.routes) == {"lookup"}

    @cached_property
    def circumstances(self) -> frozenset[str]:
        """What may make a release refuse the case."""
        flags = self.flags
        found = {name for name in ("fused", "foreach", "differentiable", "capturable", "weight_decay", "momentum")
                 if flags.get(name)}  # fmt: skip
        found |= {"sparse" if self.is_sparse else "dense"} | ({"bias"} if self.bias else set())
        found |= {f"tensor_{self.boxed}"} if self.boxed else set()
        found |= {"groups"} if self.listing in ("bare_groups", "own_rate", "added_last") or self.event == "group_added" else set()
        return frozenset(found | {self.dtype})

    def facts(self) -> dict[str, Any]:
        """The axes and: refused, elements, sparse_gradient, accumulated (more than one step), absent_row."""
        absent = bool((np.abs(self.gradients[0]).sum((0, 2)) == 0).any()) if not self.refused else False
        return {
            **self.axes,
            "refused": self.refused,
            "elements": self.shape[0] * self.shape[1],
            "sparse_gradient": self.is_sparse,
            "several_steps": self.steps > 1,
            "absent_row": absent,
        }

    @property
    def inputs(self) -> dict[str, Input]:
        """The tensors that are fed."""
        data, fmt, (rows, width) = self.data, self.format, self.shape
        weight, bias = fmt.encode(data.weight), fmt.encode(data.bias)
        summed, summed_bias = self.gradients
        clipped = np.stack([due.value for due in self.due])
        if self.clip.startswith("value"):
            summed_bias = np.clip(summed_bias, -2.0, 2.0)
        fed = {
            "weight": Input(weight, self.dtype, self.layout),
            "twin": Input(weight, self.dtype, self.layout),
            "indices": Input(data.tokens, "int64"),
            "hidden": Input(fmt.encode(data.hidden), self.dtype),
            "below": Input(fmt.encode(data.below), self.dtype),
            "above": Input(fmt.encode(data.above), self.dtype),
            "summed": Input(fmt.encode(clipped), self.dtype),
        }
        if self.grad_layout != "fresh":
            fed["grad"] = Input(fmt.encode(np.zeros((rows, width))), self.dtype, self.grad_layout)
        if self.bias:
            fed |= {"bias": Input(bias, self.dtype), "twin_bias": Input(bias, self.dtype)}
            fed["summed_bias"] = Input(fmt.encode(summed_bias), self.dtype)
        return fed


class Data(NamedTuple):
    """What is fed: tokens ``(steps, n)``; hidden and below ``(steps, n, D)``; above ``(steps, n, V)``; the table."""

    tokens: Ints
    hidden: Floats
    below: Floats
    above: Floats
    weight: Floats
    bias: Floats


@lru_cache(maxsize=2048)
def _data(shape: tuple[int, int], steps: int, variant: int) -> Data:
    rows, width = shape
    # With an odd variant the last row gets no gradient at all.
    used = rows - 1 if rows > 1 and variant % 2 else rows

    def small(name: str, most: int, *size: int) -> Floats:
        words = stream.words(stream.derive("tying", name, variant, *size), int(np.prod(size)))
        sign = np.where(words >> np.uint64(63), -1.0, 1.0)
        return (sign * (1 + (words >> np.uint64(8)) % np.uint64(most))).reshape(size)

    tokens = stream.below(stream.derive("tying", "tokens", variant), steps * TOKENS, used).reshape(steps, TOKENS)
    above = small("above", 2, steps, TOKENS, rows)
    above[:, :, used:] = 0
    # A gradient whose two paths cancel somewhere, and one that changes sign from step to step, come by themselves.
    return Data(tokens, small("hidden", 2, steps, TOKENS, width), small("below", 2, steps, TOKENS, width), above,
                small("weight", 3, rows, width), small("bias", 3, rows))  # fmt: skip


@lru_cache(maxsize=2048)
def _paths(shape: tuple[int, int], steps: int, variant: int) -> tuple[Floats, Floats, Floats]:
    """The gradients of the lookup and of the head, ``(steps, V, D)``, and of the bias, ``(steps, V)``."""
    data = _data(shape, steps, variant)
    one_hot = (data.tokens[:, :, None] == np.arange(shape[0])).astype(np.float64)
    return one_hot.transpose(0, 2, 1) @ data.below, data.above.transpose(0, 2, 1) @ data.hidden, data.above.sum(1)


def _gradients(case: Tying) -> tuple[Floats, Floats]:
    lookup, head, bias = _paths(case.shape, case.steps, case.seed % 16)
    if case.lap == "composed":
        data = case.data
        one_hot = (data.tokens[0][:, None] == np.arange(case.shape[0])).astype(np.float64)
        score = one_hot.T @ (data.above[0] @ data.weight) + data.above[0].T @ data.weight[data.tokens[0]]
        return score[None], bias[:1]
    through = {"both": (1, 1), "lookup": (1, 0), "head": (0, 1)}
    parts = np.array([through[route] for route in case.routes], np.float64) * np.array(case.passes)[:, None]
    weight = parts[:, :1, None] * _LOOKUPS.get(case.tie, 1) * lookup + parts[:, 1:, None] * head
    bias = parts[:, 1:] * bias
    # Adding 0.0 makes a plus of the minus zeros that a product with 0 leaves.
    return (np.cumsum(weight, 0), np.cumsum(bias, 0)) if case.zero == "never" else (weight + 0.0, bias + 0.0)


def canonical(case: Tying) -> Tying | None:
    """The case with axes made to fit each other, without which a row of them would mean nothing."""
    kind = KINDS[case.optimizer]
    changes: dict[str, Any] = {
        name: UNSET for name in FLAGS if name not in kind.flags and getattr(case, name) != UNSET
    }
    for name, values in kind.flags.items():
        value = getattr(case, name)
        if value != UNSET and repr(value) not in {repr(v) for v in values} and repr(value) in _KNOWN[name]:
            changes[name] = values[len(repr(value)) % len(values)]
    case = case.but(**changes) if changes else case
    if case.twice or optimizer.invalid(case) and not _meant(case):
        case = _valid(case)
    return _fitted(case)


#: Every value of an axis as it prints: what is not among them was put there on purpose.
_KNOWN = {name: frozenset(map(repr, values)) for name, values in FLAGS.items()}


def _meant(case: Tying) -> bool:
    """Whether invalid flags come from the enumeration of refusals and not from an unlucky row."""
    return case.seed == -1


def _valid(case: Tying) -> Tying:
    changes: dict[str, Any] = {}
    if case.optimizer == "SGD" and case.nesterov is True:
        changes |= {"momentum": 0.5, "dampening": UNSET}
    if case.fused is True:
        changes |= {"foreach": UNSET if case.foreach is True else case.foreach}
        changes |= {"differentiable": UNSET if case.differentiable is True else case.differentiable}
    return case.but(**changes)


def _fitted(case: Tying) -> Tying | None:
    changes: dict[str, Any] = {}

    def fit(**wanted: Any) -> None:
        nonlocal case
        case = case.but(**wanted)

    if case.optimizer == "SparseAdam":
        fit(sparse=True)
    if case.sparse and "sparse" in KINDS[case.optimizer].takes:
        fit(uses="lookup", bias=False)
        fit(lap="pair" if case.lap == "composed" else case.lap)
    elif case.sparse and case.uses == "turns":
        fit(uses="lookup")
    if case.optimizer == "Muon":
        fit(bias=False)
    if case.optimizer == "LBFGS":
        fit(closure=True, lap="joint", clip="unclipped", event=case.event if case.event not in _EMPTY else "nothing")
        fit(zero="to_none" if case.zero == "never" else case.zero)
        fit(listing="listed" if case.listing in ("bare_groups", "own_rate", "added_last") else case.listing)
        fit(event="nothing" if case.event in ("group_added", "accumulated", "alternating") else case.event)
    if case.lap == "composed":
        fits = case.shape[0] <= 9 and case.shape[1] <= 8 and case.tie != "three_way" and case.optimizer != "LBFGS"
        fit(steps=1, uses="both") if fits else fit(lap="pair")
    if case.steps == 1:
        fit(event="nothing" if case.event in _EMPTY | {"accumulated", "alternating"} else case.event)
    if case.uses == "turns" and case.steps == 1:
        fit(uses="both")
    if case.is_sparse:
        fit(grad_layout="fresh", clip="unclipped")
        fit(zero={"to_zeros": "to_none", "model_to_zeros": "model_to_none", "never": "by_hand"}.get(case.zero, case.zero))
    if case.zero == "never" and (case.event in _EMPTY | _COPIES or case.clip != "unclipped"):
        fit(zero="to_none")  # a copy of a Parameter has no gradient to go on with
    if case.event == "frozen":
        fit(zero="to_none", grad_layout="fresh", closure=False)
    if case.grad_layout != "fresh" and case.zero not in ("to_zeros", "model_to_zeros", "never"):
        fit(zero="to_zeros")
    if case.event in _REPLACING | {"alternating", "rate_halved", "rewound", "hooked"} and case.schedule != "constant":
        fit(schedule="constant") if case.event != "hooked" else None
    if case.event == "rewound":
        fit(grad_layout="fresh", zero="to_none")
    if case.event == "group_added":
        fit(listing="one_group" if case.listing == "named" else case.listing, schedule="constant")
    if case.listing in ("own_rate", "added_last") and case.event in ("reloaded_always",):
        fit(event="nothing")
    if case.differentiable is True:
        fit(closure=False, foreach=UNSET if case.foreach is True and case.seed % 8 else case.foreach)
    if case.boxed == "betas" and case.optimizer not in ("Adam", "AdamW"):
        fit(boxed="lr")
    if case.boxed and case.optimizer == "Muon":
        fit(boxed="")
    if "lr" in case.boxed and case.lr == UNSET or case.boxed and isinstance(case.lr, int):
        fit(lr=0.5)
    if case.boxed == "betas":
        fit(betas=(0.5, 0.75) if case.betas == UNSET else case.betas)
    if case.dtype == "float16" and case.eps == UNSET and "eps" in KINDS[case.optimizer].flags and case.optimizer != "Adafactor":
        fit(eps=2.0**-6)  # the default underflows in half precision: a row of zeros would be 0/0
    return case.but(**changes)


AXES: dict[str, tuple[Any, ...]] = {
    "optimizer": tuple(KINDS),
    "shape": SHAPES,
    "steps": (1, 2, 3, 4),
    "tie": tuple(occasion.TIES),
    "uses": ("both", "lookup", "head", "turns"),
    "bias": (False, True),
    "sparse": (False, True),
    "dtype": ("float32", "float64", "bfloat16", "float16"),
    "layout": LAYOUTS,
    "grad_layout": ("fresh", *LAYOUTS),
    "listing": tuple(occasion.LISTINGS),
    "lap": tuple(occasion.LAPS),
    "zero": tuple(occasion.ZEROS),
    "event": tuple(occasion.EVENTS),
    "schedule": tuple(interruption.SCHEDULES),
    "clip": tuple(occasion.CLIPS),
    "closure": (False, True),
    "boxed": ("", "lr", "betas"),
    **FLAGS,
}


def scope() -> Iterator[Tying]:
    """Every optimizer with every event, tie, listing, schedule and dtype, then a three-wise cover of its own flags."""
    for name in KINDS:
        for axis in ("event", "schedule", "tie", "listing", "lap", "zero", "clip", "dtype", "layout", "grad_layout"):
            for position, value in enumerate(AXES[axis]):
                for bias in (False, True):
                    yield from _some(Tying(name, steps=3, bias=bias, seed=position, **{axis: value}))
    for name, kind in KINDS.items():
        axes = {"steps": (1, 2, 4), "uses": ("both", "lookup"), **{k: (UNSET, *v[:2]) for k, v in kind.flags.items()}}
        axes |= {"sparse": (False, True)} if kind.takes == {"dense", "sparse"} else {}
        values = list(axes.values())
        for position, row in enumerate(covering_rows([len(v) for v in values], 3, stream.derive("flags", name)).tolist()):
            chosen = {axis: v[k] for axis, v, k in zip(axes, values, row, strict=True)}
            yield from _some(Tying(name, bias=position % 3 == 0, seed=position, **chosen))
    for steps, betas in itertools.product((6, 7, 8), (UNSET, (0.5, 0.99))):
        for flags in ({}, {"foreach": True}, {"differentiable": True}, {"weight_decay": 0.25}):
            yield from _some(Tying("RAdam", steps=steps, betas=betas, **flags))
    yield from _refusals()


def _some(case: Tying) -> Iterator[Tying]:
    fitted = canonical(case)
    if fitted is not None:
        yield fitted


def _refusals() -> Iterator[Tying]:
    wrong: dict[str, tuple[Any, ...]] = {
        "lr": (-1.0, -0.5), "weight_decay": (-0.25,), "momentum": (-0.5,), "eps": (-1.0,), "rho": (-0.5, 1.5),
        "betas": ((1.0, 0.5), (0.5, 1.0), (-0.5, 0.5), (0.5, -0.5)), "lr_decay": (-0.5,), "momentum_decay": (-0.5,),
        "initial_accumulator_value": (-0.5,), "etas": ((0.0, 2.0), (1.5, 2.0), (0.5, 1.0)), "d": (0.5,), "beta2_decay": (0.5,),
    }  # fmt: skip
    for name, kind in KINDS.items():
        for flag in kind.flags:
            for value in wrong.get(flag, ()) if (name, flag) != ("Muon", "eps") else ():
                value = (value, 1e-3) if name == "Adafactor" and flag == "eps" else value
                yield Tying(name, seed=-1, **{flag: value})
        if "fused" in kind.flags:
            yield Tying(name, fused=True, foreach=True, seed=-1)
            yield Tying(name, fused=True, differentiable=True, seed=-1)
        for twice in ("once", "groups"):
            for tie in occasion.TIES:
                yield Tying(name, tie=tie, twice=twice, seed=-1)
    for flags in ({"momentum": 0.0}, {}, {"momentum": 0.5, "dampening": 0.5}):
        yield Tying("SGD", nesterov=True, seed=-1, **flags)


def draw(draws: stream.Stream) -> Tying | None:
    """A random case: a few axes away from their simplest values, and each of the optimizer's flags half the time."""
    name = draws.choice(AXES["optimizer"])
    chosen: dict[str, Any] = {"optimizer": name, "steps": draws.between(1, 8 if draws.chance(8) else 4)}
    chosen["shape"] = draws.choice(LARGE) if draws.chance(24) else draws.choice(SHAPES)
    for axis, values in AXES.items():
        if axis not in chosen and axis not in FLAGS and draws.chance(2):
            chosen[axis] = draws.choice(values)
    for flag, values in KINDS[name].flags.items():
        if draws.chance(2):
            chosen[flag] = draws.choice(values)
    return canonical(Tying(**chosen, seed=draws.between(0, 1 << 16)))


def smaller(case: Tying) -> Iterator[Tying]:
    """Fewer steps and smaller tables."""
    for steps in range(1, case.steps):
        yield case.but(steps=steps)
    for shape in SHAPES:
        if shape[0] * shape[1] < case.shape[0] * case.shape[1]:
            yield case.but(shape=shape)


SPACE = Space(
    Tying,
    AXES,
    canonical,
    scope,
    flags=("optimizer", "dtype", "bias", "foreach", "maximize", "weight_decay", "layout"),
    base={"steps": 3},
    draw=draw,
    smaller=smaller,
    strength=2,
)
