"""The laws on a class of your own, in one line of your own test suite.

from embcheck import check

def test_my_embedding():
    check(MyEmbedding)
"""

import os
import shlex
import site
from collections.abc import Callable, Collection, Iterator, Mapping
from datetime import date
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import torch

from embcheck.core.declaration import declaration_of, folder_of, name_of, unimportable
from embcheck.core.facts import closest, first_of, grouped
from embcheck.core.item import PROFILES, Item, Profile, all_items
from embcheck.core.law import Family
from embcheck.core.ledger import SHIPPED, Ledger, load_all, read
from embcheck.core.ledger import check as sound
from embcheck.core.machine import here
from embcheck.core.verdict import Status, Verdict, merge_all
from embcheck.engine.run_item import run_item, without_warnings
from embcheck.record.totals import Totals
from embcheck.report.failure import SHOWN, chosen, further, lines, more_of, more_reasons, notes_on
from embcheck.runner.preflight import rehearse
from embcheck.runner.run import examples_of, unjudged
from embcheck.subject.activation import adapted
from embcheck.subject.collect import load_families, load_modes, statements

Factory = Callable[..., Any]


class LawViolated(AssertionError):
    """A subject breaks a law; the message shows the smallest cases, ``verdicts`` has everything."""

    def __init__(self, message: str, verdicts: list[Verdict]) -> None:
        super().__init__(message)
        self.verdicts = verdicts


class _Run(NamedTuple):
    """What is run: a subject in a profile, and the user's own ledger."""

    subject: Factory
    profile: str
    seed: int
    ledger: Path | None


def check(
    subject: Factory,
    *,
    profile: str = "quick",
    seed: int = 0,
    laws: Collection[str] = (),
    first: bool = False,
    ledger: str | os.PathLike[str] | None = None,
) -> list[Verdict]:
    """Runs the laws of its kind on a class or factory, and returns their verdicts.

    Undeclared, ``subject(num_embeddings, embedding_dim, **flags)`` must return a module with one parameter of shape
    ``(num_embeddings, embedding_dim)``; of the flags (padding_idx, scale_grad_by_freq, sparse…) it gets those that
    its signature takes, and laws about the others are not applicable.  `embcheck.declare` says anything else.

    The items are those of `embcheck run --subject` in this profile: engines one after the other, and then some of the laws
    again of a layer that is evaluated, trained after that, served without a graph, copied, pickled, loaded and converted.  The
    first round that refutes a law ends it, so that a wrong subject is told soon.  With ``laws`` only these are asked, and with
    ``first`` the first item that refutes a law ends it.  A ``ledger`` is a file of known violations, in addition to the shipped
    one, as of ``--ledger``; witnesses are not executed.

    Raises:
        LawViolated: if a law is violated; an AssertionError that shows the smallest counterexamples.
        TypeError: if the subject can't be built and called so, or ``laws`` is no list of names; the message is one line.
        ValueError: for an unknown profile, or a law that there is not; the message names what there is, or is close to it.
        LedgerError: a ValueError, for a ledger that can't be read, or speaks of facts that there are not.
    """
    __tracebackhide__ = True
    if isinstance(laws, str):
        raise TypeError(f"laws: expected a list of names, such as [{laws!r}], got {laws!r}")
    verdicts: list[Verdict] = []
    run = _Run(subject, profile, seed, None if ledger is None else Path(ledger))
    for found in _rounds(run, frozenset(laws), first=first):
        verdicts += found
        _raise_for(run, list(merge_all(verdicts).values()))
    settled = unjudged(list(merge_all(verdicts).values()))
    _raise_for(run, settled)
    return settled


def _rounds(run: _Run, laws: frozenset[str] = frozenset(), *, first: bool = False) -> Iterator[list[Verdict]]:
    """The verdicts of one round after the other, the random engine first: it has a bit of everything in the fewest cases.

    What torch, numpy and the subject warn of is not shown: most cases are nothing that anybody would compute.
    """
    subject, profile, seed, own = run
    if profile not in PROFILES:
        raise ValueError(f"no profile {profile!r}; there are {', '.join(PROFILES)}")
    problem = rehearse(subject, declaration_of(subject))
    if problem is not None:
        raise TypeError(problem)
    ledger = _shipped(date.today()) if own is None else _known(own)
    load_families()
    load_modes()
    if own is not None:
        with adapted(subject):
            sound(read(own), None)
    for engine, usual in _ROUNDS:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            with without_warnings(), adapted(subject) as families:
                found: list[Verdict] = []
                for family, item in _items(families, PROFILES[profile], name_of(subject), laws):
                    if item.engine == engine and (item.mode in family.modes) == usual:
                        told = run_item(family, item, PROFILES[profile], seed, ledger)
                        found += [verdict for verdict in told if not laws or verdict.law in laws]
                    if first and any(verdict.status == Status.VIOLATED for verdict in found):
                        break
        finally:
            torch.set_num_threads(threads)
        yield found


