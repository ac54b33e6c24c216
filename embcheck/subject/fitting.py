"""What the adapters of every kind of subject share: how a family's cases are sent to the entry of a subject.

A subject is one more entry of the registries from which programs are chosen: a spelling of the lookup, of the bag, a
way of tying, a way of assigning.  The families that follow have the same laws, with every case sent to that entry.
"""

import copy
import functools
import inspect
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from embcheck.core.declaration import Declaration, folder_of
from embcheck.core.domain import USUAL, Domain, Unsuited, size_of
from embcheck.core.law import Family, Judgement, Law, accepts
from embcheck.core.outcome import Outcome
from embcheck.core.result import Finding, NotApplicable, cut
from embcheck.core.space import Space
from embcheck.families.lookup.programs import GENERATOR
from embcheck.modes.mode import modes_of

#: Turns a case into one that speaks of the subject, or None.
Fit = Callable[[Any], Any]


def scripted(function: Any, factory: Any, part: Callable[..., Any], body: str) -> None:
    """Gives a function of a program what a script shows in its place: the factory's import, a part that it calls, a body."""
    top = factory.__qualname__.split(".")[0]
    imports = f"sys.path.insert(0, {folder_of(factory.__module__)!r})\nfrom {factory.__module__} import {top}\n\n\n"
    function.script = f"{imports}{inspect.getsource(part)}\n\n{body}"


#: Earlier calls that show what a layer keeps between calls: torch's own keep nothing, and have them in few cases.
_PASTS = ("data_exchanged", "indices_refilled", "output_held")
#: Modes in which a subject's layer is asked some of the laws again, by default: what becomes of it in the life that every
#: layer has.
LIVES = ("eval", "serving", "train", "deepcopy", "pickle", "state_dict", "to_dtype")


@dataclass(frozen=True)
class _Sending:
    """How cases are brought to a subject: by ``fit``, the ``axis`` at the ``name`` of its entry."""

    space: Space
    fit: Fit
    axis: str
    name: str
    domain: Domain

    def brought(self, case: Any) -> Any:
        """The case for the subject, wherever it lies; what another entry would be needed for, or what the subject has not,
        is no case of it."""
        wanted = self.fit(self.domain.calm(case.but(**{self.axis: self.name})))
        fitted = None if wanted is None else self.space.repair(wanted)
        own = fitted is not None and getattr(fitted, self.axis) == self.name and self.fit(fitted) == fitted
        return fitted if own else None

    def inside(self, fitted: Any) -> Any:
        """The nearest case inside of the domain."""
        if fitted is None or self.domain.outside(fitted) is None:
            return fitted
        narrowed = self.domain.narrowed(fitted)
        narrowed = None if narrowed is None else self.brought(narrowed)
        return narrowed if narrowed is not None and self.domain.outside(narrowed) is None else None

    def repair(self, case: Any) -> Any:
        return None if case is None else self.inside(self.brought(case))

    def unique(self, cases: Iterable[Any]) -> Iterator[Any]:
        """One case in every spelling of the lookup is one case of the subject."""
        seen, asked = set(), set()
        for each in cases:
            case = each.but(**{self.axis: self.name})
            if case in asked:
                continue
            asked.add(case)
            fitted = self.brought(case)
            for each in (fitted, self.inside(fitted)):
                if each is not None and each not in seen:
                    seen.add(each)
                    yield each


def sent(family: Family, fit: Fit, entry: tuple[str, str], domain: Domain = USUAL) -> Family:
    """The family with every case brought to the subject by ``fit``; ``entry`` is the axis and value that name it.

    Cases outside of the ``domain`` are enumerated, for they are counted, and each is followed by the nearest one inside.
    """
    space, (axis, name) = family.space, entry
    sending = _Sending(space, fit, axis, name, domain)
    draw, aim = space.draw, space.aim

    @functools.cache  # an item goes through them twice: for what meets the obligations, and for what is run
    def small() -> tuple[Any, ...]:
        return tuple(sending.unique(space.scope()))

    held = space.axes.get("history")
    wider = space.axes if held is None else {**space.axes, "history": (*held, *(p for p in _PASTS if p not in held))}
    changed = copy.copy(family)  # not replace(), which would register it as a family of its own
    changed.of, changed.bring = family, sending.unique
    changed.space = replace(
        space,
        axes={**{one: domain.within(one, values) for one, values in wider.items()}, axis: (name,)},
        repair=sending.repair,
        # Copies, since a case keeps what it once expanded to.
        scope=lambda: (type(case)(*case) for case in small()),
        fixed_cases=lambda: sending.unique(space.fixed_cases()),
        draw=None if draw is None else lambda draws: sending.repair(draw(draws)),
        aim=None if aim is None else lambda wish: sending.repair(aim(wish)),
    )
    changed.untaken = restricted
    changed.outside = domain.outside
    # By default; a run may ask for the others, and for all that change such a call.
    changed.modes, changed.further = family.modes[:1], family.modes[1:]
    if domain.random:
        changed = of_random(changed)
    has = modes_of(changed, "all")
    changed.lives = tuple(mode for mode in LIVES if mode in has)
    return changed


