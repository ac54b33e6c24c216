"""Company: several parameters with one optimizer step as each would alone, with the options of their groups."""

from embcheck.core.comparison import every, identical, is_false, is_true, same, unwritten, within
from embcheck.core.law import Family
from embcheck.core.outcome import Outcome
from embcheck.core.result import UNASKED, Finding
from embcheck.families.param_groups.cases import ParamGroupsCase
from embcheck.families.param_groups.programs import FIRST_STEPS
from embcheck.families.param_groups.space import OPTIMIZERS, SPACE, plan
from embcheck.families.tied_training.installed import lacking
from embcheck.families.tied_training.optimizers import KINDS, paths

param_groups = Family("param_groups", SPACE, plan, cost=8.0, stride=4, untaken=lacking)
law = param_groups.law


def members(case: ParamGroupsCase) -> range:
    return range(len(case.members))


@law(
    "Each of several parameters follows the documented algorithm with its group's options.",
    source="torch.optim: the algorithm boxes; per-parameter options",
    must_cover={"several_groups", "own_option", "falsy_option", "absent", "held", "frozen", "scalar", "mixed_dtypes"}
    | {"mix=turned", "mix=lengths", "crosswise", "mix=matrices", "sparse & held", "uncoalesced"}
    | {f"optimizer={name} & own_decoupled" for name in ("Adam", "NAdam", "RAdam")}
    | {f"optimizer={name} & interrupt=differentiated_wholly" for name in FIRST_STEPS}
    | {f"optimizer={name} & fused & amsgrad & largest>16 & steps>2" for name in ("Adam", "AdamW")}
    | {
        "optimizer=SparseAdam & mix=matrices & grouping=together",
        "optimizer=SparseAdam & one_starts_late",
        "optimizer=Adagrad & sparse & lr_decay",
        "held & mixed_dtypes & path=foreach & absent=False",
        *(f"optimizer={name}" for name in OPTIMIZERS),
    }
    | {
        f"optimizer={name}&path={path}&one_starts_late&all_beginnings"
        for name in OPTIMIZERS
        for path in paths(name)[1:]
        if (name, path) != ("SGD", "fused")  # which raises: see the ledger
    },
)
def param_groups_follow_the_formula(case: ParamGroupsCase, out: Outcome) -> Finding:
    return every(*(within(getattr(out, f"values{m}"), *case.due(m)) for m in members(case)))


@law(
    "A parameter steps, bit for bit, as it does in an optimizer of its own.",
    source="torch.optim: parameters are updated one by one",
    when=lambda case: case.compared,
    must_cover={"several_groups", "absent", "mix=pair", "mix=layouts"},
)
def step_is_independent_of_other_parameters(case: ParamGroupsCase, out: Outcome) -> Finding:
    return every(*(identical(getattr(out, f"values{m}"), getattr(out, f"alone{m}")) for m in members(case)))


@law(
    "A step moves parameters in place and leaves gradients, memory, strides, dtypes and flags.",
    source="torch.optim.Optimizer.step",
)
def step_preserves_parameters(case: ParamGroupsCase, out: Outcome) -> Finding:
    return every(
        is_true(out.kept, "a gradient, or a parameter's memory, strides, dtype or flags changed"),
        unwritten(out, *(f"weight{m}" for m in members(case))),
    )


@law(
    "A step increments the version counter of each parameter that it moves.",
    source="Autograd mechanics: in-place correctness checks, version counters",
)
def step_increments_the_version_counter(case: ParamGroupsCase, out: Outcome) -> Finding:
    return is_true(out.moved, "a parameter moved without a new version")


