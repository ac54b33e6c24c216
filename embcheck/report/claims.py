"""The claims in the terminal: a table where there is one, plain lines otherwise; and one claim's full story."""

from __future__ import annotations

import inspect
import textwrap
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from embcheck.claims.claim import HOLDS, ONLY_IF, REFUTED, Claim

if TYPE_CHECKING:
    from embcheck.claims.appraisal import Appraised

_STYLE = {HOLDS: "green", ONLY_IF: "yellow", REFUTED: "red"}
_OTHERWISE = "bold reverse red"


def verdict_text(found: Appraised) -> Text:
    """The verdict; where torch does otherwise than stated, what was stated and what was seen."""
    made = found.claim
    if found.as_stated:
        return Text(made.verdict, _STYLE[made.verdict])
    seen = f", seen: {found.shown.verdict}" if found.shown.verdict not in (None, made.verdict) else ""
    return Text(f"{found.verdict.status.word.upper()} (stated: {made.verdict}{seen})", _OTHERWISE)


def evidence(found: Appraised) -> list[str]:
    """The condition or what is true instead, and what the cases showed."""
    made = found.claim
    lines = [f"{'only if' if made.verdict == ONLY_IF else 'instead'}: {made.otherwise}"] if made.otherwise else []
    lines += found.shown.lines
    lines += [example.words for example in found.verdict.counterexamples]
    return lines + ([found.reason] if found.reason else [])


def claims_report(out: Console, appraised: Iterable[Appraised]) -> None:
    """Every claim: itself, its source, the verdict in colour, the evidence."""
    if out.is_terminal:
        out.print(claims_table(appraised))
        return
    for found in appraised:
        made = found.claim
        out.print(Text.assemble(verdict_text(found), f"  {made.id}  {made.sentence}"))
        for line in (f"{made.source} “{made.phrase}”", *evidence(found)):
            out.print(Text(f"    {line}"))


def claims_table(appraised: Iterable[Appraised]) -> Table:
    """A row for each claim."""
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 1, 0))
    table.add_column("claim", ratio=3)
    table.add_column("source", ratio=2, overflow="fold")
    table.add_column("verdict", min_width=8)
    table.add_column("evidence", ratio=4)
    for found in appraised:
        made = found.claim
        table.add_row(
            Text.assemble((made.id, "bold"), f"\n{made.sentence}"),
            Text.assemble((made.source, "dim"), f"\n{made.phrase}"),
            verdict_text(found),
            Text("\n".join(evidence(found))),
        )
    return table


def closing(appraised: list[Appraised], release: str, seed: int, digest: str) -> str:
    """How many claims came out how."""
    counts = Counter(found.claim.verdict if found.as_stated else "otherwise than stated" for found in appraised)
    words = ", ".join(
        f"{counts[word]} {word}" for word in (HOLDS, ONLY_IF, REFUTED, "otherwise than stated") if counts[word]
    )
    cases = sum(found.shown.cases for found in appraised)
    number = f"{len(appraised)} claim{'s' if len(appraised) != 1 else ''}"
    return f"{number}: {words} · {cases:,} judgements · torch {release} · seed {seed} · cases {digest}"


def story_lines(made: Claim, checks: list[Any], found: list[tuple[Any, str, str]]) -> list[str]:
    """A claim from its source to a program that shows it."""
    lines = [
        f"# {made.id}: {made.sentence}",
        f"# source:  {made.source} “{made.phrase}”",
        f"# verdict: {made.verdict}" + (f"; {made.otherwise}" if made.otherwise else ""),
        f"# law:     {made.law}",
    ]
    for case, words, _ in found:
        lines += [f"# {case!r}", f"#     {words}"]
    for check in checks:
        source = textwrap.dedent(inspect.getsource(check))
        lines += ["#", *(f"# {line}" for line in source[max(source.find("def "), 0) :].rstrip().splitlines())]
    # The most telling program: of a case where the claim is false, if there is one.
    _, _, program = next((one for one in found if one[1].startswith("false")), found[0])
    return [*lines, "", *program.rstrip("\n").splitlines()]
