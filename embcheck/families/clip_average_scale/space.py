"""The space of clip_average_scale: every limit with every norm and path, every average, every pattern of infinite losses."""

from collections.abc import Iterator
from itertools import chain, product
from typing import Any

import numpy as np

from embcheck.core.axes import Input, values_of
from embcheck.core.format import FORMATS, Floats
from embcheck.core.law import Plan
from embcheck.core.layout import MATRICES_TRANSPOSED
from embcheck.core.rules import Rule, fitted
from embcheck.core.space import Space
from embcheck.core.stream import Stream, shaped
from embcheck.families.clip_average_scale import programs, scaling
from embcheck.families.clip_average_scale.cases import ORDERS, SCALED, VALUES, ClipAverageScaleCase
from embcheck.families.tied_training.optimizers import KINDS


def plan(case: ClipAverageScaleCase) -> Plan:
    fmt = FORMATS[case.dtype]
    if case.what == "average":
        values = Input(fmt.encode(np.array(VALUES[: case.steps])), case.dtype)
        options = {"kind": case.average, "buffers": case.buffers, "counter": case.counter, "unlike": case.unlike}
        return Plan(programs.averaged, {"values": values}, options)
    if case.what == "vector":
        fed = {name: _laid(case, case.part(name), case.dtype) for name in case.order}
        return Plan(programs.flattened, fed, {name: case.axes[name] for name in ("order", "twice", "frozen", "before")})
    if case.what == "scale":
        return Plan(scaling.scaled, {}, _scaling(case))
    dtypes = {name: case.other_dtype or case.dtype if name == "b" else case.dtype for name in case.grads}
    fed = {name: _laid(case, grad, dtypes[name]) for name, grad in case.grads.items()}
    fed |= {"bare": Input(fmt.encode(np.ones(2)), case.dtype)} if case.bare else {}
    by_norm = programs.by_taken_norm if case.taken else programs.by_own_norm
    how = {"limit": case.limit, "kind": case.kind, "foreach": case.foreach}
    options = {
        "clip": programs.by_value if case.what == "value" else by_norm,
        "options": {**how, "strict": case.strict and case.what == "norm"},
        **{name: getattr(case, name) for name in ("single", "sparse", "frozen", "before")},
        "poison": float(case.poison),
        "leaves": case.taken == "leaves",
    }
    return Plan(programs.clipped, fed, options)


def _laid(case: ClipAverageScaleCase, values: Floats, dtype: str) -> Input:
    flat = case.layout == MATRICES_TRANSPOSED and values.ndim < 2
    return Input(FORMATS[dtype].encode(values), dtype, "contiguous" if flat else case.layout)


def _scaling(case: ClipAverageScaleCase) -> dict[str, Any]:
    factors = {"growth_factor": 4.0, "backoff_factor": 0.5, "growth_interval": case.growth}
    return {
        "optimizer": (case.optimizer, case.flags),
        "how": {"init_scale": case.initial, **factors},
        "parts": scaling.BESIDE[case.beside],
        "steps": tuple(step in case.bad for step in range(case.steps)),
        "exceed": scaling.EXCESSES[case.excess],
        "filled": case.path == "fused",
        "dtypes": (case.dtype, case.other_dtype or case.dtype),
        **{name: getattr(case, name) for name in ("unscaled_first", "sparse", "carried")},
    }


#: In this order covers take the axes: in another one there would be other cases.
_ORDER = (
    "what", "order", "twice", "limit", "kind", "foreach", "average", "sparse", "buffers", "counter", "growth", "bad",
    "unscaled_first", "beside", "strict", "poison", "steps", "times", "dtype", "other_dtype", "single", "taken", "layout",
    "shape", "frozen", "bare", "before", "carried", "optimizer", "path", "momentum", "initial", "excess",
)  # fmt: skip
_VALUES = values_of(ClipAverageScaleCase)
AXES = {name: _VALUES[name] for name in _ORDER}
#: What each kind of case has of the axes that not all have.
_OWN = {
    **dict.fromkeys(("single", "bare"), ("norm", "value")),
    "other_dtype": ("norm", "value", "scale"),
    "taken": ("norm",),
    **dict.fromkeys(("order", "shape", "frozen", "before", "layout"), ("norm", "value", "vector")),
    **dict.fromkeys(("carried", "optimizer", "path", "momentum", "initial", "excess"), ("scale",)),
}


