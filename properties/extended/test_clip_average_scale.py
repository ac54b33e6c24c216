"""Aftercare: clipped gradients, averaged weights and scaled losses are those of their formulas."""

import numpy as np

from embcheck.core.comparison import every, is_true, same, unwritten, within
from embcheck.core.format import FORMATS
from embcheck.core.law import Family
from embcheck.core.outcome import Outcome
from embcheck.core.result import UNASKED, Difference, Finding, Holds
from embcheck.families.clip_average_scale.cases import PARTS, VALUES, ClipAverageScaleCase
from embcheck.families.clip_average_scale.space import SPACE, plan
from embcheck.families.tied_training.installed import lacking

clip_average_scale = Family("clip_average_scale", SPACE, plan, cost=4.0, untaken=lacking)
law = clip_average_scale.law


def rounding(case: ClipAverageScaleCase) -> float:
    """A power, a sum of eight terms, a root, a sum, a quotient, a product; float32 at least in between, and a sum of squares in
    it of so many terms."""
    formats = [FORMATS[case.dtype], FORMATS[case.other_dtype or case.dtype]]
    terms = 2 * case.elements * max(min(2.0**-24, fmt.unit_roundoff) for fmt in formats)
    return float(64 * max(*(fmt.unit_roundoff for fmt in formats), 2.0**-53) + terms)


@law(
    "clip_grad_norm_ scales by max_norm/(norm + 1e-6) and never up; clip_grad_value_ clamps.",
    source="torch.nn.utils.clip_grad_norm_, clip_grad_value_",
    when=lambda case: case.what in ("norm", "value") and not case.poison,
    must_cover={"what=value", "limit=0.0", "limit=100.0", "kind=inf", "foreach=False", "foreach=True", "dtype=bfloat16",
             "beyond_one_half", "kind_is_text", "taken & members>1 & single=False & kind=2.0",
             "kind=inf & other_dtype=float64 & first_is_largest"}
    | {f"kind=inf & least_is_largest & foreach={foreach}" for foreach in (False, True)},
)  # fmt: skip
def clip_grad_follows_the_formula(case: ClipAverageScaleCase, out: Outcome) -> Finding:
    if case.what == "norm" and out.refused.raw:
        return same(out.refused, False)
    return every(
        is_true(out.kept, "a gradient was replaced"),
        same(out.none, case.what == "value"),
        is_true(out.nothing, "where no parameter has a gradient the norm is not zero"),
        *clipped(case, out, "", 1.0),
        *((is_true(out.alike, "equal gradients were clipped otherwise"),) if case.before else ()),
        *(clipped(case, out, "earlier_", -0.5) if case.before else ()),
    )


def clipped(case: ClipAverageScaleCase, out: Outcome, prefix: str, times: float) -> list[Finding]:
    """Gradients that were so many times as large are clipped by the formula."""
    findings, share, total = list[Finding](), rounding(case), abs(times) * case.total
    for name, grad in case.grads.items():
        got, wanted = getattr(out, f"{prefix}{name}"), times * grad
        if case.what == "value":
            findings.append(same(got, np.clip(wanted, -case.limit, case.limit)))
            continue
        factor = min(1.0, case.limit / (total + 1e-6))
        shrunk = wanted * factor
        findings.append(within(got, shrunk, share * np.abs(shrunk) if factor < 1 else 0.0))
    if case.what == "norm":
        findings.append(within(getattr(out, f"{prefix}total"), np.array([total]), share * total))
    return findings


@law(
    "AveragedModel copies first, then averages equally or exponentially; it is called as the model is.",
    source="torch.optim.swa_utils.AveragedModel: avg_fn, multi_avg_fn, use_buffers",
    when=lambda case: case.what == "average",
    must_cover={"average=own", "buffers", "dtype=bfloat16", "average=ema & buffers & counter & steps>4"},
)
def averaged_model_follows_the_formula(case: ClipAverageScaleCase, out: Outcome) -> Finding:
    averages = case.averages
    bound = 4 * case.steps * FORMATS[case.dtype].unit_roundoff * np.abs(VALUES[: case.steps]).max()
    last = np.array(VALUES[: case.steps])
    # Of integers each exponential average is that of the one before, which is an integer, too, and the next number.
    counted = "all(abs(4 * got - 3 * mean - k) < 4 for k, (mean, got) in enumerate(zip([1, *{}], {}), 1))"
    exponential = case.average.startswith("ema") and case.buffers and case.counter
    return every(
        within(out.weights, averages, bound),
        is_true(out.counts.derived(counted), "an average of integers is not near that of the last two")
        if exponential
        else UNASKED,
        same(out.called, 3.0),  # a weight of 3 times one, which is given as an argument and by its keyword
        within(out.buffered, averages, bound) if case.buffers else same(out.buffered, last),
        same(out.count, case.steps),
        within(out.others, averages, 4 * case.steps * FORMATS[case.unlike].unit_roundoff * np.abs(last).max()),
        is_true(out.tied, "the average of a tied weight is two"),
        is_true(out.apart, "the average shares memory with the model, or wrote to it"),
    )


