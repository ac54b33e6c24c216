"""Resumption: an optimizer that loads another's state goes on as that one would, and reading a state changes nothing."""

from typing import Any

from embcheck.core.comparison import every, identical, is_true, same, unwritten
from embcheck.core.law import Family
from embcheck.core.outcome import Outcome
from embcheck.core.result import UNASKED, Absent, Finding
from embcheck.families.optimizer_state_dict.cases import FROZEN, GROUPS, NAMES, SPACE, OptimizerStateDictCase, plan
from embcheck.families.tied_training.installed import lacking


def not_read(case: OptimizerStateDictCase, out: Outcome) -> str | None:
    """What a release has not, or says that it can't read: an optimizer without a state whose parameters have gradients."""
    if case.by_name and "state_dict can only be used if the optimizer states are initialized" in str(out.error):
        return Absent("this release reads by name no optimizer that has gradients and no state")
    return Absent(out.seen["lacking"]) if "lacking" in out else None


optimizer_state_dict = Family("optimizer_state_dict", SPACE, plan, cost=16.0, not_applicable=not_read, untaken=lacking)
law = optimizer_state_dict.law


@law(
    "Two optimizers, of which one loaded the other's state_dict or is its deep copy, share no memory.",
    source="Optimizer.load_state_dict: a deep copy, cast to the parameter's device",
    must_cover={"carried=handed", "carried=copied", "carried=filed"},
)
def loaded_optimizer_state_shares_no_memory(case: OptimizerStateDictCase, out: Outcome) -> Finding:
    return every(same(out.shared, 0), is_true(out.giver_left, "stepping the one who loaded changed the one who gave"))


@law(
    "Reading an optimizer's state_dict changes neither its state, options nor gradients.",
    source="Optimizer.state_dict: returns the state; torch.distributed.checkpoint.state_dict.get_optimizer_state_dict",
    must_cover={"route=plain", "route=named", "fresh", "graded", "frozen_one"},
)
def reading_optimizer_state_dict_changes_nothing(case: OptimizerStateDictCase, out: Outcome) -> Finding:
    return every(
        is_true(out.read_kept, "reading the state changed the state, an option or a gradient"),
        same(out.hook_calls, 0),
        identical(out.read_on, out.straight),
        unwritten(out),
    )


@law(
    "An optimizer that loaded a state_dict steps, bit for bit, as its source would have.",
    source="Optimizer.load_state_dict; torch.distributed.checkpoint.state_dict.set_optimizer_state_dict",
    must_cover={
        "route=plain",
        "route=named",
        "frozen_state",
        "lacking",
        "warm",
        "turned",
        "path=fused",
        "groups=two_groups",
        *(f"carried=older & optimizer={name}" for name in ("AdamW", "Adagrad", "NAdam", "ASGD")),
    },
)
def resumed_optimizer_steps_as_the_original(case: OptimizerStateDictCase, out: Outcome) -> Finding:
    return every(
        identical(out.resumed, out.straight),
        same(out.resumed_kinds, out.straight_kinds),
        identical(out.resumed_state, out.straight_state),
    )


@law(
    "The loaded state and options equal the saved ones, which stay unchanged.",
    source="Optimizer.load_state_dict",
    must_cover={"frozen_state", "groups=two_groups", "turned", "path=foreach", "warm"},
)
def loaded_optimizer_state_equals_the_saved(case: OptimizerStateDictCase, out: Outcome) -> Finding:
    return every(
        same(out.loaded_kinds, out.saved_kinds),
        identical(out.loaded_state, out.saved_state),
        same(out.strays, 0),
        is_true(out.given_kept, "loading changed the state that was given"),
    )


@law(
    "An optimizer's state_dict lists the tied weight once, under the first of its names.",
    source="Optimizer.state_dict: indices in the order of the groups; canonical names are those of named_parameters()",
    must_cover={"route=plain", "route=named", "several_names", "groups=two_groups", "groups=alone"},
)
def optimizer_state_dict_lists_tied_weight_once(case: OptimizerStateDictCase, out: Outcome) -> Finding:
    # What is fresh has no state: that reading it by name makes one is another law's matter.
    names: Any = {m: case.names[m] if case.by_name else place for place, m in enumerate(case.members)}
    return every(
        same(out.state_names, sorted(names[m] for m in case.entries)) if not case.blank else UNASKED,
        same(out.group_names, [[names[m] for m in group] for group in GROUPS[case.groups]]),
        same(out.model_names, [*NAMES[case.tie], "side.weight"]),
        same(out.rates, {names[m]: case.rate(m) for m in case.members}),
    )


@law(
    "load_state_dict refuses a state of other parameters or groups, keeps names, defaults and further entries, and copies lists.",
    source="Optimizer.load_state_dict; Optimizer.add_param_group: param_names, defaults",
    must_cover={"aside"},
    when=lambda case: case.aside,
)
def optimizer_loads_only_states_of_its_parameters(case: OptimizerStateDictCase, out: Outcome) -> Finding:
    return same(out.others, [])


#: The hooks of a state in the order in which they are called.
_EVENTS = ("state_dict_pre", "state_dict_post", "load_state_dict_pre", "load_state_dict_post")


@law(
    "Hooks of an optimizer's state run in order until removed, prepended ones first; what they return is read or loaded.",
    source="Optimizer.register_load_state_dict_pre_hook: prepend, the returned dict, a shallow copy of the state_dict",
    must_cover={"aside"},
    when=lambda case: case.aside,
)
def optimizer_state_hooks_run_in_order(case: OptimizerStateDictCase, out: Outcome) -> Finding:
    return same(out.hooked, ([f"{event} {place}" for event in _EVENTS for place in (1, 2)], [0.25, 0.0625], True))


@law(
    "With ignore_frozen_params a model's state_dict omits exactly the frozen parameters.",
    source="torch.distributed.checkpoint.state_dict.StateDictOptions: ignore_frozen_params",
    when=lambda case: case.by_name and case.frozen != "none",
    must_cover={"frozen=side", "several_names"},
)
def model_state_dict_omits_frozen_parameters(case: OptimizerStateDictCase, out: Outcome) -> Finding:
    frozen = FROZEN[case.frozen]
    names = [*(NAMES[case.tie] if 0 not in frozen else ()), *(("side.weight",) if 1 not in frozen else ())]
    return same(out.trained_names, names)


test_scope, test_product, test_random = optimizer_state_dict.tests()
