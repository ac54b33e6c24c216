"""Hooked: a module's hooks fire in their order, each sees what the ones before it left, and what they return is taken."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from embcheck import stream
from embcheck.comparison import every, is_false, same, unwritten
from embcheck.law import Family, Plan
from embcheck.module.hooked import hooked
from embcheck.module.hooked_case import Hook, Hooked, fitting
from embcheck.outcome import Outcome
from embcheck.result import Finding
from embcheck.space import Space

KINDS = ("before", "after", "sent", "through")
WHERES = ("layer", "root", "common")
FLAGS: tuple[dict[str, bool], ...] = (
    {}, {"front": True}, {"keywords": True}, {"acts": False}, {"always": True}, {"gone": True},
    {"front": True, "keywords": True}, {"always": True, "keywords": True},
)  # fmt: skip


def plan(case: Hooked) -> Plan:
    options = {
        "layer": case.layer,
        "depth": case.depth,
        "hooks": case.hooks,
        "given": case.given,
        "learning": case.passing == "grad",
        "evaluating": case.evaluating,
        "prefix": case.prefix,
    }
    return Plan(hooked, case.inputs(), options)


def canonical(case: Hooked) -> Hooked | None:
    """The case with flags that its hooks can have."""
    return case.but(hooks=tuple(fitting(case.hooks, case.depth)))


AXES: dict[str, tuple[Any, ...]] = {
    "layer": ("embedding", "bag"),
    "depth": (0, 1, 2),
    "given": ("position", "keyword"),
    "passing": ("grad", "no_grad"),
    "evaluating": (False, True),
    "fails": (False, True),
    "prefix": ("", "m."),
}


def scope() -> Iterator[Hooked]:
    """Every hook alone; every two of a kind; calls that fail, and calls by keyword."""
    alone = [tuple(Hook(kind, where, **flags)) for kind, where, flags in itertools.product(KINDS, WHERES, FLAGS)]
    pairs = [
        (tuple(Hook(kind, first)), tuple(Hook(kind, second, **flags)))
        for kind, first, second, flags in itertools.product(KINDS, WHERES, WHERES, FLAGS)
    ]
    ways: tuple[dict[str, Any], ...] = (
        {},
        {"given": "keyword"},
        {"fails": True},
        {"passing": "no_grad", "fails": True},
    )
    chosen: list[tuple[Any, dict[str, Any]]] = [((hook,), way) for hook, way in itertools.product(alone, ways)]
    chosen += [(pair, ways[k % 4]) for k, pair in enumerate(pairs)]
    seen = set()
    for seed, (hooks, way) in enumerate(chosen):
        fitted = canonical(Hooked("bag" if seed % 3 == 0 else "embedding", seed % 3, hooks, **way))
        if fitted is not None and fitted not in seen:
            seen.add(fitted)
            yield fitted.but(seed=seed)


def draw(draws: stream.Stream) -> Hooked | None:
    """Up to six random hooks, and each axis at any value."""
    chosen = {name: draws.choice(values) for name, values in AXES.items()}
    hooks = tuple(
        tuple(Hook(draws.choice(KINDS), draws.choice(WHERES), *(draws.chance(3) for _ in range(5))))
        for _ in range(draws.between(1, 6))
    )
    return canonical(Hooked(**chosen, hooks=hooks, seed=draws.between(0, 255)))


def smaller(case: Hooked) -> Iterator[Hooked]:
    """Without one of the hooks."""
    for k in range(len(case.hooks)):
        if len(case.hooks) > 1:
            yield case.but(hooks=case.hooks[:k] + case.hooks[k + 1 :])


family = Family(
    "hooked",
    Space(Hooked, AXES, canonical, scope, flags=tuple(AXES), draw=draw, smaller=smaller, strength=2),
    plan,
    cost=6.0,
)
law = family.law


@law(
    "Hooks of a call fire once, those common to all modules first, then a module's own as registered or put in front, and see "
    "what the ones before them left; if the call fails, those that are always called still are.",
    source="nn.Module.register_forward_pre_hook, register_forward_hook: prepend, with_kwargs, always_call",
    obliges={"before", "after", "front", "keywords", "always", "common", "gone", "several", "fails", "given=keyword"},
)
def hooks_of_a_call_fire_in_order(case: Hooked, out: Outcome) -> Finding:
    return every(same(out.forward, case.forward()[0]), is_false(out.left, "a removed hook still fires"))


@law(
    "What the hooks of a call return takes the place of what passes; a call that fails raises what it raises without them.",
    source="nn.Module.register_forward_pre_hook, register_forward_hook: the hook can modify",
    obliges={"before", "after", "acts", "keywords", "fails", "layer=bag", "passing=no_grad"},
)
def what_hooks_return_is_taken(case: Hooked, out: Outcome) -> Finding:
    value = case.forward()[1]
    raised = "RuntimeError" if case.layer == "bag" else "IndexError"
    return every(same(out.value, value), same(out.failed, "" if value is not None else raised))


@law(
    "Hooks of the backward pass fire from the outermost module inwards, and see what is sent; what they return is sent on.",
    source="nn.Module.register_full_backward_pre_hook, register_full_backward_hook: prepend",
    when=lambda case: case.passing == "grad" and not case.fails,
    obliges={"sent", "through", "front", "common", "gone", "several", "acts", "root"},
)
def hooks_of_a_backward_pass_fire_in_order(case: Hooked, out: Outcome) -> Finding:
    notes, grad = case.backward()
    return every(same(out.backward, notes), same(out.weight_grad, grad))


@law(
    "Hooks of the state fire once for each module, as registered, and see its prefix and version; before its parts, or after.",
    source="nn.Module.register_state_dict_pre_hook, register_state_dict_post_hook, register_load_state_dict_post_hook",
    obliges={"depth=2", "prefix=m."},
)
def hooks_of_the_state_see_their_module(case: Hooked, out: Outcome) -> Finding:
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


@law("Hooks that only look leave table and tokens as they are.", source="no side effects")
def hooked_writes_nothing(case: Hooked, out: Outcome) -> Finding:
    return unwritten(out)


test_scope, test_product, test_random = family.tests()
