"""Hooked: a module's hooks fire in their order, each sees what the ones before it left, and what they return is taken."""

from __future__ import annotations

from typing import Any

from embcheck.core.comparison import every, is_false, same, unwritten
from embcheck.core.law import Family
from embcheck.core.outcome import Outcome
from embcheck.core.result import Finding
from embcheck.families.module_hooks.cases import ModuleHooksCase
from embcheck.families.module_hooks.space import SPACE, plan

family = Family(
    "module_hooks",
    SPACE,
    plan,
    cost=6.0,
)
law = family.law


@law(
    "Forward hooks fire once: global ones first, then the module's, in their order.",
    source="nn.Module.register_forward_pre_hook, register_forward_hook: prepend, with_kwargs, always_call",
    must_cover={
        "before",
        "after",
        "front",
        "keywords",
        "always",
        "common",
        "gone",
        "several",
        "fails",
        "given=keyword",
    },
)
def forward_hooks_fire_once_in_order(case: ModuleHooksCase, out: Outcome) -> Finding:
    return every(same(out.forward, case.forward()[0]), is_false(out.left, "a removed hook still fires"))


@law(
    "What a forward hook returns replaces the input or output; errors pass through unchanged.",
    source="nn.Module.register_forward_pre_hook, register_forward_hook: the hook can modify",
    must_cover={"before", "after", "acts", "keywords", "fails", "layer=bag", "passing=no_grad"},
)
def forward_hook_results_replace_values(case: ModuleHooksCase, out: Outcome) -> Finding:
    value = case.forward()[1]
    raised = "RuntimeError" if case.layer == "bag" else "IndexError"
    return every(same(out.value, value), same(out.failed, "" if value is not None else raised))


@law(
    "Backward hooks fire from the outermost module inwards; what they return is passed on.",
    source="nn.Module.register_full_backward_pre_hook, register_full_backward_hook: prepend",
    when=lambda case: case.passing == "grad" and not case.fails,
    must_cover={"sent", "through", "front", "common", "gone", "several", "acts", "root"},
)
def backward_hooks_fire_outermost_first(case: ModuleHooksCase, out: Outcome) -> Finding:
    notes, grad = case.backward()
    return every(same(out.backward, notes), same(out.weight_grad, grad))


@law(
    "state_dict hooks fire once for each module, with its prefix and metadata.",
    source="nn.Module.register_state_dict_pre_hook, register_state_dict_post_hook, register_load_state_dict_post_hook",
    must_cover={"depth=2", "prefix=m."},
)
def state_dict_hooks_fire_once_per_module(case: ModuleHooksCase, out: Outcome) -> Finding:
    names, turns, layers = case.names, range(2), range(case.depth + 1)
    inwards, outwards = list(layers), list(reversed(layers))
    keep, key = bool(case.prefix), f"{names[-1]}weight"
    asked: list[Any] = [("before", place, turn, names[place], keep) for place in inwards for turn in turns]
    asked += [("after", place, turn, names[place], 1, [key]) for place in outwards for turn in turns]
    bare = "0." * case.depth
    loaded: list[Any] = [("before", place, turn, "0." * place, 1) for place in inwards for turn in turns]
    # What a module lacks, and what it has no place for, is listed once its own hooks are called.
    loaded += [("after", place, turn, [f"{bare}weight"], [f"{bare}other"]) for place in outwards for turn in turns]
    return every(same(out.asked, asked), same(out.loaded, loaded))


@law("Hooks that only read leave table and tokens unchanged.", source="no side effects")
def hooks_that_only_read_change_nothing(case: ModuleHooksCase, out: Outcome) -> Finding:
    return unwritten(out)


test_scope, test_product, test_random = family.tests()
