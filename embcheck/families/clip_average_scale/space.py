"""The space of aftercare: every limit with every norm and path, every average, every pattern of infinite losses."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, product
from typing import Any

import numpy as np

from embcheck.core.axes import Input
from embcheck.core.format import FORMATS
from embcheck.core.law import Plan
from embcheck.core.space import Space
from embcheck.families.clip_average_scale import grad_scaler, programs
from embcheck.families.clip_average_scale.cases import GIVEN, GIVEN_AT, PARTS, SCALED, VALUES, ClipAverageScaleCase
from embcheck.families.tied_training.optimizers import KINDS

ORDERS = (
    *(("a", "b", "c"), ("a",), ("e",), ("a", "e", "b"), ("e", "c", "f", "a", "b")),
    *(("f", "b"), ("c", "a", "e"), ("b", "f", "e", "c")),
)


def plan(case: ClipAverageScaleCase) -> Plan:
    fmt = FORMATS[case.dtype]
    if case.what == "average":
        values = Input(fmt.encode(np.array(VALUES[: case.steps])), case.dtype)
        options = {name: getattr(case, name) for name in ("buffers", "counter", "frozen", "carried")}
        other = case.other_dtype if case.other_dtype != case.dtype else ""
        return Plan(programs.averaged, {"values": values}, {"kind": case.average, "other": other, **options})
    if case.what == "vector":
        fed = {name: Input(fmt.encode(PARTS[name]), case.dtype, case.layout) for name in case.order}
        options = {name: getattr(case, name) for name in ("order", "twice", "joined")}
        return Plan(programs.flattened, fed, options)
    if case.what == "scale":
        return Plan(grad_scaler.scaled, {}, _scaling(case))
    dtypes = {name: case.other_dtype or case.dtype if name == "b" else case.dtype for name in case.grads}
    fed = {
        name: Input(FORMATS[dtypes[name]].encode(grad), dtypes[name], case.layout) for name, grad in case.grads.items()
    }
    fed["bare"] = Input(fmt.encode(np.ones(2)), case.dtype)
    norms = {"own": programs.by_own_norm, "taken": programs.by_taken_norm, "doubled": programs.by_doubled_norm}
    how = {"limit": case.limit, "kind": case.kind, "foreach": case.foreach}
    options = {name: getattr(case, name) for name in ("poison", "sparse", "hollow", "frozen")}
    options["clip"] = programs.by_value if case.what == "value" else norms[case.norm]
    options["options"] = {**how, "strict": case.strict and case.what == "norm"}
    options["listing"] = "single" if case.single else "list" if case.as_list else "iterator"
    return Plan(programs.clipped, fed, options)


def _scaling(case: ClipAverageScaleCase) -> dict[str, Any]:
    factors = {"growth_factor": 4.0, "backoff_factor": 0.5, "growth_interval": case.growth}
    given = GIVEN_AT if case.given else ()
    return {
        "optimizer": (case.optimizer, case.flags),
        "how": {"init_scale": case.initial, **factors, "enabled": case.enabled},
        "parts": grad_scaler.BESIDE[case.beside],
        "steps": tuple((step in case.bad, GIVEN if step in given else None) for step in range(case.steps)),
        "exceed": grad_scaler.EXCESSES[case.excess],
        "boxed": case.given == "tensor",
        "unscaled_first": case.unscaled_first,
        "sparse": case.sparse,
        "filled": case.path == "fused",
        "carried": case.carried,
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
    "excess": tuple(grad_scaler.EXCESSES),
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


Cases = Iterator[ClipAverageScaleCase]
_KINDS = (2.0, 1, float("inf"))


def scope() -> Cases:
    """Every limit with every norm and path; every average; every pattern of infinite losses."""
    yield from _clipped()
    yield from _averaged()
    for order, twice, dtype in product(ORDERS, (False, True), AXES["dtype"]):
        yield ClipAverageScaleCase("vector", order=order, twice=twice, dtype=dtype)
    for growth, bad, first, sparse in product(AXES["growth"], AXES["bad"], (False, True), (False, True)):
        for beside in ("", "before", "after") if growth == 2 else ("",):
            how: dict[str, Any] = {"growth": growth, "bad": bad, "unscaled_first": first, "sparse": sparse}
            yield ClipAverageScaleCase("scale", **how, beside=beside)
    yield from map(repair, chain(_scaled_otherwise(), _clipped_otherwise()))


def _clipped() -> Cases:
    for what, limit, kind, foreach in product(("norm", "value"), AXES["limit"], AXES["kind"], AXES["foreach"]):
        for sparse in (False, True):
            # A norm over gradients of two dtypes is one norm all the same.
            other = ("", "float64")[sparse != (limit in (0.5, 100.0))]
            strict = what == "norm" and limit in (0.5, 2.5) and not sparse
            yield ClipAverageScaleCase(what, limit, kind, foreach, other_dtype=other, strict=strict, sparse=sparse)
    for limit, kind, foreach, poison in product((1.0, 100.0), AXES["kind"], AXES["foreach"], AXES["poison"][1:]):
        yield ClipAverageScaleCase("norm", limit, kind, foreach, strict=True, poison=poison)
    chosen = product(AXES["times"], (False, True), (1.0, 100.0), AXES["kind"], AXES["foreach"], ("float16", "float32"))
    for times, hollow, limit, kind, foreach, dtype in chosen:
        how: dict[str, Any] = {"times": times, "hollow": hollow, "dtype": dtype, "strict": hollow}
        for what in ("norm", "value"):
            yield repair(ClipAverageScaleCase(what, limit, kind, foreach, **how))


def _averaged() -> Cases:
    for kind, buffers, steps, dtype in product(AXES["average"], (False, True), AXES["steps"], AXES["dtype"]):
        for counter in (False, True):
            # The first update copies what is frozen too.
            how: dict[str, Any] = {"average": kind, "buffers": buffers, "counter": counter}
            yield ClipAverageScaleCase("average", **how, frozen=counter != buffers, steps=steps, dtype=dtype)
    others = ("float64", "float32", "bfloat16")
    for kind, dtype, other, steps in product(AXES["average"], AXES["dtype"], others, (6, 3)):
        yield ClipAverageScaleCase("average", average=kind, dtype=dtype, other_dtype=other, steps=steps)


def _scaled_otherwise() -> Cases:
    """Every optimizer on every path, up and down; a second one; scales that are given; scalers that are carried on."""
    chosen = product(SCALED, AXES["path"], (False, True), ((), (0,), (2, 3)))
    for seed, (kind, path, climbing, bad) in enumerate(chosen):
        how: dict[str, Any] = {"optimizer": kind, "path": path, "climbing": climbing, "bad": bad}
        for beside in ("", ("before", "ahead", "behind")[seed % 3]):
            momentum = 0.5 * (seed % 2)
            yield ClipAverageScaleCase("scale", **how, beside=beside, unscaled_first=seed % 4 == 3, momentum=momentum)
    for beside, bad, first in product(("ahead", "behind"), AXES["bad"], (False, True)):
        yield ClipAverageScaleCase("scale", beside=beside, bad=bad, unscaled_first=first)
    for given, bad, path in product(("number", "tensor"), AXES["bad"], AXES["path"]):
        yield ClipAverageScaleCase("scale", growth=1, given=given, bad=bad, path=path)
    for carried, growth, bad in product(CARRIED[1:], AXES["growth"], AXES["bad"]):
        yield ClipAverageScaleCase("scale", growth=growth, bad=bad, carried=carried)
    for carried, kind, path in product(CARRIED, SCALED, AXES["path"]):
        yield ClipAverageScaleCase("scale", enabled=False, carried=carried, optimizer=kind, path=path)
    for initial, excess, sparse, bad in product(AXES["initial"], AXES["excess"], (False, True), AXES["bad"][1:]):
        for growth, first in product(AXES["growth"], (False, True)):
            how = {"initial": initial, "excess": excess, "growth": growth}
            yield ClipAverageScaleCase("scale", **how, sparse=sparse, bad=bad, unscaled_first=first)
    for initial, excess, kind, path in product(AXES["initial"], AXES["excess"], SCALED, AXES["path"]):
        yield ClipAverageScaleCase("scale", initial=initial, excess=excess, optimizer=kind, path=path, bad=(0,))


def _clipped_otherwise() -> Cases:
    """Gradients of every layout, single ones, by norms that are given; vectors of parameters of every layout; averages
    that are carried on."""
    clips, limits, paths = ("norm", "value"), (1.0, 100.0), AXES["foreach"]
    for what, foreach, layout, dtype, limit in product(
        clips, paths, AXES["layout"][1:], ("float32", "bfloat16"), limits
    ):
        how: dict[str, Any] = {"as_list": layout == "strided", "layout": layout, "dtype": dtype}
        yield ClipAverageScaleCase(what, limit, foreach=foreach, **how)
    for what, single, foreach, limit in product(clips, AXES["single"][1:], paths, limits):
        yield ClipAverageScaleCase(what, limit, foreach=foreach, single=single, layout=AXES["layout"][foreach is None])
    for norm, kind, foreach, single, limit in product(
        ("taken", "doubled"), _KINDS, paths, ("", "a"), (1.0, 20.0, 100.0)
    ):
        yield ClipAverageScaleCase("norm", limit, kind, foreach, norm=norm, single=single, as_list=limit != 20.0)
    for what, foreach, sparse, single, limit in product(clips, paths, (False, True), ("", "a"), limits):
        yield ClipAverageScaleCase(what, limit, foreach=foreach, sparse=sparse, single=single, frozen=True)
    for norm in AXES["norm"][1:]:
        yield ClipAverageScaleCase("norm", norm=norm, frozen=True)
    narrow = (("float16", "float32"), ("float16", "float64"), ("bfloat16", "float32"))
    for (dtype, other), kind, foreach, times in product(narrow, _KINDS, paths, (2000.0, 5000.0)):
        # A norm that is more than the narrowest of the formats holds.
        yield ClipAverageScaleCase("norm", 100.0, kind, foreach, times=times, dtype=dtype, other_dtype=other)
    for order, layout, joined, dtype in product(ORDERS, AXES["layout"][1:], (False, True), ("float32", "bfloat16")):
        yield ClipAverageScaleCase("vector", order=order, layout=layout, joined=joined, dtype=dtype)
    for carried, kind, buffers, dtype in product(CARRIED[1:], AXES["average"], (False, True), ("float32", "float64")):
        how = {"average": kind, "buffers": buffers, "counter": not buffers}
        yield ClipAverageScaleCase("average", **how, carried=carried, dtype=dtype)
    for kind, foreach, limit in product(_KINDS, paths, limits):
        # More elements than are reduced, or written, in one piece, the last of which alone are not zero.
        for norm, layout in (("own", "contiguous"), ("taken", "transposed")):
            yield ClipAverageScaleCase("norm", limit, kind, foreach, norm=norm, layout=layout, above=TALL)
        if kind == 2.0:
            dtype = ("float32", "bfloat16")[limit > 1]
            yield ClipAverageScaleCase("value", limit, foreach=foreach, dtype=dtype, above=TALL)


def repair(case: ClipAverageScaleCase) -> ClipAverageScaleCase:
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