def _is_wide(case: ClipAverageScaleCase) -> bool:
    """Whether no gradient that is clipped is a float16."""
    return case.what in ("norm", "value") and "float16" not in (case.dtype, case.other_dtype)


#: A poison is only where it is refused: what is left of the gradients else is another law's.
_RULES: tuple[Rule, ...] = (
    (lambda c: c.what == "scale" and c.dtype not in ("float32", "float64"), {"dtype": "float32"}),
    (lambda c: c.what == "scale" and c.dtype == "float64", {"excess": "all"}),
    (lambda c: c.what == "scale" and not c.beside, {"other_dtype": ""}),
    (
        lambda c: c.poison or c.times > 1 or (c.what != "vector" and c.sparse),
        {"order": ("a", "b", "c"), "shape": (2, 2)},
    ),
    (lambda c: c.strict and c.times > 1, {"before": 0}),
    (lambda c: c.taken == "leaves" and c.sparse, {"taken": True}),
    # Of nothing there is no greatest number, and a norm of no tensors is none of its dtype.
    (
        lambda c: c.what == "norm" and float(c.kind) == float("inf") and not all(map(np.size, c.grads.values())),
        {"order": ("a", "b", "c"), "shape": (2, 2)},
    ),
    (lambda c: c.poison and (c.single or not (c.what == "norm" and c.strict)), {"poison": 0.0}),
    (lambda c: c.what != "scale" and c.sparse, {"layout": "contiguous"}),
    # The powers of 60000 are none of float16's numbers, nor need they be.
    (lambda c: c.what != "scale" and c.times > 1 and c.kind in (1, 1.0, 3.0), {"kind": 2.0}),
    (lambda c: c.what in ("average", "vector") or _is_wide(c), {"times": 1.0}),
    # Scaled down, such a sum is finite, and whether it is after that nobody looks.
    (lambda c: not c.bad or (c.excess == "sum" and min(c.scales_in_excess, default=1.0) < 1.0), {"excess": "all"}),
    (lambda c: c.path not in ("", *KINDS[c.optimizer].flags), {"path": ""}),
    (lambda c: c.what == "scale" and c.sparse, {"optimizer": "SGD", "path": ""}),
    (lambda c: c.optimizer != "SGD" or (c.what == "scale" and c.sparse), {"momentum": 0.0}),
)

Cases = Iterator[ClipAverageScaleCase]
_KINDS = (2.0, 1, float("inf"))


def scope() -> Cases:
    """Every limit with every norm and path; every average; every pattern of infinite losses."""
    return map(repair, chain(_clipped(), _averaged(), _flattened(), _scaled()))


def _clipped() -> Cases:
    clips, paths, limits = ("norm", "value"), AXES["foreach"], (1.0, 100.0)
    for what, limit, kind, foreach in product(clips, AXES["limit"], AXES["kind"], paths):
        for sparse in (False, True):
            # A norm over gradients of two dtypes is one norm all the same.
            other = ("", "float64")[sparse != (limit in (0.5, 100.0))]
            strict = what == "norm" and limit in (0.5, 2.5) and not sparse
            yield ClipAverageScaleCase(what, limit, kind, foreach, other_dtype=other, strict=strict, sparse=sparse)
    for limit, kind, foreach in product(AXES["limit"], AXES["kind"], paths):
        yield ClipAverageScaleCase("norm", limit, kind, foreach, order=("a",))
    for limit, kind, foreach, poison in product(limits, AXES["kind"], paths, AXES["poison"][1:]):
        yield ClipAverageScaleCase("norm", limit, kind, foreach, strict=True, poison=poison)
    chosen = product(AXES["times"], limits, AXES["kind"], paths, ("float16", "float32"), clips)
    for times, limit, kind, foreach, dtype, what in chosen:
        yield ClipAverageScaleCase(what, limit, kind, foreach, times=times, dtype=dtype)
    for what, foreach, layout, dtype, limit in product(clips, paths, AXES["layout"], ("float32", "bfloat16"), limits):
        for single in (False, True):
            how: dict[str, Any] = {"single": single, "layout": layout, "dtype": dtype}
            yield ClipAverageScaleCase(what, limit, foreach=foreach, **how)
    for kind, foreach, single, limit in product(_KINDS, paths, (False, True), (1.0, 20.0, 100.0)):
        yield ClipAverageScaleCase("norm", limit, kind, foreach, taken=True, single=single)
    narrow = (("float16", "float32"), ("float16", "float64"), ("bfloat16", "float32"))
    for (dtype, other), kind, foreach, times in product(narrow, _KINDS, paths, (2000.0, 5000.0)):
        # A norm that is more than the narrowest of the formats holds.
        yield ClipAverageScaleCase("norm", 100.0, kind, foreach, times=times, dtype=dtype, other_dtype=other)
    for kind, foreach in product(_KINDS, paths):
        # The largest number is the first gradient's, which alone is of its dtype.
        yield ClipAverageScaleCase("norm", 1.0, kind, foreach, order=("b", "c"), other_dtype="float64")


