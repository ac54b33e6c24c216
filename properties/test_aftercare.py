"""Aftercare: clipped gradients, averaged weights and scaled losses are those of their formulas."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np

from embcheck.axes import Input
from embcheck.comparison import Difference, Finding, every, is_true, same, unwritten, within
from embcheck.format import FORMATS
from embcheck.law import Family, Plan
from embcheck.outcome import Field, Outcome
from embcheck.space import Space
from embcheck.training.aftercare import averaged, clipped, flattened
from embcheck.training.aftercare_case import GIVEN, GIVEN_AT, PARTS, SCALED, VALUES, Aftercare
from embcheck.training.optimizer import KINDS
from embcheck.training.scaling import EXCESSES, accepted, carry, misused, scaled, told

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


def plan(case: Aftercare) -> Plan:
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


def _scaling(case: Aftercare) -> dict[str, Any]:
    return {
        "kind": case.optimizer,
        "flags": case.flags,
        "growth": case.growth,
        "initial": case.initial,
        "bad": case.bad,
        "exceed": EXCESSES[case.excess],
        "given": dict.fromkeys(GIVEN_AT, GIVEN) if case.given else {},
        "boxed": case.given == "tensor",
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
    "norm": ("norm",),
    "layout": ("norm", "value", "vector"),
    "joined": ("vector",),
    "carried": ("average", "scale"),
    **dict.fromkeys(("optimizer", "path", "momentum", "climbing", "given", "enabled", "initial", "excess"), ("scale",)),
}


def scope() -> Iterator[Aftercare]:
    """Every limit with every norm and path; every average; every pattern of infinite losses."""
    for what, limit, kind, foreach in itertools.product(
        ("norm", "value"), AXES["limit"], AXES["kind"], AXES["foreach"]
    ):
        for sparse in (False, True):
            # A norm over gradients of two dtypes is one norm all the same.
            other = ("", "float64")[sparse != (limit in (0.5, 100.0))]
            yield Aftercare(
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
        yield Aftercare("norm", limit, kind, foreach, strict=True, poison=poison)
    for times, hollow, limit, kind, foreach, dtype in itertools.product(
        AXES["times"], (False, True), (1.0, 100.0), AXES["kind"], AXES["foreach"], ("float16", "float32")
    ):
        for what in ("norm", "value"):
            case = canonical(
                Aftercare(what, limit, kind, foreach, times=times, hollow=hollow, dtype=dtype, strict=hollow)
            )
            if case is not None:
                yield case
    for kind, buffers, steps, dtype in itertools.product(AXES["average"], (False, True), AXES["steps"], AXES["dtype"]):
        for counter in (False, True):
            # The first update copies what is frozen too.
            frozen = counter != buffers
            yield Aftercare(
                "average", average=kind, buffers=buffers, counter=counter, frozen=frozen, steps=steps, dtype=dtype
            )
    for kind, dtype, other, steps in itertools.product(
        AXES["average"], AXES["dtype"], ("float64", "float32", "bfloat16"), (6, 3)
    ):
        yield Aftercare("average", average=kind, dtype=dtype, other_dtype=other, steps=steps)
    for order, twice, dtype in itertools.product(ORDERS, (False, True), AXES["dtype"]):
        yield Aftercare("vector", order=order, twice=twice, dtype=dtype)
    for growth, bad, first in itertools.product(AXES["growth"], AXES["bad"], (False, True)):
        for sparse in (False, True):
            yield Aftercare("scale", growth=growth, bad=bad, unscaled_first=first, sparse=sparse)
            for beside in ("before", "after") if growth == 2 else ():
                yield Aftercare("scale", growth=growth, bad=bad, unscaled_first=first, sparse=sparse, beside=beside)
    yield from filter(None, map(canonical, itertools.chain(_scaled_otherwise(), _clipped_otherwise())))


def _scaled_otherwise() -> Iterator[Aftercare]:
    """Every optimizer on every path, up and down; a second one; scales that are given; scalers that are carried on."""
    for seed, (kind, path, climbing, bad) in enumerate(
        itertools.product(SCALED, AXES["path"], (False, True), ((), (0,), (2, 3)))
    ):
        how: dict[str, Any] = {"optimizer": kind, "path": path, "climbing": climbing, "bad": bad}
        for beside in ("", ("before", "ahead", "behind")[seed % 3]):
            momentum = 0.5 * (seed % 2)
            yield Aftercare("scale", **how, beside=beside, unscaled_first=seed % 4 == 3, momentum=momentum)
    for beside, bad, first in itertools.product(("ahead", "behind"), AXES["bad"], (False, True)):
        yield Aftercare("scale", beside=beside, bad=bad, unscaled_first=first)
    for given, bad, path in itertools.product(("number", "tensor"), AXES["bad"], AXES["path"]):
        yield Aftercare("scale", growth=1, given=given, bad=bad, path=path)
    for carried, growth, bad in itertools.product(CARRIED[1:], AXES["growth"], AXES["bad"]):
        yield Aftercare("scale", growth=growth, bad=bad, carried=carried)
    for carried, kind, path in itertools.product(CARRIED, SCALED, AXES["path"]):
        yield Aftercare("scale", enabled=False, carried=carried, optimizer=kind, path=path)
    for initial, excess, sparse, bad in itertools.product(
        AXES["initial"], AXES["excess"], (False, True), AXES["bad"][1:]
    ):
        for growth, first in itertools.product(AXES["growth"], (False, True)):
            how = {"initial": initial, "excess": excess, "growth": growth}
            yield Aftercare("scale", **how, sparse=sparse, bad=bad, unscaled_first=first)
    for initial, excess, kind, path in itertools.product(AXES["initial"], AXES["excess"], SCALED, AXES["path"]):
        yield Aftercare("scale", initial=initial, excess=excess, optimizer=kind, path=path, bad=(0,))


def _clipped_otherwise() -> Iterator[Aftercare]:
    """Gradients of every layout, single ones, by norms that are given; vectors of parameters of every layout; averages
    that are carried on."""
    for what, foreach, layout, dtype in itertools.product(
        ("norm", "value"), AXES["foreach"], AXES["layout"][1:], ("float32", "bfloat16")
    ):
        for limit in (1.0, 100.0):
            yield Aftercare(what, limit, foreach=foreach, as_list=layout == "strided", layout=layout, dtype=dtype)
    for what, single, foreach, limit in itertools.product(
        ("norm", "value"), AXES["single"][1:], AXES["foreach"], (1.0, 100.0)
    ):
        yield Aftercare(what, limit, foreach=foreach, single=single, layout=AXES["layout"][foreach is None])
    for norm, kind, foreach, single in itertools.product(
        ("taken", "doubled"), (2.0, 1, float("inf")), AXES["foreach"], ("", "a")
    ):
        for limit in (1.0, 20.0, 100.0):
            yield Aftercare("norm", limit, kind, foreach, norm=norm, single=single, as_list=limit != 20.0)
    for what, foreach, sparse, single in itertools.product(
        ("norm", "value"), AXES["foreach"], (False, True), ("", "a")
    ):
        for limit in (1.0, 100.0):
            yield Aftercare(what, limit, foreach=foreach, sparse=sparse, single=single, frozen=True)
    for norm in AXES["norm"][1:]:
        yield Aftercare("norm", norm=norm, frozen=True)
    for (dtype, other), kind, foreach in itertools.product(
        (("float16", "float32"), ("float16", "float64"), ("bfloat16", "float32")),
        (2.0, 1, float("inf")),
        AXES["foreach"],
    ):
        # A norm that is more than the narrowest of the formats holds.
        for times in (2000.0, 5000.0):
            yield Aftercare("norm", 100.0, kind, foreach, times=times, dtype=dtype, other_dtype=other)
    for order, layout, joined, dtype in itertools.product(
        ORDERS, AXES["layout"][1:], (False, True), ("float32", "bfloat16")
    ):
        yield Aftercare("vector", order=order, layout=layout, joined=joined, dtype=dtype)
    for carried, kind, buffers, dtype in itertools.product(
        CARRIED[1:], AXES["average"], (False, True), ("float32", "float64")
    ):
        yield Aftercare("average", average=kind, buffers=buffers, counter=not buffers, carried=carried, dtype=dtype)


def canonical(case: Aftercare) -> Aftercare | None:
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


def _fitting(case: Aftercare) -> Aftercare:
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


aftercare = Family(
    "aftercare",
    Space(Aftercare, AXES, canonical, scope, flags=("what", "dtype"), strength=2),
    plan,
    cost=4.0,
    not_applicable=lambda case, out: str(out.seen["lacking"]) if "lacking" in out else None,
)
law = aftercare.law


@law(
    "clip_grad_norm_ returns the norm of all gradients and scales them by max_norm/(norm + 1e-6), never up; "
    "clip_grad_value_ clamps; what has no gradient is passed over, what is frozen and has one is not.",
    source="torch.nn.utils.clip_grad_norm_, clip_grad_value_",
    when=lambda case: case.what in ("norm", "value") and not case.poison,
    obliges={"what=value", "limit=0.0", "limit=100.0", "kind=inf", "foreach=False", "foreach=True", "dtype=bfloat16",
             "frozen"},
)  # fmt: skip
def gradients_are_clipped(case: Aftercare, out: Outcome) -> Finding:
    # A power, a sum of eight terms, a root, a sum, a quotient, a product; float32 at least in between.
    formats = [FORMATS[case.dtype], FORMATS[case.other_dtype or case.dtype]]
    share = 64 * max(*(fmt.unit_roundoff for fmt in formats), 2.0**-53)
    if case.what == "norm" and out.refused.raw:
        return same(out.refused, False)
    findings = []
    findings += [is_true(out.kept, "a gradient was replaced"), same(out.none, case.what == "value")]
    for name, wanted in case.grads.items():
        if case.what == "value":
            findings.append(same(getattr(out, name), np.clip(wanted, -case.limit, case.limit)))
            continue
        factor = min(1.0, case.limit / (case.total * (2 if case.norm == "doubled" else 1) + 1e-6))
        shrunk = wanted * factor
        findings.append(within(getattr(out, name), shrunk, share * np.abs(shrunk) if factor < 1 else 0.0))
    if case.what == "norm":
        findings.append(within(out.total, np.array([case.total]), share * case.total))
    return every(*findings)


@law(
    "AveragedModel copies first and then averages, equally or exponentially; buffers too where asked, else their last value.",
    source="torch.optim.swa_utils.AveragedModel: avg_fn, multi_avg_fn, use_buffers",
    when=lambda case: case.what == "average",
    obliges={"average=ema", "average=own", "buffers", "dtype=bfloat16"},
)
def weights_are_averaged(case: Aftercare, out: Outcome) -> Finding:
    averages = case.averages
    bound = 4 * case.steps * FORMATS[case.dtype].unit_roundoff * np.abs(VALUES[: case.steps]).max()
    last = np.array(VALUES[: case.steps])
    other = 4 * case.steps * FORMATS[case.other_dtype or case.dtype].unit_roundoff * np.abs(VALUES[: case.steps]).max()
    return every(
        within(out.weights, averages, bound),
        within(out.others, averages, other),
        within(out.buffered, averages, bound) if case.buffers else same(out.buffered, last),
        same(out.count, case.steps),
        is_true(out.tied, "the average of a tied weight is two"),
        is_true(out.apart, "the average shares memory with the model, or wrote to it"),
    )


@law(
    "An integer buffer that is averaged is the mean of what it was, but for a fraction.",
    source="torch.optim.swa_utils.AveragedModel: use_buffers, running averages for both the parameters and the buffers",
    when=lambda case: case.what == "average" and case.counter and case.buffers and case.average == "equal",
    obliges={"counter"},
)
def averaged_counts_are_near_the_mean(case: Aftercare, out: Outcome) -> Finding:
    means = [(k + 2) / 2 for k in range(case.steps)]
    off = [abs(got - mean) for got, mean in zip(out.counts.raw, means, strict=True)]
    if max(off) <= 1:
        return float(max(off))
    words = f"the counts 1 to {case.steps} were averaged to {out.counts.raw}, their means are {means}"
    return Difference("average", f"{out.counts.path}[-1]", out.counts.raw[-1], means[-1], words)


@law(
    "parameters_to_vector joins the elements of all parameters in order, vector_to_parameters deals them out again.",
    source="torch.nn.utils.parameters_to_vector, vector_to_parameters",
    when=lambda case: case.what == "vector",
    obliges={"twice", "dtype=float64", "dtype=bfloat16"},
)
def parameters_are_joined_and_dealt_out(case: Aftercare, out: Outcome) -> Finding:
    sizes = [PARTS[name].size for name in case.order] + [PARTS[case.order[0]].size] * case.twice
    joined = np.concatenate([PARTS[name].reshape(-1) for name in (*case.order, *case.order[: case.twice])])
    ends = np.cumsum(sizes)
    dealt = [list(np.arange(1.0 + end - size, 1.0 + end)) for size, end in zip(sizes, ends, strict=True)]
    if case.twice:  # what is listed twice has the numbers that it got last
        dealt[0] = dealt[-1]
    return every(
        same(out.flat, joined),
        same(out.tracked, True),
        is_true(out.kept, "a parameter changed its shape, dtype or place in the graph"),
        is_true(out.refused, "what is no tensor was dealt out"),
        same(out.parts, dealt),
    )


@law(
    "What vector_to_parameters deals out is a copy: the vector and the parameters go their own ways.",
    source="torch.nn.utils.vector_to_parameters: copy slices of a vector into an iterable of parameters",
    when=lambda case: case.what == "vector",
    advisory=True,  # no release that is looked at obeys it, so that no fault can be seen to break it
)
def dealt_parameters_are_copies(case: Aftercare, out: Outcome) -> Finding:
    return is_true(out.copied, "writing to the vector wrote to the parameters")


@law(
    "GradScaler scales the loss, unscales the gradient, leaves a step with infinite gradients out, of that optimizer alone, "
    "and adapts its scale or takes what is given; one that is not enabled does nothing.",
    source="torch.amp.GradScaler: growth_factor, backoff_factor, growth_interval, enabled; update: new_scale",
    when=lambda case: case.what == "scale" and case.excess != "sum",
    obliges={"growth=1", "growth=3", "unscaled_first", "sparse", "beside=ahead", "beside=behind", "climbing"}
    | {"path=foreach", "path=fused", "optimizer=Adam", "optimizer=AdamW", "optimizer=Adagrad", "momentum"}
    | {"given=number", "given=tensor", "carried=loaded", "carried=warm", "carried=copied", "enabled=False"}
    | {"excess=negative", "excess=undefined", "excess=one", "unscaled_in_excess"},
)
def losses_are_scaled(case: Aftercare, out: Outcome) -> Finding:
    return scaled_by_the_formula(case, out)


@law(
    "A gradient whose entries add up to infinity is infinite, and its step is left out, in a sparse gradient as in a dense one.",
    source="torch.amp.GradScaler.step: skips the step if the gradients contain infs or NaNs; torch.sparse: uncoalesced tensors",
    when=lambda case: case.what == "scale" and case.excess == "sum",
    obliges={"sparse", "unscaled_in_excess", "unscaled_first", "path=fused", "path=foreach"},
)
def sums_beyond_all_numbers_are_found(case: Aftercare, out: Outcome) -> Finding:
    return scaled_by_the_formula(case, out)


def scaled_by_the_formula(case: Aftercare, out: Outcome) -> Finding:
    """Scales, losses and weights are those of steps that are taken, or left out, as they must."""
    after, before = case.scales
    losses = [
        scale if step in case.bad else loss
        for step, (scale, loss) in enumerate(zip(before, out.losses.raw, strict=True))
    ]
    weights, others = case.weights(case.bad), case.weights(() if case.beside in ("ahead", "behind") else case.bad)
    return every(
        same(out.scales, after),
        within(out.weights, *weights),
        within(out.others, *others) if case.beside else same(out.others, 8.0),
        same(out.losses, losses),
        is_true(out.unscaled, "a gradient was not unscaled"),
    )


@law(
    "A scaler's state_dict has its scale, its factors and its interval, none if it is not enabled; who loads it has them.",
    source="torch.amp.GradScaler.state_dict, load_state_dict",
    when=lambda case: case.what == "scale" and case.excess != "sum",
    obliges={"carried=loaded", "carried=warm", "carried=copied", "enabled=False", "given=number"},
)
def scalers_keep_their_state(case: Aftercare, out: Outcome) -> Finding:
    if not case.enabled:
        return every(same(out.state, {}), same(out.factors, []))
    wanted = {"growth_factor": 4.0, "backoff_factor": 0.5, "growth_interval": case.growth}
    state = {"scale": case.scales[0][-1], **wanted}
    got = {name: out.state.raw.get(name) for name in state}
    return every(same(Field(got, "seen['state']", lambda raw: raw), state), same(out.factors, list(wanted.values())))


@law(
    "A scaler tells its factors and its interval and takes others, before its first loss and later, enabled or not.",
    source="torch.amp.GradScaler.get_growth_factor, get_backoff_factor, get_growth_interval, set_growth_factor, …",
    when=lambda case: case.what == "scale",
    obliges={"enabled=True", "carried=copied"},
)
def scalers_tell_their_factors(case: Aftercare, out: Outcome) -> Finding:
    return same(out.untold, [])


@law(
    "A scaler refuses to unscale or step twice before an update, gradients in half precision, and a closure.",
    source="torch.amp.GradScaler.unscale_: twice between two steps raises; step: closure use is not supported",
    when=lambda case: case.what == "scale",
    obliges={"unscaled_first", "path=fused", "beside=ahead"},
)
def scalers_refuse_what_they_must(case: Aftercare, out: Outcome) -> Finding:
    return same(out.taken, [])


@law(
    "With error_if_nonfinite a norm that is no finite number is refused, and no gradient is scaled.",
    source="torch.nn.utils.clip_grad_norm_: error_if_nonfinite",
    when=lambda case: case.poison != 0.0,
    obliges={"poison", "foreach=True", "foreach=False", "kind=inf", "kind=1"},
)
def infinite_norms_are_refused(case: Aftercare, out: Outcome) -> Finding:
    found = same(out.refused, True)
    return found if isinstance(found, Difference) else is_true(out.same, "a gradient changed though it was refused")


@law("Nothing but the gradients is written.", source="no side effects")
def aftercare_writes_nothing_else(case: Aftercare, out: Outcome) -> Finding:
    return unwritten(out, "a", "b", "c")


test_scope, test_product, test_random = aftercare.tests()
