"""The pages about the known bugs: ``docs/known``, which ``embcheck known --write`` makes of the ledger and of what is recorded.

The scripts are files beside the pages, which are written by hand.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from packaging.version import Version

from embcheck.core.cause import SEVERITIES, AnyCause, Cause, by_severity
from embcheck.core.ledger import Entry
from embcheck.core.machine import conditions
from embcheck.known.recorded import Recorded
from embcheck.known.tried import Tried

#: A report as the ledger names it, the repository with its owner or alone where both have one name.
_REPORT = re.compile(r"\b([\w.-]+(?:/[\w.-]+)?)#(\d+)")
#: What stands on the first page; the others have a page like it.
WORST = ("silent-wrong", "memory", "crash")
#: As many causes matter most: they have a snippet on the first page.
TWENTY = 20
_MADE = "<!-- Made by `embcheck known --write` from embcheck/core/ledger.toml and embcheck/known/recorded.json: edit those. -->"

#: What a cell says: all witnesses of the cause fail, all pass, some fail, none was run, or all fail on some machines only.
WRONG, RIGHT, MIXED, UNKNOWN, SOME_MACHINES = "✗", "✓", "✗✓", "·", "✗ᵐ"
LEGEND = (
    f"{WRONG} wrong, {RIGHT} right, {MIXED} some of its entries are right, {UNKNOWN} not run, {SOME_MACHINES} wrong on some "
    "machines only (see its page)"
)


class Column(NamedTuple):
    """A release, and a level of CPUs on which all witnesses were run with it, if that is known."""

    release: str
    level: str = ""

    def __str__(self) -> str:
        return f"{self.release} {self.level}".strip()


def columns(entries: Iterable[Entry], recorded: Mapping[str, Recorded]) -> list[Column]:
    """The releases with which most witnesses were run, in order; one with the levels on which they were has one for each."""
    run = [recorded[entry.name].releases for entry in entries if entry.name in recorded]
    counts = {release: sum(release in each for each in run) for release in {r for each in run for r in each}}
    levels = {release: found for entry in entries for release, found in (entry.measured or {}).items()}
    return [
        Column(release, level)
        for release in sorted((r for r, count in counts.items() if 2 * count > len(run)), key=Version)
        for level in sorted(levels.get(release, [""]), key=lambda level: (level != "DEFAULT", level))
    ]


def cell(column: Column, entries: Sequence[Entry], recorded: Mapping[str, Recorded]) -> str:
    """What the witnesses of a cause's entries showed there."""
    words = set()
    for entry in entries:
        if column.level and column.level not in (entry.measured or {}).get(column.release, ()):
            continue
        word = recorded.get(entry.name, Recorded(entry.witness)).releases.get(column.release)
        if word is not None:
            words.add(RIGHT if word == "right" else SOME_MACHINES if entry.machine else WRONG)
    return words.pop() if len(words) == 1 else MIXED if words else UNKNOWN


@dataclass(frozen=True)
class Known:
    """The entries of a ledger, their causes, what is recorded of the entries, the causes' scripts and where they fail."""

    entries: Sequence[Entry]
    causes: Sequence[Cause]
    recorded: Mapping[str, Recorded]
    scripts: Mapping[str, str] = field(default_factory=dict)
    tried: Mapping[str, Tried] = field(default_factory=dict)

    def of(self, cause: Cause) -> list[Entry]:
        return [entry for entry in self.entries if entry.cause == cause.name]

    def row(self, cause: Cause, heads: Iterable[Column]) -> list[str]:
        """What each column of the matrix says of a cause: what its witnesses showed there, or else its script."""
        words: dict[int | None, str] = {1: WRONG, 0: RIGHT}
        said = {release: words.get(status, UNKNOWN) for release, status in self._tried(cause).releases.items()}
        told = ((head, cell(head, self.of(cause), self.recorded)) for head in heads)
        return [said.get(head.release, UNKNOWN) if word == UNKNOWN else word for head, word in told]

    def reported(self, cause: Cause) -> str:
        """Where a cause was reported, or what its entries are linked with, or when that was looked for in vain."""
        links = dict.fromkeys(entry.link for entry in self.of(cause) if entry.link)
        return cause.reported if cause.upstream or not links else f"see {'; '.join(links)}"

    def since(self, cause: Cause) -> str:
        """The release with which a cause began, in words; empty if that is not known."""
        return cause.since or self._tried(cause).since

    def fixed(self, cause: Cause) -> str:
        """The release in which it was mended, in words; empty if that is not known."""
        return cause.fixed or self._tried(cause).fixed

    def _tried(self, cause: Cause) -> Tried:
        return self.tried.get(cause.name, Tried(""))

    @property
    def worst(self) -> list[Cause]:
        """Those that show no error, or end the process, in a release on which the entries were measured: the most severe first."""
        return [
            cause
            for cause in self.ordered
            if cause.severity in WORST and not all(entry.of_other_releases for entry in self.of(cause))
        ]

    @property
    def elsewhere(self) -> int:
        """The number of causes of which no entry speaks of the CPU."""
        return sum(not any(entry.runs_on("cpu") for entry in self.of(cause)) for cause in self.causes)

    @property
    def ordered(self) -> list[Cause]:
        return by_severity(self.causes)


