"""Aftercare: clipped gradients, averaged weights and scaled losses are those of their formulas."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from embcheck.axes import Axes, Input
from embcheck.comparison import Difference, Finding, every, is_true, same, unwritten, within
from embcheck.format import FORMATS, Floats
from embcheck.law import Family, Plan
from embcheck.outcome import Outcome
from embcheck.space import Space
from embcheck.training.aftercare import averaged, clipped, flattened, scaled

#: The gradients of three parameters: a matrix, a vector, a number.
GRADS: dict[str, Any] = {"a": [[3.0, -4.0], [0.5, 0.0]], "b": [12.0, -1.0, 2.0], "c": -8.0}
#: What is flattened, beside them an empty table and an empty vector.
PARTS = {name: np.array(grad) for name, grad in GRADS.items()} | {"e": np.zeros((0, 2)), "f": np.zeros((3, 0))}
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
VALUES = (1.0, 3.0, -5.0, 8.0, 0.0, 2.0)


class _AftercareAxes(NamedTuple):
    """The axes, simplest value first."""

    what: str = "norm"
    limit: float = 1.0
    kind: Any = 2.0
    foreach: Any = None
    as_list: bool = True
    average: str = "equal"
    #: whether a matrix has a sparse gradient, as a table's may be
    sparse: bool = False
    buffers: bool = False
    #: whether one of the buffers is a number of steps
    counter: bool = False
    #: whether the weights that are averaged do not require grad
    frozen: bool = False
    growth: int = 2
    bad: tuple[int, ...] = ()
    unscaled_first: bool = False
    #: where a parameter with a group of its own stands, whose gradients are finite
    beside: str = ""
    #: error_if_nonfinite, and a number that is put among the gradients
    strict: bool = False
    #: how many times as large the gradients are: of 5000 the norm of float16 numbers is none
    times: float = 1.0
    #: whether a gradient without elements is among them
    hollow: bool = False
    poison: float = 0.0
    steps: int = 6
    dtype: str = "float32"
    #: the dtype of the vector's gradient
    other_dtype: str = ""
    #: in which order parameters are flattened, and whether the first is listed again
    order: tuple[str, ...] = ("a", "b", "c")
    twice: bool = False


class Aftercare(Axes, _AftercareAxes):  # type: ignore[misc]
    """Gradients that are clipped, weights that are averaged, or losses that are scaled."""

    def facts(self) -> dict[str, Any]:
        """The axes and: in_double (something is averaged in float64), beyond_half (float16 numbers whose norm is above
        65504, the largest of them)."""
        half = self.dtype == "float16" and self.other_dtype in ("", "float16")
        return {
            **self.axes,
            "in_double": self.what == "average" and "float64" in (self.dtype, self.other_dtype),
            "beyond_half": half and self.what == "norm" and self.total > 65504,
        }

    @property
    def total(self) -> float:
        """The norm of all gradients together."""
        every_one = self.times * np.concatenate([np.abs(np.array(grad)).reshape(-1) for grad in GRADS.values()])
        kind = float(self.kind)
        return float(every_one.max() if np.isinf(kind) else (every_one**kind).sum() ** (1 / kind))

    @property
    def averages(self) -> Floats:
        """The average after each update; the first update copies."""
        found, mean = [], 0.0
        for count, value in enumerate(VALUES[: self.steps]):
            share = {"equal": 1 / (count + 1), "swa": 1 / (count + 1), "own": 0.5}.get(self.average, 0.25)
            mean = value if count == 0 else mean + (value - mean) * share
            found.append(mean)
        return np.array(found)

    @property
    def scales(self) -> tuple[list[float], list[float], Floats]:
        """The scale after each step, that of each loss, and the weights: a bad step is left out."""
        scale, good, weight = 8.0, 0, 8.0
        after, before, weights = [], [], []
        for step in range(self.steps):
            before.append(scale)
            if step in self.bad:
                scale, good = scale * 0.5, 0
            else:
                weight, good = weight - 0.5, good + 1
                if good == self.growth:
                    scale, good = scale * 4, 0
            after.append(scale)
            weights.append([weight, weight])
        return after, before, np.array(weights)


def plan(case: Aftercare) -> Plan:
    fmt = FORMATS[case.dtype]
    if case.what == "average":
        values = Input(fmt.encode(np.array(VALUES[: case.steps])), case.dtype)
        options = {"kind": case.average, "buffers": case.buffers, "counter": case.counter, "frozen": case.frozen}
        options["other"] = case.other_dtype if case.other_dtype != case.dtype else ""
        return Plan(averaged, {"values": values}, options)
    if case.what == "vector":
        fed = {name: Input(fmt.encode(PARTS[name]), case.dtype) for name in case.order}
        return Plan(flattened, fed, {"order": case.order, "twice": case.twice})
    if case.what == "scale":
        options = {"growth": case.growth, "bad": case.bad, "unscaled_first": case.unscaled_first, "steps": case.steps}
        options |= {"sparse": case.sparse, "beside": case.beside}
        return Plan(scaled, {}, options)
    dtypes = {name: case.other_dtype or case.dtype if name == "b" else case.dtype for name in GRADS}
    grads = {name: case.times * np.array(grad) for name, grad in GRADS.items()}
    fed = {name: Input(FORMATS[dtypes[name]].encode(grad), dtypes[name]) for name, grad in grads.items()}
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
    }
    return Plan(clipped, fed, options)


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
    "beside": ("", "before", "after"),
    "strict": (False, True),
    "poison": (0.0, float("inf"), float("-inf")),
    "steps": (6, 1, 2, 3),
    "times": (1.0, 5000.0),
    "hollow": (False, True),
    "dtype": ("float32", "float64", "bfloat16", "float16"),
    "other_dtype": ("", "float64", "float32"),
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


def canonical(case: Aftercare) -> Aftercare | None:
    """The case with a poison only where that is refused: what is left of the gradients else is another law's."""
    changes: dict[str, Any] = {}
    if case.poison and not (case.what == "norm" and case.strict):
        changes["poison"] = 0.0
    if case.what not in ("norm", "value") or "float16" not in (case.dtype, case.other_dtype):
        changes["times"] = 1.0
    if case.times > 1 and case.kind in (1, 1.0, 3.0):
        changes["kind"] = 2.0  # the powers of 60000 are none of float16's numbers, nor need they be
    return case.but(**changes)