#: What some modes take of Python is a part of it: by mode, what they then raise, and what that means.  A layer that is
#: no such part breaks no law there.
_RESTRICTED = (
    ("", r"support the deepcopy protocol", "it can't be deep-copied, nor what is made of such a copy"),
    (
        "",
        r"(?i)can't (get|pickle) local|can't pickle .*<locals>",
        "a class that is made in a function can't be pickled",
    ),
    ("fake", r"Couldn't swap", "a fake layer can't be converted to another dtype"),
    ("jit_script", r"^(?!.*index out of range)", "TorchScript takes a part of Python only"),
    ("fx", r"(?i)symbolic|proxy|traced", "symbolic tracing takes no layer whose Python depends on its input"),
    *((mode, r"(?i)can't (get|pickle)|cannot pickle|serializ", "it can't be pickled") for mode in ("pickle", "saved")),
)


def restricted(out: Outcome) -> str | None:
    """Why an error says only that a mode does not take such a layer; None if it says more, or there is none."""
    if out.error is None:
        return None
    if isinstance(out.error, Unsuited):
        return str(out.error)
    text = " ".join(str(out.error).split())
    for mode, pattern, reason in _RESTRICTED:
        if mode in ("", out.mode) and re.search(pattern, text):
            return f"in mode {out.mode}: {reason} ({type(out.error).__name__}: {cut(text, 100)})"
    return None


def then(fit: Fit, change: Fit) -> Fit:
    """A fit, and a change of what it gives."""

    def fitted(case: Any) -> Any:
        wanted = fit(case)
        return None if wanted is None else change(wanted)

    return fitted


def unbatched(fit: Fit) -> Fit:
    """The fit, but for routes through vmap: a layer whose Python looks at its indices is right, and can't be batched.
    The mode vmap, which tells that as not applicable, has them."""
    return then(fit, lambda case: case.but(route="backward_call") if case.route == "batched" else case)


def quiet(family: Family, asked: Callable[[Law], bool], reason: str) -> Family:
    """The family with only those laws ``asked``, beside that cases are accepted; the others are not applicable."""

    def unasked(law: Law) -> Law:
        @functools.wraps(law.judge)
        def judge(case: Any, out: Outcome) -> Finding:
            return NotApplicable(reason)

        return replace(law, judge=judge, must_cover=frozenset(), implied_by="")

    changed = copy.copy(family)
    changed.laws = [law if law.judge is accepts or asked(law) else unasked(law) for law in family.laws]
    return changed


def of_random(family: Family) -> Family:
    """The family's laws on a layer of which two equal calls differ: those that speak of no value; of these none asks whether
    random numbers are drawn."""
    changed = quiet(family, lambda law: law.of != "values", "values are not asked: random=True is declared")
    changed.laws = [
        replace(law, judge=_drawing(law.judge)) if law.of != "values" and law.judge is not accepts else law
        for law in changed.laws
    ]
    return changed


def _drawing(judge: Judgement) -> Judgement:
    """A judgement to which a call that draws random numbers is one that draws none."""

    @functools.wraps(judge)
    def judged(case: Any, out: Outcome) -> Finding:
        if "surroundings" in out:
            out = out.but(surroundings=[each for each in out.seen["surroundings"] if each != GENERATOR])
        return judge(case, out)

    return judged


def absent(family: Family, reason: str) -> Family:
    """The family with its laws and no cases, for the reason that the report gives."""
    changed = copy.copy(family)
    changed.absent = reason
    changed.modes, changed.call = family.modes[:1], ""
    return changed


def fixed(declared: Declaration, defaults: dict[str, Any]) -> Fit:
    """Cases with the flags that the subject lacks at their defaults and those that it sets itself at their values."""
    wanted = {**defaults, **declared.fixed}
    padding = wanted.get("padding_idx")

    def fit(case: Any) -> Any:
        if padding is not None and "padding_idx" in case._fields:
            rows, _ = size_of(case)
            if not -rows <= padding < rows:
                return None
        known = (name for name in wanted if name in case._fields)
        changes = {name: wanted[name] for name in known if getattr(case, name) is not wanted[name]}
        return case.but(**changes) if changes else case

    return fit
