"""A violation as a person would report it, in plain lines: what workers print too, so that it needs no rich."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from textwrap import shorten

from embcheck.core.declaration import unimportable
from embcheck.core.facts import first_of, grouped
from embcheck.core.tiers import place_of
from embcheck.core.verdict import LEDGER, Counterexample, Statement, Status, Verdict
from embcheck.families.lookup.received import to_declare
from embcheck.record.store import replay_command
from embcheck.record.totals import counted

#: How a law stands on a counterexample in another mode.
HOLDS, VIOLATED = Status.HOLDS.word, Status.VIOLATED.word

#: What is said of laws whose statements are not at hand.
NO_LAWS: Mapping[str, Statement] = {}
#: Kinds of difference, or reasons, of one law that have lines of their own; the record and the store have all.
SHOWN = 2
#: Further differences of one law that its last line names.
_COUNTED = 6
#: Letters of a violation that is not shown whole.
_LETTERS = 100
#: Said of what fails in the baseline as well.
OLD = "   (in the baseline too)"


def chosen(
    examples: Iterable[Counterexample],
) -> tuple[list[Counterexample], list[Counterexample], list[Counterexample]]:
    """The examples to show whole, those to name in a line each, and those that a line for their law counts.

    Of each law the one with the shortest case is shown, unless that case violates a law as well that is shown: most likely by
    the same cause.  The families' laws come in the order of the screen, those of a lookup before those of what uses it.
    """
    ordered = sorted(examples, key=lambda e: place_of(e.family))
    ranked = [sorted(group, key=lambda e: len(e.case)) for group in grouped(ordered, lambda e: e.law).values()]
    whole: list[Counterexample] = []
    for first in sorted((first for first, *_ in ranked), key=lambda first: len(first.also)):
        if {example.law for example in whole}.isdisjoint(first.also):
            whole.append(first)
    named = [example for group in ranked for example in group[:SHOWN] if example not in whole]
    return [group[0] for group in ranked if group[0] in whole], named, [e for group in ranked for e in group[SHOWN:]]


def further(example: Counterexample, store: Path | None = None) -> str:
    """A violation that is not shown whole, in a line: with its case, without which the words may not be understood."""
    again = f"   {replay_command(example.id, store)}" if store else ""
    words = shorten(example.words, _LETTERS, placeholder=" …")
    return f"violated, too: {example.law} in {example.mode}, {example.case}: {words}{again}"


def more_of(examples: Iterable[Counterexample], store: Path | None = None) -> list[str]:
    """What has no line of its own: of each law how many they are, with their kinds and modes, and how to see each again."""
    told = []
    for law, group in grouped(examples, lambda e: e.law).items():
        names = [f"{e.kind} in {e.mode}" + (f" ({replay_command(e.id, store)})" if store else "") for e in group]
        told.append(f"violated, too: {law} in {counted(len(names), 'more way')}: {first_of(names, _COUNTED)}")
    return told


def notes_on(examples: Iterable[Counterexample]) -> list[str]:
    """What a user may add to a layer that only does what it does not say: of each layer a line."""
    told = {name: to_declare(e.words for e in group) for name, group in grouped(examples, lambda e: e.subject).items()}
    return [f"{name}: if that is meant, put this line above it: {line}" for name, line in told.items() if line]


def idle(settled: Iterable[Verdict]) -> list[str]:
    """Of each mode in which no law was judged the first reason: that nothing compiles here, say."""
    modes = grouped((verdict for verdict in settled if verdict.family != LEDGER), lambda verdict: verdict.mode)
    return [
        f"no law was judged in {mode}: {reason.removeprefix('not applicable: ')}"
        for mode, own in modes.items()
        if all(verdict.status == Status.NOT_APPLICABLE for verdict in own)
        for reason in [reason for verdict in own for reason in verdict.reasons][:1]
    ]


def parts(
    example: Counterexample, store: Path | None = None, laws: Mapping[str, Statement] = NO_LAWS, *, tried: bool = True
) -> list[tuple[str, str]]:
    """The labelled lines of a violation: what the law says, the smallest case, what came out, which side is wrong, what else
    is known, and how to see it again if it is kept in ``store``.

    The script is named once it was ``tried``.
    """
    law = laws.get(example.law) or Statement("", "", "")
    lines = [
        ("law", law.sentence),
        ("source", " ".join(filter(None, (law.source, law.link)))),
        ("case", example.case + ("" if not example.first else "   (reduced)")),
        ("got", example.words),
        ("wrong", wrong_side(example)),
        ("also", ", ".join(example.also)),
        ("known?", _known(example)),
        ("replay", replay_command(example.id, store) if store else ""),
        ("script", _script_line(example, store if tried else None)),
    ]
    return [(label, body) for label, body in lines if body]


def _modes(example: Counterexample) -> str:
    """The modes that show a violation on its case, those that were asked besides too; eager before those that follow it."""
    found = (mode for mode, word in example.elsewhere.items() if word == VIOLATED)
    modes = dict.fromkeys((example.mode, *example.other_modes, *found))
    return ", ".join(sorted(modes, key=lambda mode: mode != "eager"))


def wrong_side(example: Counterexample) -> str:
    """Which side is wrong: the modes that show the difference, and how the law stands in others on the same case."""
    asked = {mode: word for mode, word in example.elsewhere.items() if mode not in example.other_modes}
    modes = _modes(example)
    if all(word == VIOLATED for word in asked.values()):
        beside = "every mode that was asked on this case" if asked else "no other mode was asked on this case"
        return f"{example.subject} in {modes}; {beside}"
    right = [mode for mode, word in asked.items() if word == HOLDS]
    backend = example.mode.partition(":")[2]  # of the user's
    wrong = f"the backend {backend}" if backend and right else f"{example.subject} in {modes}"
    told = [f"{', '.join(right)} obey{'s' * (len(right) == 1)} the law on this case"] if right else []
    told += [f"{mode} {word}" for mode, word in asked.items() if word not in (HOLDS, VIOLATED)]
    return f"{wrong}; {'; '.join(told)}"


def _known(example: Counterexample) -> str:
    none = ", and none that is in force here speaks of such a case" if example.subject == "torch" else ""
    nearest = f"; the nearest is {example.resembles}" if example.resembles else none
    return f"no entry of the ledger covers it{nearest}"


def _script_line(example: Counterexample, store: Path | None) -> str:
    if store is None:
        why = unimportable(example.subject)
        return f"none: {why}" if why else ""
    own = [name for name in (example.subject, example.mode.partition(":")[2]) if ":" in name]
    imported = " and ".join(["torch", *own]) if own else "torch only"
    ended = {
        True: f"imports {imported}; run: it exits 1",
        False: "run alone it exits 0: the failure needs what ran before it",
        None: f"not confirmed: {example.unconfirmed or 'not run'}",
    }
    return f"{store}/{example.id}.py ({ended[example.script_confirmed]})"


def lines(
    example: Counterexample, store: Path | None = None, laws: Mapping[str, Statement] = NO_LAWS, *, tried: bool = True
) -> list[str]:
    """A violation: the law's name with subject, modes, device and whether the baseline has it, then its labelled lines."""
    where = f"{example.subject} · {_modes(example)} · {example.device}"
    told = [f"  {label:7} {body}" for label, body in parts(example, store, laws, tried=tried)]
    return [f"{Status.VIOLATED.word.upper()}  {example.law}   {where}{OLD * example.in_baseline}", *told]


def more_reasons(verdict: Verdict) -> str:
    """How many of a verdict's reasons are not shown; empty if all are."""
    further = len(verdict.reasons) - SHOWN
    return f" (and {further:,} more of the kind)" if further > 0 else ""


def violations(verdicts: Iterable[Verdict], store: Path, laws: Mapping[str, Statement] = NO_LAWS) -> str:
    """The violations of one item as plain text, for pytest's own report; empty if there are none."""
    told = []
    for verdict in verdicts:
        if verdict.status == Status.VIOLATED:
            told += ["\n".join(lines(each, store, laws, tried=False)) for each in verdict.counterexamples]
        elif verdict.status == Status.UNKNOWN:
            told.append(f"UNKNOWN   {verdict.law}: {'; '.join(verdict.reasons)}")
    return "\n".join(told)
