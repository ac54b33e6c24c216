"""Company: several parameters with one optimizer step as each would alone, with the options of their groups."""

from __future__ import annotations

from typing import Any

from embcheck.comparison import every, identical, is_false, is_true, same, unwritten, within
from embcheck.law import Family
from embcheck.outcome import Field, Outcome
from embcheck.result import UNASKED, Finding
from embcheck.space import Space
from embcheck.training.company_case import Company
from embcheck.training.company_space import AXES, OPTIMIZERS, canonical, draw, landmarks, plan, scope
from embcheck.training.optimizer import KINDS
from embcheck.training.release import lacking

#: foreach and fused paths evaluate in another order, which rounds at most twice as often (see test_tying).
MULTIPLE = 2.0


company = Family(
    "company",
    Space(Company, AXES, canonical, scope, landmarks, flags=("optimizer", "mix", "path"), draw=draw, strength=2),
    plan,
    cost=8.0,
    stride=4,
    untaken=lacking,
)
law = company.law


def members(case: Company) -> range:
    return range(len(case.members))


@law(
    "Each of several parameters moves by the documented algorithm, with the options of its group.",
    source="torch.optim: the algorithm boxes; per-parameter options",
    obliges={
        "several_groups",
        "own_option",
        "falsy_option",
        "absent",
        "held",
        "frozen",
        "scalar",
        "mixed_dtypes",
        "mix=turned",
        "mix=lengths",
        "crosswise",
        "mix=matrices",
    },
)
def each_steps_by_its_formula(case: Company, out: Outcome) -> Finding:
    findings = []
    for m in members(case):
        values, errors = case.due(m)
        findings.append(within(getattr(out, f"values{m}"), values, MULTIPLE * errors))
    return every(*findings)


@law(
    "A parameter in company steps, bit for bit, as it does with an optimizer of its own.",
    source="torch.optim: parameters are updated one by one",
    when=lambda case: not (case.asked.get("foreach") or case.asked.get("fused")),
    obliges={"several_groups", "absent", "mix=pair", "mix=layouts"},
)
def each_steps_as_alone(case: Company, out: Outcome) -> Finding:
    return every(*(identical(getattr(out, f"values{m}"), getattr(out, f"alone{m}")) for m in members(case)))


@law(
    "A step leaves gradients, memory, strides, dtypes and flags; it moves parameters in place and writes nothing else.",
    source="torch.optim.Optimizer.step",
    obliges={"differentiated_momentum"},
)
def company_is_kept(case: Company, out: Outcome) -> Finding:
    return every(
        is_true(out.kept, "a gradient, or a parameter's memory, strides, dtype or flags changed"),
        unwritten(out, *(f"weight{m}" for m in members(case))),
    )


@law(
    "A step that moves a parameter counts as a write to it: a graph that saved it before is refused.",
    source="Autograd mechanics: in-place correctness checks, version counters",
)
def steps_count_as_writes(case: Company, out: Outcome) -> Finding:
    return is_true(out.moved, "a parameter moved without a new version")


@law(
    "Every group has its own options, the defaults for the others, and state_dict tells them.",
    source="torch.optim: per-parameter options; Optimizer.state_dict",
    obliges={"own_option", "falsy_option"},
)
def groups_keep_their_options(case: Company, out: Outcome) -> Finding:
    kept = []
    for place, (names, own) in enumerate(case.groups):
        wanted = case.asked | own
        options = out.options.entry(place)
        kept.append(same(options.derived(f"{{name: {{}}.get(name) for name in {list(wanted)}}}"), wanted))
        kept.append(_typed(options, wanted) if case.interrupt != "ruled_twice" else UNASKED)
        kept.append(same(out.packed_ids.entry(place).derived("len({})"), len(names)))
    order = [m for names, _ in case.groups for m in names]
    return every(
        *kept,
        same(out.order, order),
        same(out.packed_ids.derived("sum({}, [])"), list(range(len(order)))),
        same(out.packed_options, out.options),
    )


def _typed(options: Field, wanted: dict[str, Any]) -> Finding:
    """False and 0.0 are equal, but not the same option."""
    types = options.derived(f"{{name: type({{}}.get(name)).__name__ for name in {list(wanted)}}}")
    return same(types, {name: type(value).__name__ for name, value in wanted.items()})


@law(
    "A parameter has a state once it had a gradient, and only then; it is listed under its place in the groups.",
    source="torch.optim.Optimizer.state; state_dict",
    # The states of SGD begin with a momentum, those of Adagrad at once; SparseAdam counts by numbers, not by tensors.
    when=lambda case: case.optimizer not in ("SGD", "Adagrad", "SparseAdam"),
    obliges={"absent", "grouping=late"},
)
def state_is_of_the_stepped(case: Company, out: Outcome) -> Finding:
    stepped = [m for m in members(case) if any(has[m] for has in case.given[case.joins(m) :])]
    order = [m for names, _ in case.groups for m in names]
    counts = [float(sum(has[m] for has in case.given[case.joins(m) :])) for m in stepped]
    return every(
        same(out.stateful, stepped),
        same(out.packed_state, sorted(order.index(m) for m in stepped)),
        same(out.steps, counts) if KINDS[case.optimizer].counts else UNASKED,
    )


@law(
    "State tensors have memory of their own: no gradient's, no parameter's, no other state's; and no graph.",
    source="torch.optim.Optimizer.state",
    obliges={"held"},
)
def states_are_apart(case: Company, out: Outcome) -> Finding:
    return every(is_true(out.apart, "a state shares memory"), is_false(out.attached, "a state is part of a graph"))


@law(
    "A closure is called once, with gradients on and before anything moves, and step() returns what it returned.",
    source="Optimizer.step: closure reevaluates the model and returns the loss",
    obliges={"closure=tensor", "closure=zero", "closure=none", "closure=zeros", "closure=one"},
)
def closure_comes_first(case: Company, out: Outcome) -> Finding:
    return every(
        same(out.modes, [True, True] * case.steps if case.closure else []),
        is_true(out.returned, "step() returned something else"),
    )


@law(
    "Hooks for before and after a step, an optimizer's own and those common to all, are called once each, with the "
    "optimizer, around the step.",
    source="Optimizer.register_step_pre_hook, register_step_post_hook; register_optimizer_step_pre_hook, …_post_hook",
    when=lambda case: case.hooked,
    obliges={f"optimizer={name}" for name in OPTIMIZERS},
)
def hooks_surround_a_step(case: Company, out: Outcome) -> Finding:
    return every(_surrounding(case, out.calls), _surrounding(case, out.common))


def _surrounding(case: Company, calls: Field) -> Finding:
    called = calls.derived("list(zip({}[0::4], {}[2::4], strict=True))")
    stands = "[stands for name, stands in zip({}[0::2], {}[1::2], strict=True) if name == 'WHEN']"
    early, late = (calls.derived(stands.replace("WHEN", when)) for when in ("pre", "post"))
    moves = case.absence == "none" and case.mix == "pair" and float(case.options(0)["lr"]) != 0
    return every(
        same(called, [("pre", "post")] * case.steps),
        same(early, ["unmoved"] * case.steps),
        same(late, ["moved"] * case.steps) if moves else UNASKED,
    )


test_scope, test_product, test_random = company.tests()
