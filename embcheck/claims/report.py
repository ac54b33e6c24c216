"""The claims in the terminal, and one claim's full story."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from embcheck.claims.claim import Claim
from embcheck.core.claim_record import HOLDS, ONLY_IF, ORDER, OTHERWISE, REFUTED, chapters

if TYPE_CHECKING:
    from embcheck.claims.appraisal import Appraised

_STYLE = {HOLDS: "green", ONLY_IF: "yellow", REFUTED: "red"}
_UNEXPECTED = "bold reverse red"


def verdict_text(found: Appraised) -> Text:
    """The verdict; where torch does otherwise than stated, what was stated and what was seen."""
    made = found.claim.told
    if found.as_stated:
        return Text(made.verdict, _STYLE[made.verdict])
    seen = f", seen: {found.shown.verdict}" if found.shown.verdict not in (None, made.verdict) else ""
    return Text(f"{found.verdict.status.word.upper()} (stated: {made.verdict}{seen})", _UNEXPECTED)


def evidence(found: Appraised) -> list[str]:
    """What decides: the condition or what is true instead, what the cases showed, and how likely that is chance."""
    told = found.claim.told
    lines = [told.decided, *found.shown.lines, *(example.words for example in found.verdict.counterexamples)]
    return [line for line in (*lines, found.reason, told.risk(found.shown.cases)) if line]


def claims_report(out: Console, appraised: Iterable[Appraised]) -> None:
    """Every claim, by tutorial, what is refuted first: itself, its words, the verdict in colour, the evidence."""
    for chapter in chapters(appraised, lambda found: found.claim.told, outcome):
        tutorial = chapter.tutorial
        out.print(Text.assemble((tutorial.title, "bold"), f"  {tutorial.gloss}"))
        out.print(Text(f"{tutorial.file}, {chapter.counted}\n", "dim"))
        for found in chapter.shown:
            told = found.claim.told
            out.print(Text.assemble(verdict_text(found), f"  {told.id}  {told.sentence}"))
            for line in (f"{told.source} {told.said}", *evidence(found)):
                out.print(Text(f"    {line}"))
        out.print()


def outcome(found: Appraised) -> str:
    """The verdict, or that it is not the one that is stated."""
    return found.claim.told.verdict if found.as_stated else OTHERWISE


def closing(appraised: list[Appraised], release: str, seed: int, digest: str) -> str:
    """How many claims came out how."""
    counts = Counter(outcome(found) for found in appraised)
    words = ", ".join(f"{counts[word]} {word}" for word in ORDER if counts[word])
    cases = sum(found.shown.cases for found in appraised)
    number = f"{len(appraised)} claim{'s' if len(appraised) != 1 else ''}"
    return f"{number}: {words} · {cases:,} judgements · torch {release} · seed {seed} · cases {digest}"


def story_lines(made: Claim, checks: list[Any], found: list[tuple[Any, str, str]]) -> list[str]:
    """A claim from its source to a program that shows it."""
    told = made.told
    lines = [
        f"# {told.id}: {told.sentence}",
        f"# tutorial: {told.tutorial.title} ({told.tutorial.gloss})",
        f"# source:   {told.source} {told.said}",
        f"# verdict:  {told.verdict}" + (f"; {told.otherwise}" if told.otherwise else ""),
        *([f"# {told.risk(1)}"] if told.chance is not None else []),
        f"# law:      {made.law}",
    ]
    for case, words, _ in found:
        lines += [f"# {case!r}", f"#     {words}"]
    for check in checks:
        lines += ["#", *(f"# {line}" for line in source_of(check).splitlines())]
    # The most telling program: of a case where the claim is false, if there is one.
    _, _, program = next((one for one in found if one[1].startswith("false")), found[0])
    return [*lines, "", *program.rstrip("\n").splitlines()]


def source_of(check: Any) -> str:
    """The source of a function, or of a lambda without the call that it is an argument of."""
    source, first = inspect.getsourcelines(check)
    if check.__name__ != "<lambda>":
        text = textwrap.dedent("".join(source))
        return text[max(text.find("def "), 0) :].rstrip()
    module = inspect.getsource(inspect.getmodule(check))  # type: ignore[arg-type]
    found = [node for node in ast.walk(ast.parse(module)) if isinstance(node, ast.Lambda) and node.lineno == first]
    return ast.unparse(found[0].body)