def pages(known: Known) -> dict[str, str]:
    """The text of each file in ``docs/known`` by its path there."""
    found = {"index.md": index(known), "others.md": others(known)}
    return found | {f"{cause.name}.md": one(known, cause) for cause in known.causes}


def twenty(known: Known) -> list[Cause]:
    """The causes that matter most, in the order of the ledger."""
    return sorted((cause for cause in known.ordered if cause.snippet), key=known.causes.index)[:TWENTY]


def index(known: Known) -> str:
    """The first page: counts, the twenty that matter, and a matrix of what is silently wrong, memory or a crash."""
    most = twenty(known)
    return paragraphs(
        "# What torch gets wrong",
        _MADE,
        "embcheck tests embeddings, and what models with them rely on, against their mathematical definition. It found "
        f"{len(known.causes)} bugs of torch, {known.elsewhere} of them on CUDA alone. Each has a page with a script of a dozen "
        "lines, which a test runs, and stands in the list of known violations (the ledger) with one entry or more, each for "
        "the cases that it excuses: whatever lies outside of them fails a run. `embcheck known NAME` prints one, "
        "`embcheck issue NAME` a text for the tracker, `embcheck since NAME` finds the release in which it began. "
        "Each snippet ends with an assertion that fails on torch 2.13.0.",
        counts(known.causes, "entries", lambda causes: sum(len(known.of(cause)) for cause in causes)),
        f"## The {len(most)} that matter: ordinary training meets them, and no error shows them",
        "\n".join(
            f"**{number}. [{inline(cause.name)}]({cause.name}.md)** ([text for the tracker](issues/{cause.name}.md)) "
            f"`{cause.api}`: {inline(cause.title)}\n```python\n{cause.snippet}\n```"
            for number, cause in enumerate(most, 1)
        ),
        "## Silently wrong, memory and crashes, by release and machine",
        f"{LEGEND}. The columns with a CPU level: run with `ATEN_CPU_CAPABILITY` at it. "
        "What raises, messages, and what only older releases get wrong have [a page like this](others.md).",
        "\n".join(_matrix(known, known.worst)),
    )


def others(known: Known) -> str:
    worst = known.worst
    rest = [cause for cause in known.ordered if cause not in worst]
    return paragraphs(
        "# What torch gets wrong: errors and messages, and older releases",
        _MADE,
        "What is silently wrong in recent releases is on [the first page](index.md).",
        f"{LEGEND}.",
        "\n".join(_matrix(known, rest)),
    )


