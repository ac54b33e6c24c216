"""Which cases of module_hooks there are, and which program runs each."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from embcheck.core import stream
from embcheck.core.law import Plan
from embcheck.core.space import Space
from embcheck.families.module_hooks.cases import Hook, ModuleHooksCase, fitting
from embcheck.families.module_hooks.programs import hooked

KINDS = ("before", "after", "sent", "through")


WHERES = ("layer", "root", "common")


FLAGS: tuple[dict[str, bool], ...] = (
    {}, {"front": True}, {"keywords": True}, {"acts": False}, {"always": True}, {"gone": True},
    {"front": True, "keywords": True}, {"always": True, "keywords": True},
)  # fmt: skip


def plan(case: ModuleHooksCase) -> Plan:
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


def repair(case: ModuleHooksCase) -> ModuleHooksCase | None:
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


def scope() -> Iterator[ModuleHooksCase]:
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
        fitted = repair(ModuleHooksCase("bag" if seed % 3 == 0 else "embedding", seed % 3, hooks, **way))
        if fitted is not None and fitted not in seen:
            seen.add(fitted)
            yield fitted.but(seed=seed)


def draw(draws: stream.Stream) -> ModuleHooksCase | None:
    """Up to six random hooks, and each axis at any value."""
    chosen = {name: draws.choice(values) for name, values in AXES.items()}
    hooks = tuple(
        tuple(Hook(draws.choice(KINDS), draws.choice(WHERES), *(draws.chance(3) for _ in range(5))))
        for _ in range(draws.between(1, 6))
    )
    return repair(ModuleHooksCase(**chosen, hooks=hooks, seed=draws.between(0, 255)))


def smaller(case: ModuleHooksCase) -> Iterator[ModuleHooksCase]:
    """Without one of the hooks."""
    for k in range(len(case.hooks)):
        if len(case.hooks) > 1:
            yield case.but(hooks=case.hooks[:k] + case.hooks[k + 1 :])


SPACE = Space(ModuleHooksCase, AXES, repair, scope, flags=tuple(AXES), draw=draw, smaller=smaller, strength=2)