@law(
    "Every group keeps its own options and the defaults for others, in state_dict too, which holds the state's own tensors.",
    source="torch.optim: per-parameter options; Optimizer.state_dict: returned by reference",
    must_cover={"own_option", "falsy_option"},
)
def param_groups_keep_their_options(case: ParamGroupsCase, out: Outcome) -> Finding:
    kept = []
    for place, (names, own) in enumerate(case.groups):
        wanted = case.asked | own
        options = out.options.entry(place)
        types = options.derived(f"{{name: type({{}}.get(name)).__name__ for name in {list(wanted)}}}")
        kept += [
            same(options.derived(f"{{name: {{}}.get(name) for name in {list(wanted)}}}"), wanted),
            # False and 0.0 are equal, but not the same option.
            same(types, {name: type(value).__name__ for name, value in wanted.items()}),
            same(out.packed_ids.entry(place).derived("len({})"), len(names)),
        ]
    order = [m for names, _ in case.groups for m in names]
    return every(
        *kept,
        same(out.order, order),
        same(out.packed_ids.derived("sum({}, [])"), list(range(len(order)))),
        same(out.packed_options, out.options),
        is_true(out.packed_itself, "state_dict holds another tensor than the state"),
    )


@law(
    "A parameter has optimizer state exactly once it had a gradient.",
    source="torch.optim.Optimizer.state; state_dict",
    # The states of SGD begin with a momentum, those of Adagrad at once; SparseAdam counts by numbers, not by tensors.
    when=lambda case: case.optimizer not in ("SGD", "Adagrad", "SparseAdam"),
    must_cover={"absent", "grouping=late"},
)
def state_is_created_on_first_gradient(case: ParamGroupsCase, out: Outcome) -> Finding:
    stepped = [m for m in members(case) if any(has[m] for has in case.given[case.joins(m) :])]
    order = [m for names, _ in case.groups for m in names]
    counts = [float(sum(has[m] for has in case.given[case.joins(m) :])) for m in stepped]
    return every(
        same(out.stateful, stepped),
        same(out.packed_state, sorted(order.index(m) for m in stepped)),
        same(out.steps, counts) if KINDS[case.optimizer].counts and case.setting != "meta" else UNASKED,
    )


@law(
    "State tensors share memory with no gradient, parameter or other state, and have no graph.",
    source="torch.optim.Optimizer.state",
    must_cover={"held"},
)
def state_tensors_own_their_memory(case: ParamGroupsCase, out: Outcome) -> Finding:
    return every(is_true(out.apart, "a state shares memory"), is_false(out.attached, "a state is part of a graph"))


@law(
    "step() calls its closure once, with grad enabled, before anything moves.",
    source="Optimizer.step: closure reevaluates the model and returns the loss",
    must_cover={"closure"},
)
def step_calls_the_closure_once_first(case: ParamGroupsCase, out: Outcome) -> Finding:
    return every(
        same(out.modes, [True, True] * case.steps if case.closure else []),
        is_true(out.returned, "step() returned something else"),
    )


@law(
    "Each step hook runs once, with the step's arguments: those of all optimizers first before it, last after it.",
    source="Optimizer.register_step_pre_hook, register_step_post_hook; torch.optim.optimizer.register_optimizer_step_pre_hook",
    must_cover={"closure", "path=foreach", "path=fused"},
)
def optimizer_step_calls_each_hook_once(case: ParamGroupsCase, out: Outcome) -> Finding:
    before, after = ["before all", "before"], ["after", "after all"]
    told = [*before, "step", "after", "closure", "after all"]
    derived = same(out.derived_hooks, told) if case.compared else UNASKED
    return every(same(out.hooks, [*before, *after] * case.steps), derived)


@law(
    "Optimizer state lies on the parameters' device, whatever torch's default device is.",
    source="torch.set_default_device: used only for tensors created without device",
    when=lambda case: case.setting != "nothing",
    must_cover={"setting=meta", "setting=double", "setting=half", "path=foreach", "path=fused", "since=1", "sparse"},
)
def optimizer_step_ignores_default_device_and_dtype(case: ParamGroupsCase, out: Outcome) -> Finding:
    return same(out.devices, [])


test_scope, test_product, test_random = param_groups.tests()