def one(known: Known, cause: Cause) -> str:
    """The page of a cause: what is wrong, a script that shows it, then the entries of the ledger that excuse it."""
    heads = columns(known.entries, known.recorded)
    cells = "; ".join(f"{head} {word}" for head, word in zip(heads, known.row(cause, heads), strict=True))
    script = known.scripts.get(cause.name, cause.snippet).rstrip()
    facts = [
        f"- **API** {inline(cause.api)}",
        f"- **severity** {SEVERITIES[cause.severity]}" if cause.severity else "",
        f"- **upstream** {linked(known.reported(cause))}",
        f"- **umbrella issue** {linked(cause.umbrella)}" if cause.umbrella else "",
        f"- **text for the tracker** [{cause.name}](issues/{cause.name}.md)" if cause in twenty(known) else "",
        f"- **since** {known.since(cause)}" if known.since(cause) else "",
        f"- **fixed** {known.fixed(cause)}" if known.fixed(cause) else "",
        f"- **releases** {cells}",
        f"- **script** [{cause.name}.py](scripts/{cause.name}.py)" if cause.name in known.scripts else "",
    ]
    return paragraphs(
        f"# {cause.name}",
        _MADE,
        inline(cause.title),
        "\n".join(filter(None, facts)),
        f"```python\n{script}\n```" if script else "",
        *(_entry(entry, known.recorded.get(entry.name, Recorded(entry.witness))) for entry in known.of(cause)),
        f"[All known bugs](index.md). {LEGEND}. A release with DEFAULT, AVX2 or AVX512: with kernels for such CPUs "
        "(`ATEN_CPU_CAPABILITY`).",
    )


def inline(text: str) -> str:
    """Text in which Markdown sees no markup: values, names with underscores, angle brackets."""
    for sign in "\\`*_[]|":
        text = text.replace(sign, f"\\{sign}")
    return text.replace("<", "&lt;").replace(">", "&gt;")


def linked(text: str) -> str:
    """Text in which reports, such as pytorch#1, are links to them."""

    def link(found: re.Match[str]) -> str:
        home = found[1] if "/" in found[1] else f"{found[1]}/{found[1]}"
        return f"[{found[0]}](https://github.com/{home}/issues/{found[2]})"

    return _REPORT.sub(link, inline(text))


def paragraphs(*parts: str) -> str:
    return "\n\n".join(filter(None, parts)) + "\n"


def counts(causes: Iterable[AnyCause], noun: str, number: Callable[[list[AnyCause]], int]) -> str:
    """A table of how many causes of each severity there are, the number of what they have, and of those with a report."""
    lines = [f"| severity | causes | {noun} | with a report | |", "| --- | --: | --: | --: | --- |"]
    for name, words in SEVERITIES.items():
        found = [cause for cause in causes if cause.severity == name]
        reports = sum(bool(cause.upstream) for cause in found)
        lines.append(f"| {name} | {len(found)} | {number(found)} | {reports} | {words} |")
    return "\n".join(lines)


def _matrix(known: Known, causes: Sequence[Cause]) -> list[str]:
    heads = columns(known.entries, known.recorded)
    lines = [
        f"| cause | what | {' | '.join(map(str, heads))} | upstream |",
        f"| --- | --- |{' --- |' * len(heads)} --- |",
    ]
    for cause in causes:
        reports = linked(cause.reports) or known.reported(cause)
        cells = " | ".join(known.row(cause, heads))
        name = f"[{inline(cause.name)}]({cause.name}.md)"
        lines.append(f"| {name} | `{cause.api.replace('|', '')}`: {inline(cause.title)} | {cells} | {reports} |")
    return lines


def _entry(entry: Entry, found: Recorded) -> str:
    seen = ", ".join(f"{release} {word}" for release, word in found.releases.items()) or "none yet"
    law = f"`{entry.law}`" + (f", seen through `{found.law}`" if found.law and found.law != entry.law else "")
    shown = [
        f"- **tried in** {seen}" + (f"; the entry is for {inline(str(entry.torch))}" if str(entry.torch) else ""),
        f"- **machines** with {inline(conditions(entry.machine))}" if entry.machine else "",
        f"- **device** `{entry.device}`" if entry.device != "*" else "",
    ]
    internal = [
        f"- **law** {law}" + (f", in the modes `{entry.mode}`" if entry.mode != "*" else ""),
        f"- **where** `{entry.region}`",
        f"- **case** `{entry.witness}`",
        f"- **comes out** {inline(found.words)}" if found.words else "",
    ]
    folded = "\n".join(
        ["<details><summary>What embcheck excuses</summary>", "", *filter(None, internal), "", "</details>"]
    )
    return paragraphs(f"## {entry.name}", inline(entry.reason), "\n".join(filter(None, shown)), folded).rstrip()
