"""The pages about the known bugs: ``docs/known``, which ``embcheck known --write`` makes of the ledger and of what is recorded.

The scripts are files beside the pages, which are written by hand.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from textwrap import shorten
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
_MEANINGS = {
    WRONG: "wrong",
    RIGHT: "right",
    MIXED: "some of its entries are right",
    UNKNOWN: "not run",
    SOME_MACHINES: "wrong on some machines only",
}
_CAPABILITIES = "DEFAULT, AVX2, AVX512: with kernels for CPUs of this capability (`ATEN_CPU_CAPABILITY`)."
#: How much is shown of what came out, and as much of what was expected.
_SHOWN = 300


class Column(NamedTuple):
    """A release, and a capability of CPUs, or of GPUs, with which all witnesses were run with it, if that is known."""

    release: str
    level: str = ""

    def __str__(self) -> str:
        return f"{self.release} {self.level}".strip() if self.of_cpus else f"{self.release}, {self.capability}"

    @property
    def of_cpus(self) -> bool:
        return not self.level[:1].isdigit()

    @property
    def capability(self) -> str:
        """Its level in words; empty if none is known."""
        kind = "CPU" if self.of_cpus else "compute"
        return f"{kind} capability {self.level}" if self.level else ""


def legend(words: Iterable[str]) -> str:
    """What the signs mean that are used."""
    return ", ".join(f"{sign} {meaning}" for sign, meaning in _MEANINGS.items() if sign in {*words})


def columns(entries: Sequence[Entry], recorded: Mapping[str, Recorded]) -> list[Column]:
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
    """What the witnesses of a cause's entries showed there: of those for such releases, and if there is none of all."""
    words = set()
    for entry in [each for each in entries if each.torch.contains(column.release)] or entries:
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

    def heads(self, cause: Cause) -> list[Column]:
        """The columns of the matrix in which a cause stands: what another device alone shows was run with other releases."""
        on_cpu = self.on_cpu(cause)
        return columns([entry for entry in self.entries if entry.runs_on("cpu") is on_cpu], self.recorded)

    def on_cpu(self, cause: Cause) -> bool:
        """Whether an entry of a cause speaks of the CPU."""
        return any(entry.runs_on("cpu") for entry in self.of(cause))

    def row(self, cause: Cause, heads: Iterable[Column]) -> list[str]:
        """What each column of the matrix says of a cause: what its witnesses showed there, or else its script."""
        ended = self.tried.get(cause.name, Tried("")).releases
        words: dict[int | None, str] = {1: WRONG, 0: RIGHT}
        if all(entry.machine for entry in self.of(cause)):  # such a machine ran the script only if it failed somewhere
            words = {1: SOME_MACHINES, 0: RIGHT} if 1 in ended.values() else {}
        said = {release: words.get(status, UNKNOWN) for release, status in ended.items()}
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
        """How the script of a cause ended in each release; where it decides nothing, whether a witness was wrong; if it never
        decides anything, what the witnesses showed."""
        decided = {release: int(fails) for release, fails in self.tried.get(cause.name, Tried("")).decided}
        shown = [self.recorded.get(entry.name, Recorded(entry.witness)).releases for entry in self.of(cause)]
        wrong = {release for each in shown for release, word in each.items() if word == "wrong"}
        told = wrong if decided else {release for each in shown for release in each}
        return Tried("", {**{release: int(release in wrong) for release in told}, **decided})

    @property
    def worst(self) -> list[Cause]:
        """Those that show no error, or end the process, in a release on which the entries were measured: the most severe first."""
        return [
            cause
            for cause in self.ordered
            if cause.severity in WORST and not all(entry.of_other_releases for entry in self.of(cause))
        ]

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
    most, on_cuda_alone = twenty(known), sum(not known.on_cpu(cause) for cause in known.causes)
    return paragraphs(
        "# What torch gets wrong",
        _MADE,
        "embcheck tests embeddings, and what models with them rely on, against their mathematical definition. It found "
        f"{len(known.causes)} bugs of torch, {on_cuda_alone} of them on CUDA alone. Each has a page with a script of a dozen "
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
        "What raises, messages, and what only older releases get wrong have [a page like this](others.md). "
        f"{_CAPABILITIES}",
        *_matrices(known, known.worst),
    )


