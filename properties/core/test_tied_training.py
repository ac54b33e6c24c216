"""Tying: an embedding and a head that share their weight train one parameter, whatever the optimizer and its flags."""

from collections.abc import Callable
from typing import Any

import numpy as np

from embcheck.core.comparison import every, identical, is_true, refuses, same, unwritten, within
from embcheck.core.law import Condition, Family, Judgement
from embcheck.core.layout import view_of
from embcheck.core.outcome import Outcome
from embcheck.core.result import HOLDS, UNASKED, Difference, Finding
from embcheck.families.tied_training import algorithms, conditions, oracle
from embcheck.families.tied_training.cases import TiedTrainingCase
from embcheck.families.tied_training.installed import kept_state, lacking, refused_here
from embcheck.families.tied_training.optimizers import KINDS, paths
from embcheck.families.tied_training.programs import CURVED
from embcheck.families.tied_training.space import COPIES, RESTORING, SPACE, plan

#: Layouts whose strides a state tensor keeps (torch.preserve_format).
DENSE = frozenset({"contiguous", "offset", "transposed"})

tied_training = Family(
    "tied_training",
    SPACE,
    plan,
    refused=lambda case: case.refused,
    cost=8.0,
    stride=2,
    not_applicable=refused_here,
    untaken=lacking,
)


def law(sentence: str, when: Condition = lambda case: True, **options: Any) -> Callable[[Judgement], Judgement]:
    """A law of training, of which lists that name a parameter twice are none."""
    return tied_training.law(sentence, when=lambda case: not case.twice and when(case), **options)


# -- one parameter -------------------------------------------------------------------------------------------------


@law(
    "embedding.weight and head.weight are one Parameter before and after every step.",
    source="torch.nn.Module.__setattr__",
)
def tied_pair_is_one_parameter(case: TiedTrainingCase, out: Outcome) -> Finding:
    return is_true(out.tied, "the weights of embedding and head are two Parameters")


@law(
    "parameters() lists the tied weight once; state_dict() lists it under every name.",
    source="nn.Module.named_parameters: remove_duplicate",
)
def tied_weight_is_listed_once(case: TiedTrainingCase, out: Outcome) -> Finding:
    several = is_true(out.names.derived("len({}) >= 2"), f"{len(out.names.raw)} names of the tied weight")
    return every(same(out.listed, [1, 1]), same(out.stored, out.names), several)


@law("An optimizer holds the tied weight once, with one state.", source="torch.optim.Optimizer.state")
def optimizer_has_one_state_per_tied_weight(case: TiedTrainingCase, out: Outcome) -> Finding:
    kind, acted = KINDS[case.optimizer], not all(case.missing[0 :: case.turns])
    stateful = acted and (kind.state or kind.counts or case.optimizer == "Muon")
    return every(same(out.optimized, 1), same(out.packed, out.unpacked), same(out.slots, 1) if stateful else UNASKED)


@law(
    "A step keeps the Parameter object, its memory, strides, dtype, requires_grad and gradient.",
    source="torch.optim.Optimizer.step",
)
def step_keeps_the_parameter_object(case: TiedTrainingCase, out: Outcome) -> Finding:
    return every(
        is_true(out.kept, "step() replaced or changed a parameter's gradient, memory, strides, dtype or flags"),
        is_true(out.in_place, "the parameter moved to other memory"),
        is_true(out.same, "the parameter became another object") if case.event not in COPIES else UNASKED,
    )


@law("A step writes the parameters, and no memory around them.", source="no side effects")
def step_writes_only_parameters(case: TiedTrainingCase, out: Outcome) -> Finding:
    return unwritten(out, "weight", "bias", "twin", "twin_bias", "grad")


@law("step() returns None, or what its closure returned; the closure is called once.", source="Optimizer.step: closure")
def step_returns_the_closures_loss(case: TiedTrainingCase, out: Outcome) -> Finding:
    calls = [1] * case.steps if case.optimizer != "LBFGS" else out.calls.raw
    return every(is_true(out.returned, "step() returned something else"), same(out.calls, calls))


# -- the gradient --------------------------------------------------------------------------------------------------


