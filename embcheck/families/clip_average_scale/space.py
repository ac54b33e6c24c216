"""The space of aftercare: every limit with every norm and path, every average, every pattern of infinite losses."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np

from embcheck.core.axes import Input
from embcheck.core.format import FORMATS
from embcheck.core.law import Plan
from embcheck.core.space import Space
from embcheck.families.clip_average_scale.cases import GIVEN, GIVEN_AT, PARTS, SCALED, VALUES, ClipAverageScaleCase
from embcheck.families.clip_average_scale.grad_scaler import EXCESSES, accepted, carry, misused, scaled, told
from embcheck.families.clip_average_scale.programs import averaged, clipped, flattened
from embcheck.families.tied_training.optimizers import KINDS

ORDERS = (
    ("a", "b", "c"),
    ("a",),
    ("e",),
    ("a", "e", "b"),
    ("e", "c", "f", "a", "b"),
    ("f", "b"),
    ("c", "a", "e"),
    ("b", "f", "e", "c"),
)


def plan(case: ClipAverageScaleCase) -> Plan:
    fmt = FORMATS[case.dtype]
    if case.what == "average":
        values = Input(fmt.encode(np.array(VALUES[: case.steps])), case.dtype)
        options = {"kind": case.average, "buffers": case.buffers, "counter": case.counter, "frozen": case.frozen}
        options["carried"] = case.carried
        options["other"] = case.other_dtype if case.other_dtype != case.dtype else ""
        return Plan(averaged, {"values": values}, options)
    if case.what == "vector":
        fed = {name: Input(fmt.encode(PARTS[name]), case.dtype, case.layout) for name in case.order}
        return Plan(flattened, fed, {"order": case.order, "twice": case.twice, "joined": case.joined})
    if case.what == "scale":
        return Plan(scaled, {}, _scaling(case))
    dtypes = {name: case.other_dtype or case.dtype if name == "b" else case.dtype for name in case.grads}
    fed = {
        name: Input(FORMATS[dtypes[name]].encode(grad), dtypes[name], case.layout) for name, grad in case.grads.items()
    }
    fed["bare"] = Input(fmt.encode(np.ones(2)), case.dtype)
    by_value = case.what == "value"
    options = {
        "limit": case.limit,
        "kind": case.kind,
        "foreach": case.foreach,
        "by_value": by_value,
        "as_list": case.as_list,
        "sparse": case.sparse,
        "strict": case.strict,
        "poison": case.poison,
        "hollow": case.hollow,
        "single": bool(case.single),
        "norm": case.norm,
        "frozen": case.frozen,
    }
    return Plan(clipped, fed, options)


def _scaling(case: ClipAverageScaleCase) -> dict[str, Any]:
    return {
        "kind": case.optimizer,
        "flags": case.flags,
        "growth": case.growth,
        "initial": case.initial,
        "bad": case.bad,
        "exceed": EXCESSES[case.excess],
        "given": dict.fromkeys(GIVEN_AT, GIVEN) if case.given else {},
        "tensor_hyperparameters": case.given == "tensor",
        "unscaled_first": case.unscaled_first,
        "steps": case.steps,
        "sparse": case.sparse,
        "beside": case.beside,
        "enabled": case.enabled,
        "filled": case.path == "fused",
        "carried": case.carried,
        "carry": carry,
        "accepted": accepted,
        "misused": misused,
        "told": told,
    }


CARRIED = ("", "loaded", "warm", "copied")
#: Rows of two columns whose elements 16 bits don't count.
TALL = 33000
AXES: dict[str, tuple[Any, ...]] = {
    "what": ("norm", "value", "average", "scale", "vector"),
    "order": ORDERS,
    "twice": (False, True),
    "limit": (1.0, 0.0, 0, 0.5, 2.5, 100.0),
    "kind": (2.0, 1, 1.0, 3.0, float("inf")),
    "foreach": (None, True, False),
    "as_list": (True, False),
    "average": ("equal", "ema", "ema_single", "swa", "own"),
    "sparse": (False, True),
    "buffers": (False, True),
    "counter": (False, True),
    "frozen": (False, True),
    "growth": (2, 1, 3),
    "bad": ((), (0,), (1,), (2, 3), (0, 1, 2)),
    "unscaled_first": (False, True),
    "beside": ("", "before", "after", "ahead", "behind"),
    "strict": (False, True),
    "poison": (0.0, float("inf"), float("-inf")),
    "steps": (6, 1, 2, 3),
    "times": (1.0, 5000.0),
    "hollow": (False, True),
    "dtype": ("float32", "float64", "bfloat16", "float16"),
    "other_dtype": ("", "float64", "float32"),
    "single": ("", "a", "b", "c", "bare"),
    "norm": ("own", "taken", "doubled"),
    "layout": ("contiguous", "transposed", "column_slice", "strided"),
    "joined": (True, False),
    "carried": CARRIED,
    "optimizer": tuple(SCALED),
    "path": ("", "foreach", "fused"),
    "momentum": (0.0, 0.5),
    "climbing": (False, True),
    "given": ("", "number", "tensor"),
    "enabled": (True, False),
    "initial": (8.0, 1.0, 4.0),
    "excess": tuple(EXCESSES),
}
#: What each kind of case has of the axes that not all have.
_OWN = {
    "single": ("norm", "value"),
    "above": ("norm", "value"),
    "norm": ("norm",),
    "layout": ("norm", "value", "vector"),
    "joined": ("vector",),
    "carried": ("average", "scale"),
    **dict.fromkeys(("optimizer", "path", "momentum", "climbing", "given", "enabled", "initial", "excess"), ("scale",)),
}


def scope() -> Iterator[ClipAverageScaleCase]:
    """Every limit with every norm and path; every average; every pattern of infinite losses."""
    for what, limit, kind, foreach in itertools.product(
        ("norm", "value"), AXES["limit"], AXES["kind"], AXES["foreach"]
    ):
        for sparse in (False, True):
            # A norm over gradients of two dtypes is one norm all the same.
            other = ("", "float64")[sparse != (limit in (0.5, 100.0))]
            yield ClipAverageScaleCase(
                what,
                limit,
                kind,
                foreach,
                other_dtype=other,
                strict=what == "norm" and limit in (0.5, 2.5) and not sparse,
                sparse=sparse,
            )
    for limit, kind, foreach, poison in itertools.product(
        (1.0, 100.0), AXES["kind"], AXES["foreach"], AXES["poison"][1:]
    ):
        yield ClipAverageScaleCase("norm", limit, kind, foreach, strict=True, poison=poison)
    for times, hollow, limit, kind, foreach, dtype in itertools.product(
        AXES["times"], (False, True), (1.0, 100.0), AXES["kind"], AXES["foreach"], ("float16", "float32")
    ):
        for what in ("norm", "value"):
            case = repair(
                ClipAverageScaleCase(what, limit, kind, foreach, times=times, hollow=hollow, dtype=dtype, strict=hollow)
            )
            if case is not None:
                yield case
    for kind, buffers, steps, dtype in itertools.product(AXES["average"], (False, True), AXES["steps"], AXES["dtype"]):
        for counter in (False, True):
            # The first update copies what is frozen too.
            frozen = counter != buffers
            yield ClipAverageScaleCase(
                "average", average=kind, buffers=buffers, counter=counter, frozen=frozen, steps=steps, dtype=dtype
            )
    for kind, dtype, other, steps in itertools.product(
        AXES["average"], AXES["dtype"], ("float64", "float32", "bfloat16"), (6, 3)
    ):
        yield ClipAverageScaleCase("average", average=kind, dtype=dtype, other_dtype=other, steps=steps)
    for order, twice, dtype in itertools.product(ORDERS, (False, True), AXES["dtype"]):
        yield ClipAverageScaleCase("vector", order=order, twice=twice, dtype=dtype)
    for growth, bad, first in itertools.product(AXES["growth"], AXES["bad"], (False, True)):
        for sparse in (False, True):
            yield ClipAverageScaleCase("scale", growth=growth, bad=bad, unscaled_first=first, sparse=sparse)
            for beside in ("before", "after") if growth == 2 else ():
                yield ClipAverageScaleCase(
                    "scale", growth=growth, bad=bad, unscaled_first=first, sparse=sparse, beside=beside
                )
    yield from filter(None, map(repair, itertools.chain(_scaled_otherwise(), _clipped_otherwise())))


def _scaled_otherwise() -> Iterator[ClipAverageScaleCase]:
    """Every optimizer on every path, up and down; a second one; scales that are given; scalers that are carried on."""
    for seed, (kind, path, climbing, bad) in enumerate(
        itertools.product(SCALED, AXES["path"], (False, True), ((), (0,), (2, 3)))
    ):
        how: dict[str, Any] = {"optimizer": kind, "path": path, "climbing": climbing, "bad": bad}
        for beside in ("", ("before", "ahead", "behind")[seed % 3]):
            momentum = 0.5 * (seed % 2)
            yield ClipAverageScaleCase("scale", **how, beside=beside, unscaled_first=seed % 4 == 3, momentum=momentum)
    for beside, bad, first in itertools.product(("ahead", "behind"), AXES["bad"], (False, True)):
        yield ClipAverageScaleCase("scale", beside=beside, bad=bad, unscaled_first=first)
    for given, bad, path in itertools.product(("number", "tensor"), AXES["bad"], AXES["path"]):
        yield ClipAverageScaleCase("scale", growth=1, given=given, bad=bad, path=path)
    for carried, growth, bad in itertools.product(CARRIED[1:], AXES["growth"], AXES["bad"]):
        yield ClipAverageScaleCase("scale", growth=growth, bad=bad, carried=carried)
    for carried, kind, path in itertools.product(CARRIED, SCALED, AXES["path"]):
        yield ClipAverageScaleCase("scale", enabled=False, carried=carried, optimizer=kind, path=path)
    for initial, excess, sparse, bad in itertools.product(
        AXES["initial"], AXES["excess"], (False, True), AXES["bad"][1:]
    ):
        for growth, first in itertools.product(AXES["growth"], (False, True)):
            how = {"initial": initial, "excess": excess, "growth": growth}
            yield ClipAverageScaleCase("scale", **how, sparse=sparse, bad=bad, unscaled_first=first)
    for initial, excess, kind, path in itertools.product(AXES["initial"], AXES["excess"], SCALED, AXES["path"]):
        yield ClipAverageScaleCase("scale", initial=initial, excess=excess, optimizer=kind, path=path, bad=(0,))


def _clipped_otherwise() -> Iterator[ClipAverageScaleCase]:
    """Gradients of every layout, single ones, by norms that are given; vectors of parameters of every layout; averages
    that are carried on."""
    for what, foreach, layout, dtype in itertools.product(
        ("norm", "value"), AXES["foreach"], AXES["layout"][1:], ("float32", "bfloat16")
    ):
        for limit in (1.0, 100.0):
            yield ClipAverageScaleCase(
                what, limit, foreach=foreach, as_list=layout == "strided", layout=layout, dtype=dtype
            )
    for what, single, foreach, limit in itertools.product(
        ("norm", "value"), AXES["single"][1:], AXES["foreach"], (1.0, 100.0)
    ):
        yield ClipAverageScaleCase(what, limit, foreach=foreach, single=single, layout=AXES["layout"][foreach is None])
    for norm, kind, foreach, single in itertools.product(
        ("taken", "doubled"), (2.0, 1, float("inf")), AXES["foreach"], ("", "a")
    ):
        for limit in (1.0, 20.0, 100.0):
            yield ClipAverageScaleCase("norm", limit, kind, foreach, norm=norm, single=single, as_list=limit != 20.0)
    for what, foreach, sparse, single in itertools.product(
        ("norm", "value"), AXES["foreach"], (False, True), ("", "a")
    ):
        for limit in (1.0, 100.0):
            yield ClipAverageScaleCase(what, limit, foreach=foreach, sparse=sparse, single=single, frozen=True)
    for norm in AXES["norm"][1:]:
        yield ClipAverageScaleCase("norm", norm=norm, frozen=True)
    for (dtype, other), kind, foreach in itertools.product(
        (("float16", "float32"), ("float16", "float64"), ("bfloat16", "float32")),
        (2.0, 1, float("inf")),
        AXES["foreach"],
    ):
        # A norm that is more than the narrowest of the formats holds.
        for times in (2000.0, 5000.0):
            yield ClipAverageScaleCase("norm", 100.0, kind, foreach, times=times, dtype=dtype, other_dtype=other)
    for order, layout, joined, dtype in itertools.product(
        ORDERS, AXES["layout"][1:], (False, True), ("float32", "bfloat16")
    ):
        yield ClipAverageScaleCase("vector", order=order, layout=layout, joined=joined, dtype=dtype)
    for carried, kind, buffers, dtype in itertools.product(
        CARRIED[1:], AXES["average"], (False, True), ("float32", "float64")
    ):
        yield ClipAverageScaleCase(
            "average", average=kind, buffers=buffers, counter=not buffers, carried=carried, dtype=dtype
        )
    for kind, foreach, limit in itertools.product((2.0, 1, float("inf")), AXES["foreach"], (1.0, 100.0)):
        # More elements than are reduced, or written, in one piece, the last of which alone are not zero.
        for norm, layout in (("own", "contiguous"), ("taken", "transposed")):
            yield ClipAverageScaleCase("norm", limit, kind, foreach, norm=norm, layout=layout, above=TALL)
        if kind == 2.0:
            yield ClipAverageScaleCase(
                "value", limit, foreach=foreach, dtype=("float32", "bfloat16")[limit > 1], above=TALL
            )


def repair(case: ClipAverageScaleCase) -> ClipAverageScaleCase | None:
    """The case with a poison only where that is refused: what is left of the gradients else is another law's."""
    default = case._field_defaults
    changes: dict[str, Any] = {name: default[name] for name, kinds in _OWN.items() if case.what not in kinds}
    if case.poison and (case.single or not (case.what == "norm" and case.strict)):
        changes["poison"] = 0.0
    if case.what == "scale":
        return _fitting(case.but(**changes))
    if case.single and case.what in ("norm", "value"):
        changes |= {"hollow": False, "as_list": True}
    if case.norm == "doubled":
        changes["times"] = 1.0  # twice that norm is none of float16's numbers
    if case.sparse:
        changes["layout"] = "contiguous"
    if case.what not in ("norm", "value") or "float16" not in (case.dtype, case.other_dtype):
        changes["times"] = 1.0
    if case.times > 1 and case.kind in (1, 1.0, 3.0):
        changes["kind"] = 2.0  # the powers of 60000 are none of float16's numbers, nor need they be
    return case.but(**changes)


def _fitting(case: ClipAverageScaleCase) -> ClipAverageScaleCase:
    """Scaled losses of an optimizer that has the flags."""
    changes: dict[str, Any] = {}
    if not case.enabled:
        changes |= {"bad": (), "given": "", "initial": 8.0}
    if case.excess == "sum" and min(case.scales_in_excess, default=1.0) < 1.0:
        changes["excess"] = "all"  # scaled down, such a sum is finite, and whether it is after that nobody looks
    if not case.bad:
        changes["excess"] = "all"
    if case.given and case.enabled:
        changes["growth"] = 1  # where no step counts for the next growth, which a given scale may forget or not
    if case.path not in ("", *KINDS[case.optimizer].flags):
        changes["path"] = ""
    if case.sparse:
        changes |= {"optimizer": "SGD", "path": "", "momentum": 0.0}
    if case.optimizer != "SGD":
        changes["momentum"] = 0.0
    return case.but(**changes)


SPACE = Space(ClipAverageScaleCase, AXES, repair, scope, flags=("what", "dtype"), strength=2)