aftercare = Family(
    "aftercare", Space(Aftercare, AXES, canonical, scope, flags=("what", "dtype"), strength=2), plan, cost=4.0
)
law = aftercare.law


@law(
    "clip_grad_norm_ returns the norm of all gradients and scales them by max_norm/(norm + 1e-6), never up; "
    "clip_grad_value_ clamps; what has no gradient is passed over.",
    source="torch.nn.utils.clip_grad_norm_, clip_grad_value_",
    when=lambda case: case.what in ("norm", "value") and not case.poison,
    obliges={"what=value", "limit=0.0", "limit=100.0", "kind=inf", "foreach=False", "foreach=True", "dtype=bfloat16"},
)
def gradients_are_clipped(case: Aftercare, out: Outcome) -> Finding:
    # A power, a sum of eight terms, a root, a sum, a quotient, a product; float32 at least in between.
    formats = [FORMATS[case.dtype], FORMATS[case.other_dtype or case.dtype]]
    share = 64 * max(*(fmt.unit_roundoff for fmt in formats), 2.0**-53)
    if case.what == "norm" and out.refused.raw:
        return same(out.refused, False)
    findings = []
    findings += [is_true(out.kept, "a gradient was replaced"), same(out.none, case.what == "value")]
    for name, grad in GRADS.items():
        wanted = case.times * np.array(grad)
        if case.what == "value":
            findings.append(same(getattr(out, name), np.clip(wanted, -case.limit, case.limit)))
            continue
        factor = min(1.0, case.limit / (case.total + 1e-6))
        wanted = wanted * factor
        findings.append(within(getattr(out, name), wanted, share * np.abs(wanted) if factor < 1 else 0.0))
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
    "GradScaler scales the loss, unscales the gradient, leaves a step with infinite gradients out, and adapts its scale.",
    source="torch.amp.GradScaler: growth_factor, backoff_factor, growth_interval",
    when=lambda case: case.what == "scale",
    obliges={"growth=1", "growth=3", "unscaled_first", "sparse"},
)
def losses_are_scaled(case: Aftercare, out: Outcome) -> Finding:
    after, before, weights = case.scales
    losses = [
        scale if step in case.bad else loss
        for step, (scale, loss) in enumerate(zip(before, out.losses.raw, strict=True))
    ]
    others = weights if case.beside else np.full_like(weights, 8.0)
    return every(
        same(out.weights, weights), same(out.others, others), same(out.scales, after), same(out.losses, losses)
    )


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