@law(
    "The tied weight's gradient is the sum over both paths: one_hot(i)ᵀ dY + dZᵀ H.",
    source="the chain rule; torch.autograd accumulates into one .grad",
    must_cover={"sparse_gradient", "several_steps", "absent_row", "dtype=float16", "dtype=bfloat16", "dtype=float64"}
    | {f"padding_idx={row} & uses={uses} & sparse=False" for row, uses in ((0, "both"), (-1, "lookup"))},
    when=lambda case: case.clip in ("unclipped", "loose"),
)
def tied_gradient_is_the_sum_of_both_paths(case: TiedTrainingCase, out: Outcome) -> Finding:
    return same(out.grads, case.gradients[0])


@law(
    "After zero_grad() a gradient is None, or zeros with set_to_none=False, until the next backward pass.",
    source="Optimizer.zero_grad: set_to_none",
)
def zero_grad_clears_the_gradient(case: TiedTrainingCase, out: Outcome) -> Finding:
    return same(out.missing, case.missing)


@law(
    "clip_grad_norm_ counts the tied gradient once; clip_grad_value_ clamps its elements.",
    source="torch.nn.utils.clip_grad_norm_",
    when=lambda case: case.clip != "unclipped",
)
def clip_grad_norm_counts_tied_gradient_once(case: TiedTrainingCase, out: Outcome) -> Finding:
    values = np.stack([due.value for due in case.due])
    errors = np.stack([np.broadcast_to(due.error, case.shape) for due in case.due])
    # Scaling each gradient by one factor or dividing it by another is the same length of evaluation: twice.
    found = within(out.grads, values, 2 * errors)
    if case.clip.startswith("value"):
        return found
    norm = case.norm(case.steps - 1)
    return every(found, within(out.norm, norm.value.reshape(1), 2 * norm.error))


# -- the step ------------------------------------------------------------------------------------------------------


@law(
    "A step of the tied weight equals, bit for bit, an untied weight's step with the summed gradient.",
    source="tying: one parameter",
    must_cover={"event=reloaded_saved", "event=copied", "event=accumulated", "sparse_gradient", "several_steps"},
)
def tied_step_equals_untied_step(case: TiedTrainingCase, out: Outcome) -> Finding:
    return every(
        identical(out.weights, out.twin_weights), identical(out.biases, out.twin_biases) if case.bias else UNASKED
    )


@law(
    "The optimizer state of the tied weight equals, bit for bit, that of an untied weight.",
    source="torch.optim.Optimizer.state_dict, load_state_dict",
)
def tied_state_equals_untied_state(case: TiedTrainingCase, out: Outcome) -> Finding:
    if out.state_values.raw is None or out.twin_state.raw is None:
        return same(out.state_values.derived("{} is None"), out.twin_state.derived("{} is None"))
    strides = UNASKED if case.event in RESTORING else same(out.state_strides, out.twin_strides)
    return every(identical(out.state_values, out.twin_state), strides)


@law(
    "The weights after each step follow the optimizer's documented algorithm.",
    source="torch.optim: the algorithm boxes",
    must_cover={"several_steps", "sparse_gradient", "optimizer=SGD & momentum=0.5 & weight_decay=unset & zero=to_zeros & steps>2"}
    | {f"optimizer=SGD & sparse_gradient & foreach=True & zero={zeroing}" for zeroing in ("to_zeros", "model_to_zeros")}
    | {f"optimizer={name}&rows>1000&uses=lookup{path and f'&{path}=True'}" for name in algorithms.FORMULAS for path in paths(name)},
    # Muon's iteration in half precision multiplies matrices in a format of its own: no bound of it is derived here.
    when=lambda case: (
        case.optimizer in algorithms.FORMULAS and not (case.optimizer == "Muon" and case.dtype in ("float16", "bfloat16"))
    ),
)  # fmt: skip
def step_follows_the_formula(case: TiedTrainingCase, out: Outcome) -> Finding:
    return within(out.weights, *case.expected_weights)


@law(
    "The bias in the same optimizer follows the documented algorithm too.",
    source="torch.optim: the algorithm boxes; foreach and fused steps take all parameters together",
    must_cover={"several_steps"},
    when=conditions.bias_steps_alike,
)
def bias_follows_the_formula(case: TiedTrainingCase, out: Outcome) -> Finding:
    return within(out.biases, *case.expected_biases)


