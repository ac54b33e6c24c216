"""load_state_dict copies or assigns what fits, tells what is missing, and refuses what does not fit."""

from embcheck.core.comparison import every, is_true, refuses, same, unwritten
from embcheck.core.law import Family
from embcheck.core.outcome import Outcome
from embcheck.core.result import UNASKED, Finding
from embcheck.families.load_state_dict.cases import MISSHAPEN, SLOTS, SPACE, LoadStateDictCase, plan

load_state_dict = Family("load_state_dict", SPACE, plan, refused=lambda case: case.refused, cost=4.0)
law = load_state_dict.law


@law(
    "Loading gives each named slot the state_dict's values, and leaves the others.",
    source="nn.Module.load_state_dict: copies parameters and buffers",
    must_cover={
        "partial",
        "assign",
        "tied",
        "edit=double",
        "edit=double & assign=False & edited=words.weight",
        "edit=turned",
    },
)
def load_state_dict_copies_the_values(case: LoadStateDictCase, out: Outcome) -> Finding:
    findings = []
    for place, slot in enumerate(SLOTS):
        if slot == "deep.0.weight" and slot in case.missing and not case.tied:
            continue
        dtype, values = case.after(slot)
        got = getattr(out, f"value{place}")
        findings += [same(got.meta("dtype"), dtype), same(got, values)]
    return every(*findings)


@law(
    "Loading copies into the Parameter; with assign=True the entry replaces it.",
    source="nn.Module.load_state_dict: assign",
    must_cover={"assign", "partial", "edit=parameter", "prior=graded"},
)
def load_state_dict_keeps_or_assigns_parameters(case: LoadStateDictCase, out: Outcome) -> Finding:
    replaced = [case.replaces(slot) for slot in SLOTS]
    kept = [not one for one in replaced]
    itself = {*SLOTS[3:], *([case.edited] if case.edit == "parameter" else [])}
    entry = [slot in itself and case.replaces(slot) for slot in SLOTS]
    return every(
        same(out.names, list(SLOTS)),
        same(out.same, kept),
        same(out.in_place, kept),
        same(out.shares, replaced),
        same(out.is_entry, entry),
        same(out.versions, [True] * len(SLOTS)) if not case.assign else UNASKED,
    )


@law(
    "A loaded Parameter is a leaf that requires grad as before.",
    source="nn.Module.load_state_dict: requires_grad is that of the module",
    must_cover={"assign", "prior=frozen", "prior=graded", "edit=in_a_graph"},
)
def loaded_parameters_require_grad_as_before(case: LoadStateDictCase, out: Outcome) -> Finding:
    parameters = SLOTS[:3]
    strides = {place: case.strides(slot) for place, slot in enumerate(SLOTS)}
    return every(
        same(out.parameters, [slot in parameters for slot in SLOTS]),
        is_true(out.leaves, "a slot became part of a graph"),
        same(out.requires_grad, [case.trains(slot) for slot in SLOTS]),
        same(out.graded, [case.prior == "graded" and slot in parameters and not case.replaces(slot) for slot in SLOTS]),
        is_true(out.grads, "a gradient changed"),
        *(same(out.strides.entry(place), wanted) for place, wanted in strides.items() if wanted is not None),
    )


@law(
    "load_state_dict returns missing and unexpected keys, but for those that a hook removes.",
    source="nn.Module.load_state_dict: missing_keys, unexpected_keys; register_load_state_dict_pre_hook and …_post_hook",
    must_cover={"partial", "surplus", "tied", "prior=keys_removed", "prior=entries_dropped & surplus"}
    | {"prior=entries_dropped_inside & surplus_inside"},
)
def load_state_dict_reports_incompatible_keys(case: LoadStateDictCase, out: Outcome) -> Finding:
    # The module's own buffers come before its children's; extra keys are named in any order.
    order = ("mean", "count", "words.weight", "deep.0.weight", "deep.0.bias")
    return every(
        same(out.missing, [key for key in order if key in case.missing and not case.removes_keys]),
        same(out.unexpected.derived("sorted({})"), [] if case.removes_keys else sorted(case.unexpected)),
    )


@law(
    "Loading a state_dict again gives the same values and reports the same keys.",
    source="nn.Module.load_state_dict: copies parameters and buffers; missing_keys, unexpected_keys",
    must_cover={"partial", "surplus", "tied", "assign", "prior=graded", "layout=transposed"},
)
def loading_again_gives_the_same_values(case: LoadStateDictCase, out: Outcome) -> Finding:
    return same(out.again, [True] * 3)


@law(
    "Loading leaves the state_dict's keys, entries and values unchanged.",
    source="no side effects",
    must_cover={"assign", "edit=parameter", "prior=entries_dropped & surplus & container=state"},
)
def loading_leaves_the_state_dict(case: LoadStateDictCase, out: Outcome) -> Finding:
    return every(
        is_true(out.keys, "keys or entries of the checkpoint changed"),
        is_true(out.entries, "values of the checkpoint changed"),
        is_true(out.graphs, "requires_grad of the checkpoint's entries changed") if not case.assign else UNASKED,
        unwritten(out, "weight", "bias"),
    )


@law(
    "Loading leaves the state_dict's version metadata, so that it can be loaded again.",
    source="no side effects",
    must_cover={"assign", "container=state"},
)
def loading_leaves_the_state_dict_metadata(case: LoadStateDictCase, out: Outcome) -> Finding:
    return is_true(out.notes, "what the checkpoint notes of its modules changed")


@law(
    "Hooks are called with their module; an extra state is saved and loaded; a wrapper's prefix is removed.",
    source="nn.Module: register_state_dict_pre_hook, register_load_state_dict_post_hook, get_extra_state; "
    "torch.nn.modules.utils.consume_prefix_in_state_dict_if_present",
    when=lambda case: case.hooks,
    must_cover={"hooks & assign", "hooks & strict=False"},
)
def state_dict_hooks_see_their_module(case: LoadStateDictCase, out: Outcome) -> Finding:
    return every(*(same(out.hooked.entry(name), wanted) for name, wanted in case.hooked.items()))


@law(
    "Another shape or type raises; missing and unexpected keys raise unless strict=False.",
    source="nn.Module.load_state_dict: strict",
    must_cover={f"edit={edit}" for edit in MISSHAPEN}
    | {"partial", "surplus", "assign", "of_none", "edit=first & edited=words.weight & assign=False"},
    refusal=True,
)
def invalid_state_dicts_raise(case: LoadStateDictCase, out: Outcome) -> Finding:
    return every(refuses(out, RuntimeError), unwritten(out, "weight", "bias"))


test_scope, test_product, test_random = load_state_dict.tests()