@law(
    "update_bn sets a BatchNorm's running statistics to the batches' averages, and keeps mode and each momentum.",
    source="torch.optim.swa_utils.update_bn",
    when=lambda case: case.what == "average",
)
def update_bn_averages_batch_statistics(case: ClipAverageScaleCase, out: Outcome) -> Finding:
    # Batches of v and 3v have the mean 2v and the unbiased variance 2v²; a running average rounds five times a batch.
    values = np.array(VALUES[: case.steps])
    due = np.array([(2 * values).mean(), (2 * values**2).mean()])
    bound = 5 * case.steps * 2.0**-53 * (2 * values**2).max(initial=1.0)
    kept = [[0.25, None, [training] * 4, case.steps] for training in (False, True)]
    return every(same(out.batched, kept), within(out.statistics, np.stack([due, due]), bound))


@law(
    "An averaged integer buffer is the mean, up to less than one.",
    source="torch.optim.swa_utils.AveragedModel: use_buffers, running averages for both the parameters and the buffers",
    when=lambda case: case.what == "average" and case.counter and case.buffers and case.average == "equal",
    must_cover={"counter"},
)
def averaged_integer_buffers_are_near_the_mean(case: ClipAverageScaleCase, out: Outcome) -> Finding:
    means = [(k + 2) / 2 for k in range(case.steps)]
    off = out.counts.derived(f"max(abs(got - mean) for got, mean in zip({{}}, {means}, strict=True))")
    if off.raw <= 1:
        return Holds(float(off.raw))
    words = f"the counts 1 to {case.steps} were averaged to {out.counts.raw}, their means are {means}"
    return Difference("average", off.path, off.raw, 0.0, words, 1.0)


@law(
    "parameters_to_vector joins all elements in order; vector_to_parameters writes them back.",
    source="torch.nn.utils.parameters_to_vector, vector_to_parameters",
    when=lambda case: case.what == "vector",
    must_cover={"twice", "dtype=float64", "dtype=bfloat16", "members=1"},
)
def parameters_to_vector_round_trips(case: ClipAverageScaleCase, out: Outcome) -> Finding:
    parts = [case.part(name).reshape(-1) for name in (*case.order, *case.order[: case.twice])]
    joined = np.concatenate(parts)
    ends = np.cumsum([part.size for part in parts])
    numbers = np.split(1.0 + np.arange(joined.size) % 97, ends[:-1])
    dealt, gradients = [list(each) for each in numbers], [list(each) for each in numbers]
    if case.twice:  # what is listed twice has the numbers that it got last, and the gradients of both
        dealt[0] = dealt[-1]
        gradients[0] = gradients[-1] = list(numbers[0] + numbers[-1])
    return every(
        same(out.flat, joined),
        same(out.tracked, not case.frozen),
        is_true(out.apart, "the vector shares a parameter's memory"),
        same(out.gradients, [None] * len(parts) if case.frozen else gradients),
        is_true(out.kept, "a parameter changed its shape, dtype or place in the graph"),
        same(out.parts, dealt),
    )


@law(
    "vector_to_parameters copies: later writes to vector or parameters do not show in the other.",
    source="torch.nn.utils.vector_to_parameters: copy slices of a vector into an iterable of parameters",
    when=lambda case: case.what == "vector",
    advisory=True,  # no release that is looked at obeys it, so that no fault can be seen to break it
)
def vector_to_parameters_copies(case: ClipAverageScaleCase, out: Outcome) -> Finding:
    return is_true(out.copied, "writing to the vector wrote to the parameters")