@law(
    "The first step of LBFGS on a linear loss moves against the gradient.",
    source="minFunc; torch.optim.LBFGS: max_iter, max_eval, tolerances",
    when=lambda case: case.optimizer == "LBFGS" and conditions.iterates_to_the_end(case),
    must_cover={"faint", "sparse & uses=lookup"},
)
def lbfgs_first_step_descends(case: TiedTrainingCase, out: Outcome) -> Finding:
    weight, bias = (part[0] for part in case.gradients)
    bias = bias if case.bias else bias[:0]
    first = algorithms.lbfgs_first_step(case.flags, case.data.weight, weight, bias, case.rates[0], case.format)
    return within(out.weights[0], first.value, oracle.MULTIPLE * first.error)


@law(
    "LBFGS follows the two-loop recursion; with strong_wolfe its steps satisfy Wolfe's conditions.",
    source="Nocedal and Wright 2006, algorithm 7.4, (3.7); torch.optim.LBFGS: history_size, line_search_fn",
    when=lambda case: case.curved,
    must_cover={"curved"},
)
def lbfgs_follows_the_two_loop_recursion(case: TiedTrainingCase, out: Outcome) -> Finding:
    start, curvatures = np.array([[2.0], [-1.0], [1.0]]), np.array([[1.0], [2.0], [4.0]])
    flags, slope = CURVED["recursed"], curvatures * start
    after, bound = algorithms.lbfgs_weights(start, curvatures, flags["lr"], flags["max_iter"], flags["history_size"])
    # At this length the loss along the gradient is least; up to 0.9 of it from there the slope is at most 0.9 of the first one.
    length = (slope**2).sum() / (curvatures * slope**2).sum()
    return every(
        within(out.recursed, after, oracle.MULTIPLE * bound),
        within(out.searched, start - length * slope, 0.9 * length * np.abs(slope)),
        same(out.recursed_bias, [0.0] * 3),
        same(out.searched_bias, [0.0] * 3),
    )


@law(
    "ASGD's average equals the parameter until t0, then moves towards it by 1/max(1, t − t0).",
    source="Polyak and Juditsky 1992; torch.optim.ASGD: t0",
    when=lambda case: conditions.is_plain(case) and case.optimizer == "ASGD" and case.dtype in ("float32", "float64"),
    must_cover={"several_steps"},
)
def asgd_average_follows_the_formula(case: TiedTrainingCase, out: Outcome) -> Finding:
    return within(kept_state(out, "ax"), *algorithms.asgd_average(case, np.asarray(out.weights.values, np.float64)))


@law(
    "Muon's momentum buffer is momentum · b + (1 − momentum) · g in every dtype.",
    source="torch.optim.Muon: momentum",
    when=lambda case: conditions.is_plain(case) and case.optimizer == "Muon" and case.clip == "unclipped",
    must_cover={"several_steps"},
)
def muon_momentum_averages_gradients(case: TiedTrainingCase, out: Outcome) -> Finding:
    return within(kept_state(out, "momentum_buffer"), *algorithms.muon_buffer(case))


@law(
    "The optimizer's step count grows by one for every step with a gradient.",
    source="torch.optim.Optimizer.state: step",
    when=lambda case: KINDS[case.optimizer].counts,
)
def optimizer_state_counts_steps(case: TiedTrainingCase, out: Outcome) -> Finding:
    taken = [sum(not gone for gone in case.missing[turn :: case.turns]) for turn in range(case.turns)]
    return same(out.steps, [float(count) if count else None for count in taken])


@law(
    "State tensors have the parameter's shape and dtype; the step count is a float32 scalar.",
    source="torch.optim.Optimizer.load_state_dict: the state follows the parameter",
    when=lambda case: bool(KINDS[case.optimizer].state),
)
def optimizer_state_has_parameter_shape_and_dtype(case: TiedTrainingCase, out: Outcome) -> Finding:
    kept = {name: (dtype, shape) for name, dtype, shape in out.state.raw}
    if not kept:
        return same(out.missing, [True] * case.steps)
    wanted: dict[str, Any] = dict.fromkeys(KINDS[case.optimizer].state, (case.dtype, case.shape))
    if "step" in kept:
        wanted["step"] = ("float32", ())
    told = f"{{name: {{n: (d, s) for n, d, s in {{}}}}.get(name) for name in {list(wanted)}}}"
    typed = same(out.state.derived(told), wanted)
    if isinstance(typed, Difference):
        return typed
    if case.layout not in DENSE or case.event in RESTORING or case.grad_layout != "fresh":
        return HOLDS
    if case.optimizer == "Rprop" and case.layout not in ("contiguous", "offset"):
        return HOLDS  # its step sizes are made like the gradient, whose order a sparse path may change
    laid = out.state_strides.derived(f"[[stride[axis] for axis in {case.wide}] for stride in {{}} if stride]")
    return same(laid, [[view_of(case.shape, case.layout).strides[axis] for axis in case.wide]] * len(laid.raw))