def _known(*own: Path) -> Ledger:
    """What is known of this release on this machine."""
    return load_all((SHIPPED, *own), version("torch"), date.today()).on(here())


@lru_cache(maxsize=1)
def _shipped(today: date) -> Ledger:
    """The same without a ledger of the user's, read once for all layers of a test suite."""
    return _known()


def _items(
    families: Mapping[str, Family], profile: Profile, subject: str, laws: frozenset[str]
) -> Iterator[tuple[Family, Item]]:
    """The items of those families that have one of some laws, or of all if none is named."""
    known = {law.name for family in families.values() for law in family.laws}
    for name in sorted(laws - known):
        raise ValueError(f"no law {name!r} of this kind of subject; {closest(name, known) or 'see `embcheck laws`'}")
    for family in families.values():
        if not laws or any(law.name in laws for law in family.laws):
            yield from ((family, item) for item in all_items(family, profile, subject=subject))


#: The engine of each round, and whether it runs in the families' own modes or in the lives of a layer.
_ROUNDS = (("random", True), ("product", True), ("scope", True), ("product", False))


def parametrize(
    subject: Factory, *, profile: str = "quick", seed: int = 0, ledger: str | os.PathLike[str] | None = None
) -> Any:
    """Makes one test of each law: the decorated function is called with ``law``, a function that raises if it is broken.

    The laws of a subject are judged together, when the first of them is asked for.

        @embcheck.parametrize(MyEmbedding)
        def test_my_embedding(law):
            law()
    """
    import pytest

    known: dict[str, list[Verdict]] = {}
    run = _Run(subject, profile, seed, None if ledger is None else Path(ledger))

    def one(name: str) -> Callable[[], None]:
        def law() -> None:
            __tracebackhide__ = True
            if not known:
                verdicts = [verdict for found in _rounds(run) for verdict in found]
                known.update(grouped(unjudged(list(merge_all(verdicts).values())), lambda verdict: verdict.law))
            reasons = [reason for verdict in known[name] for reason in verdict.reasons]
            if all(verdict.status == Status.NOT_APPLICABLE for verdict in known[name]):
                pytest.skip("; ".join(reasons) or "no case of this subject")
            _raise_for(run, known[name])

        return law

    load_families()
    with adapted(subject) as families:
        names = [law.name for family in families.values() for law in family.laws]
    return pytest.mark.parametrize("law", [pytest.param(one(name), id=name) for name in names])


def _raise_for(run: _Run, verdicts: list[Verdict]) -> None:
    __tracebackhide__ = True
    bad = [verdict for verdict in verdicts if verdict.status >= Status.UNKNOWN]
    if not bad:
        return
    laws = {law.law: law for family in load_families().values() for law in statements(family)}
    examples = examples_of(bad)
    whole, others, rest = chosen(examples)
    shown = ["\n".join(["", *lines(example, laws=laws), ""]) for example in whole]
    shown += [*map(further, others), *more_of(rest), *(f"note: {note}" for note in notes_on(examples))]
    for verdict in bad:
        if not verdict.counterexamples:
            shown.append(f"UNKNOWN {verdict.law}: {'; '.join(verdict.reasons[:SHOWN])}{more_reasons(verdict)}")
    name = name_of(run.subject)
    if not unimportable(name) and not name.startswith("__main__:"):
        shown.append(f"scripts and replays: {_whole_run(name, run)}")
    names = list(dict.fromkeys(verdict.law for verdict in sorted(bad, key=lambda verdict: -verdict.status)))
    head = f"{first_of(names, SHOWN)}: {name} · {Totals.of(bad)}"  # what pytest's short summary shows
    raise LawViolated(f"{head}\n" + "\n".join(shown), verdicts)


def _whole_run(name: str, run: _Run) -> str:
    """The command that runs all laws on a subject, as it can be typed here.

    pytest puts the folder of a test file on ``sys.path``, and a process of its own does not have it there.
    """
    command = f"embcheck run --subject {name} --profile {run.profile} --seed {run.seed}"
    command += f" --ledger {shlex.quote(str(run.ledger))}" if run.ledger is not None else ""
    folder, named = Path(folder_of(name.partition(":")[0])).absolute(), os.environ.get("PYTHONPATH", "")
    found = (*filter(None, named.split(os.pathsep)), *site.getsitepackages(), site.getusersitepackages())
    if folder == Path.cwd() or any(folder == Path(each).absolute() for each in found):
        return command
    place = str(folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder)
    return f"PYTHONPATH={shlex.quote(place)}{os.pathsep + '$PYTHONPATH' if named else ''} {command}"
