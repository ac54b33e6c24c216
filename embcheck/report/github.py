"""What GitHub Actions shows of a run: an annotation for each failure, and a summary of the job in Markdown."""

from collections.abc import Collection, Iterable, Sequence

from embcheck.core.verdict import Status, Verdict, entry_name
from embcheck.record.compare import Baseline, Key, across, compare
from embcheck.record.record import Record
from embcheck.record.totals import Totals
from embcheck.report.changes import closing
from embcheck.report.screen import HEADINGS, family_rows

#: Annotations of one run: GitHub shows ten of a kind for a step, and the summary has all.
_SHOWN = 10
#: Failures that the summary tells in full; a summary may have a mebibyte.
_FULL = 40


def workflow_commands(verdicts: Iterable[Verdict], excused: Collection[Key] = ()) -> list[str]:
    """A workflow command for each law that fails; a notice where the baseline failed as well."""
    found = []
    for verdict in verdicts:
        if verdict.status >= Status.UNKNOWN:
            level = "notice" if verdict.key in excused else "error"
            title = f"{verdict.status.word}: {verdict.law} ({verdict.subject}, {verdict.mode})"
            title = _data(title).replace(":", "%3A").replace(",", "%2C")
            told = [f"{e.case}\n{e.words}" for e in verdict.counterexamples[:1]] or verdict.reasons[:2]
            found.append(f"::{level} title={title}::{_data(chr(10).join(told) or verdict.status.word)}")
    found.sort(key=lambda line: not line.startswith("::error"))
    return found[:_SHOWN]


def _data(text: str) -> str:
    """As a workflow command's message is escaped."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def summary(record: Record, baseline: Baseline | None = None, last: str = "") -> str:
    """The job's summary: counts and the ``last`` line of the run, the families, what fails with its cases, what changed
    against the baseline."""
    settled = record.settled()
    footer = record.footer or {}
    excused = baseline.excused(record.verdicts, settled) if baseline is not None else frozenset()
    other = across(baseline.record, record) if baseline is not None else ""
    warnings = [f"against the baseline: {other}" if other else "", record.shortfall]
    lines = [
        f"## embcheck · torch {_text(record.torch)}",
        "",
        *(line for told in warnings if told for line in (f"> **{_text(told)}**", "")),
        f"{Totals.of(settled)} · {footer.get('cases', 0):,} cases · seed {_text(record.setting('seed'))} · "
        f"profile {_text(record.setting('profile'))} · {footer.get('seconds', 0):.0f} s",
        "",
        *([f"**{_text(last)}**", ""] if last else []),
        *_families(settled, record.verdicts),
    ]
    failing = sorted((v for v in settled if v.status >= Status.UNKNOWN), key=lambda v: (v.key in excused, -v.status))
    if failing:
        lines += ["| verdict | law | mode | smallest case, or the reason |", "| --- | --- | --- | --- |"]
    for verdict in failing[:_FULL]:
        old = " (in the baseline too)" if verdict.key in excused else ""
        example = next(iter(verdict.counterexamples), None)
        told = f"{_code(example.case)} {_text(example.words)}" if example else _text("; ".join(verdict.reasons[:2]))
        lines.append(f"| **{verdict.status.word}**{old} | {_code(verdict.law)} | {_text(verdict.mode)} | {told} |")
    if len(failing) > _FULL:
        lines.append(f"\n… and {len(failing) - _FULL} more, in the record.")
    if baseline is not None:
        lines += ["", f"Against the baseline: {closing(compare(baseline.record, record))}."]
    known = sorted(entry_name(verdict.law) for verdict in settled if verdict.engine == "witness")
    if known:
        lines += ["", f"<details><summary>{len(known)} entries of the ledger were looked at</summary>", ""]
        lines += [", ".join(_code(name) for name in known), "", "</details>"]
    return "\n".join(lines) + "\n"


def _families(settled: Sequence[Verdict], judged: Iterable[Verdict]) -> list[str]:
    """A table of the families, as the terminal has it."""
    rows = family_rows(settled, judged)
    cells = [f"| {_code(r.family)} | {r.laws} | {_text(r.verdicts)} | {r.cases} | {r.known} |" for r in rows]
    return [f"| {' | '.join(HEADINGS)} |", "| --- | --: | --- | --: | --: |", *cells, ""] if rows else []


def _text(text: str) -> str:
    """Text in a cell of a Markdown table, in which nothing is markup."""
    for sign, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("|", "&#124;"), ("`", "&#96;"), ("*", "&#42;")):
        text = text.replace(sign, entity)
    return " ".join(text.replace("_", "&#95;").replace("[", "&#91;").split())


def _code(text: str) -> str:
    return f"<code>{_text(text)}</code>"