@law(
    "Without weight decay, a row that never had a gradient does not move.",
    source="the algorithm boxes with g = 0",
    must_cover={"absent_row"},
    when=conditions.stays_still,
)
def rows_without_gradient_do_not_move(case: TiedTrainingCase, out: Outcome) -> Finding:
    gradient = np.stack([d.value for d in case.due])
    never = ~(gradient != 0).any((0, 2))
    if case.is_sparse:  # the terms of a materialized row cancel only up to rounding
        never[np.concatenate(case.sending)] = False
    start = np.broadcast_to(case.data.weight[never], (case.steps, int(never.sum()), case.shape[1]))
    return same(out.weights[:, never], start)


@law(
    "A sparse step moves only rows in the gradient: SparseAdam always, SGD without decay and momentum.",
    source="SparseAdam: masked; SGD: theta - lr g",
    must_cover={f"optimizer={name} & sparse_gradient & rows=2 & row_left_out" for name in ("SparseAdam", "SGD")},
    when=conditions.moves_present_rows_only,
)
def sparse_step_moves_only_rows_with_gradient(case: TiedTrainingCase, out: Outcome) -> Finding:
    weights = out.weights.values
    before = np.concatenate([case.data.weight[None], weights[:-1]])
    moved = (weights != before).any(2)
    allowed = np.stack([(d.value != 0).any(1) for d in case.due])
    if case.is_sparse:  # what is materialized counts as nonzero
        for step, tokens in enumerate(case.sending):
            allowed[step, tokens] = not case.missing[step]
    wrong = moved & ~allowed
    if not wrong.any():
        return HOLDS
    step, row = (int(k) for k in np.argwhere(wrong)[0])
    words = f"row {row} moved in step {step} though it had no gradient"
    path = f'seen["weights"][{step}, {row}].tolist()'
    return Difference("moved", path, weights[step, row].tolist(), before[step, row].tolist(), words)


@law(
    "Each step uses the learning rate that was set, scheduled or restored.",
    source="torch.optim.lr_scheduler; Optimizer.load_state_dict",
)
def step_uses_the_scheduled_learning_rate(case: TiedTrainingCase, out: Outcome) -> Finding:
    # A schedule takes a handful of operations per step, in double or, for a rate that is a tensor, in single.
    slack = 32 * (2.0**-24 if case.tensor_hyperparameters else 2.0**-53)
    for step, (rates, wanted) in enumerate(zip(out.rates.raw, case.rates, strict=True)):
        bound = slack * max(abs(wanted), abs(case.flags["lr"]))
        for place, rate in enumerate(rates):
            if not abs(rate - wanted) <= bound:
                words = f"step {step} had {rate}, due {wanted}"
                return Difference("rate", out.rates.entry(step, place).path, rate, wanted, words, bound)
    return HOLDS


# -- what must be refused ------------------------------------------------------------------------------------------


@tied_training.law(
    "A parameter that is listed twice in one group raises a warning.",
    source="pytorch#40967; Optimizer.add_param_group",
    when=lambda case: case.twice == "once",
)
def duplicate_parameter_in_group_warns(case: TiedTrainingCase, out: Outcome) -> Finding:
    return is_true(out.warned, "no warning of duplicate parameters")


@tied_training.law(
    "Arguments outside their documented range, and a parameter in two groups, raise and write nothing.",
    source="torch.optim: ranges; Optimizer.add_param_group",
    must_cover={f"twice={each}" for each in ("named", "groups_apart", "bare", "half_named", "non_leaf")}
    | {"optimizer=Adam & twice=groups"},  # which has a state once it stepped
    refusal=True,
)
def invalid_optimizer_arguments_raise(case: TiedTrainingCase, out: Outcome) -> Finding:
    return every(refuses(out, ValueError, RuntimeError), unwritten(out))


test_scope, test_product, test_random = tied_training.tests()
