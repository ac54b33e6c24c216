"""Aftercare: clipped gradients, averaged weights and scaled losses are those of their formulas."""

from __future__ import annotations

import numpy as np

from embcheck.comparison import every, is_true, same, unwritten, within
from embcheck.format import FORMATS
from embcheck.law import Family
from embcheck.outcome import Outcome
from embcheck.result import Difference, Finding, Holds
from embcheck.space import Space
from embcheck.training.aftercare_case import PARTS, VALUES, Aftercare
from embcheck.training.aftercare_space import AXES, canonical, plan, scope

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
             "frozen", "above>32768"},
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
    off = out.counts.derived(f"max(abs(got - mean) for got, mean in zip({{}}, {means}, strict=True))")
    if off.raw <= 1:
        return Holds(float(off.raw))
    words = f"the counts 1 to {case.steps} were averaged to {out.counts.raw}, their means are {means}"
    return Difference("average", off.path, off.raw, 0.0, words, 1.0)


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
    got = out.state.derived(f"{{name: {{}}.get(name) for name in {list(state)}}}")
    return every(same(got, state), same(out.factors, list(wanted.values())))


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