def _averaged() -> Cases:
    for kind, buffers, steps, dtype in product(AXES["average"], (False, True), AXES["steps"], AXES["dtype"]):
        for counter in (False, True):
            how: dict[str, Any] = {"average": kind, "buffers": buffers, "counter": counter}
            yield ClipAverageScaleCase("average", **how, steps=steps, dtype=dtype)


def _flattened() -> Cases:
    for order, layout, twice, dtype in product(ORDERS, AXES["layout"], (False, True), AXES["dtype"]):
        yield ClipAverageScaleCase("vector", order=order, layout=layout, twice=twice, dtype=dtype)


def _scaled() -> Cases:
    """Every pattern of infinite losses; every optimizer on every path; a second one; scalers that are carried on."""
    for growth, bad, first, sparse in product(AXES["growth"], AXES["bad"], (False, True), (False, True)):
        for beside in AXES["beside"] if growth == 2 else ("",):
            how: dict[str, Any] = {"growth": growth, "bad": bad, "unscaled_first": first, "sparse": sparse}
            yield ClipAverageScaleCase("scale", **how, beside=beside)
    for seed, (kind, path, bad) in enumerate(product(SCALED, AXES["path"], ((), (0,), (2, 3)))):
        how = {"optimizer": kind, "path": path, "bad": bad, "momentum": 0.5 * (seed % 2)}
        for beside in ("", AXES["beside"][1 + (seed + seed // 4) % 4]):
            yield ClipAverageScaleCase("scale", **how, beside=beside, unscaled_first=seed % 4 == 3)
    for carried, growth, bad in product(AXES["carried"][1:], AXES["growth"], AXES["bad"]):
        yield ClipAverageScaleCase("scale", growth=growth, bad=bad, carried=carried)
    for initial, excess, sparse, bad in product(AXES["initial"], AXES["excess"], (False, True), AXES["bad"][1:]):
        for growth, first in product(AXES["growth"], (False, True)):
            how = {"initial": initial, "excess": excess, "growth": growth}
            yield ClipAverageScaleCase("scale", **how, sparse=sparse, bad=bad, unscaled_first=first)
    for initial, excess, kind, path in product(AXES["initial"], AXES["excess"], SCALED, AXES["path"]):
        yield ClipAverageScaleCase("scale", initial=initial, excess=excess, optimizer=kind, path=path, bad=(0,))
    for bad, first, beside in product(AXES["bad"], (False, True), AXES["beside"][1:]):
        yield ClipAverageScaleCase("scale", bad=bad, unscaled_first=first, beside=beside, other_dtype="float64")


def repair(case: ClipAverageScaleCase) -> ClipAverageScaleCase:
    """The case with the axes that its kind has, and values that fit each other."""
    default = case._field_defaults
    return fitted(case.but(**{name: default[name] for name, kinds in _OWN.items() if case.what not in kinds}), _RULES)


def draw(draws: Stream) -> ClipAverageScaleCase:
    """A random case; what goes with one shape alone is seldom."""
    chosen = {name: draws.choice(values) for name, values in AXES.items()}
    chosen |= {name: AXES[name][0] for name in ("sparse", "strict", "poison", "times") if not draws.chance(6)}
    chosen["what"] = draws.choice(("norm", "norm", "value", "vector", "vector", *AXES["what"]))
    chosen["order"] = draws.choice((chosen["order"], ("a",), ("a", "c"), ("a", "b", "c")))
    return repair(ClipAverageScaleCase(**{**chosen, "shape": shaped(draws)}))


SPACE = Space(ClipAverageScaleCase, AXES, repair, scope, flags=("what", "dtype"), draw=draw, strength=2)