@law(
    "GradScaler scales losses, unscales gradients, skips steps with infinite gradients and adapts its scale.",
    source="torch.amp.GradScaler: growth_factor, backoff_factor, growth_interval",
    when=lambda case: case.what == "scale" and case.excess != "sum",
    must_cover={"growth=1", "growth=3 & steps=6 & left_out & first_left_out=False", "unscaled_first & path=fused"}
    | {"sparse", *(f"beside={place} & left_out" for place in ("ahead", "behind", "followed"))}
    | {f"beside={place} & left_out & other_dtype=float64" for place in ("before", "behind")}
    | {"path=foreach", "path=fused", "optimizer=Adam", "optimizer=AdamW", "optimizer=Adagrad", "momentum"}
    | {"carried=loaded", "carried=copied", "excess=undefined", "excess=one", "unscaled_in_excess"},
)
def grad_scaler_follows_the_documentation(case: ClipAverageScaleCase, out: Outcome) -> Finding:
    return scaled_by_the_formula(case, out)


@law(
    "A gradient whose entries sum to infinity skips the step, sparse or dense.",
    source="torch.amp.GradScaler.step: skips the step if the gradients contain infs or NaNs; torch.sparse: uncoalesced tensors",
    when=lambda case: case.what == "scale" and case.excess == "sum",
    must_cover={"sparse", "unscaled_in_excess", "unscaled_first", "path=fused", "path=foreach"},
)
def grad_scaler_finds_infinite_gradients(case: ClipAverageScaleCase, out: Outcome) -> Finding:
    return scaled_by_the_formula(case, out)


def scaled_by_the_formula(case: ClipAverageScaleCase, out: Outcome) -> Finding:
    """Scales, losses and weights are those of steps that are taken, or left out, as they must."""
    after, *_ = case.scales
    return every(
        same(out.scales, after),
        same(out.counts, case.counts),
        within(out.weights, *case.weights(case.bad, (case.unit, 2 * case.unit), case.dtype)),
        within(out.others, *case.others(case.bad)) if case.beside else same(out.others, 8.0),
        same(out.losses, [1.0] * len(after)),
        is_true(out.unscaled, "a gradient was not unscaled"),
        is_true(out.multiplied, "a matrix or its gradient was not scaled"),
    )


@law(
    "GradScaler.state_dict has its scale, factors and interval, and load_state_dict restores them.",
    source="torch.amp.GradScaler.state_dict, load_state_dict",
    when=lambda case: case.what == "scale" and case.excess != "sum",
    must_cover={"carried=loaded", "carried=copied", "carried=set", "carried=loaded & growth=3 & steps>=6"},
)
def grad_scaler_state_dict_round_trips(case: ClipAverageScaleCase, out: Outcome) -> Finding:
    wanted = {"growth_factor": 4.0, "backoff_factor": 0.5, "growth_interval": case.growth}
    after, _, good = case.scales
    state = {"scale": after[-1], **wanted, "_growth_tracker": good}
    got = out.states.derived(f"[{{name: each.get(name) for name in {list(state)}}} for each in {{}}]")
    return every(same(got, [state] * 4), same(out.factors, list(wanted.values())))


@law(
    "Unscaling or stepping twice between two updates raises.",
    source="torch.amp.GradScaler.unscale_, step: once between two updates",
    when=lambda case: case.what == "scale",
    must_cover={"unscaled_first", "path=fused", "beside=ahead"},
)
def invalid_grad_scaler_calls_raise(case: ClipAverageScaleCase, out: Outcome) -> Finding:
    return same(out.taken, [])


@law(
    "With error_if_nonfinite a norm that is not finite raises and no gradient is scaled.",
    source="torch.nn.utils.clip_grad_norm_: error_if_nonfinite",
    when=lambda case: case.poison != 0.0,
    must_cover={"poison", "poison=nan & kind=inf", "foreach=True", "foreach=False", "kind=1"},
)
def nonfinite_norms_raise_if_asked(case: ClipAverageScaleCase, out: Outcome) -> Finding:
    found = same(out.refused, True)
    return found if isinstance(found, Difference) else is_true(out.same, "a gradient changed though it was refused")


@law("Nothing but the documented tensors is written.", source="no side effects")
def clipping_and_averaging_write_nothing_else(case: ClipAverageScaleCase, out: Outcome) -> Finding:
    return unwritten(out, *PARTS)


test_scope, test_product, test_random = clip_average_scale.tests()