def others(known: Known) -> str:
    worst = known.worst
    rest = [cause for cause in known.ordered if cause not in worst]
    return paragraphs(
        "# What torch gets wrong: errors and messages, and older releases",
        _MADE,
        f"What is silently wrong in recent releases is on [the first page](index.md). {_CAPABILITIES}",
        *_matrices(known, rest),
    )


def one(known: Known, cause: Cause) -> str:
    """The page of a cause: what is wrong, a script that shows it, then the entries of the ledger that excuse it."""
    heads = known.heads(cause)
    words = known.row(cause, heads)
    script = known.scripts.get(cause.name, cause.snippet).rstrip()
    facts = [
        f"- **API** {inline(cause.api)}",
        f"- **severity** {SEVERITIES[cause.severity]}" if cause.severity else "",
        f"- **upstream** {linked(known.reported(cause))}",
        f"- **umbrella issue** {linked(cause.umbrella)}" if cause.umbrella else "",
        f"- **text for the tracker** [{cause.name}](issues/{cause.name}.md)" if cause in twenty(known) else "",
        f"- **since** {known.since(cause)}" if known.since(cause) else "",
        f"- **fixed** {known.fixed(cause)}" if known.fixed(cause) else "",
        f"- **releases** {'; '.join(by_release(heads, words))} ({legend(words)})",
        f"- **script** [{cause.name}.py](scripts/{cause.name}.py)" if cause.name in known.scripts else "",
    ]
    return paragraphs(
        f"# {cause.name}",
        _MADE,
        inline(cause.title),
        "\n".join(filter(None, facts)),
        f"```python\n{script}\n```" if script else "",
        *(_entry(entry, known.recorded.get(entry.name, Recorded(entry.witness))) for entry in known.of(cause)),
        f"[All known bugs](index.md). {_CAPABILITIES if known.on_cpu(cause) else ''}".rstrip(),
    )


def by_release(heads: Iterable[Column], words: Iterable[str]) -> list[str]:
    """What a row says of each release; where it was run with several capabilities, with which."""
    told = []
    for release, there in groupby(zip(heads, words, strict=True), lambda pair: pair[0].release):
        by_word: dict[str, list[Column]] = {}
        for head, word in there:
            by_word.setdefault(word, []).append(head)
        told.append(f"{release} {', '.join(map(_with_capabilities, by_word.values(), by_word))}")
    return told


def _with_capabilities(heads: Sequence[Column], word: str) -> str:
    names = ", ".join([heads[0].capability, *(head.level for head in heads[1:])])
    return f"{word} ({names})" if names and word != UNKNOWN else word


def short(words: str) -> str:
    """What came out, and what was expected, each as far as one reads it."""
    return ", expected ".join(shorten(side, _SHOWN, placeholder=" …") for side in words.split(", expected ", 1))


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


def _matrices(known: Known, causes: Sequence[Cause]) -> Iterator[str]:
    """A table of the causes that the CPU shows, and one of those that CUDA alone does, each with the signs that it has."""
    for on_cpu in (True, False):
        if found := [cause for cause in causes if known.on_cpu(cause) is on_cpu]:
            signs = legend(word for cause in found for word in known.row(cause, known.heads(cause)))
            yield f"{'' if on_cpu else 'On CUDA alone: '}{signs}."
            yield "\n".join(_matrix(known, found))


def _matrix(known: Known, causes: Sequence[Cause]) -> list[str]:
    heads = known.heads(causes[0])
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
    seen = ", ".join(f"{release} {word}" for release, word in found.releases.items()) or "no release yet"
    law = f"`{entry.law}`" + (f", measured by law `{found.law}`" if found.law and found.law != entry.law else "")
    shown = [
        f"- **tested with** {seen}"
        + (f"; the entry is for torch {inline(str(entry.torch))}" if str(entry.torch) else ""),
        f"- **machines** with {inline(conditions(entry.machine))}" if entry.machine else "",
        f"- **device** `{entry.device}`" if entry.device != "*" else "",
    ]
    internal = [
        f"- **law** {law}" + (f", in the modes `{entry.mode}`" if entry.mode != "*" else ""),
        f"- **condition** `{entry.region}`",
        f"- **case** `{entry.witness}`",
        f"- **result** {inline(short(found.words))}" if found.words else "",
    ]
    folded = "\n".join(
        ["<details><summary>What embcheck excuses</summary>", "", *filter(None, internal), "", "</details>"]
    )
    return paragraphs(f"## {entry.name}", inline(entry.reason), "\n".join(filter(None, shown)), folded).rstrip()
