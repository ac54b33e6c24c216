"""What torch gets wrong, for people: the ledger's entries, each with its script and the releases that were tried.

``findings.json`` beside this file keeps what only running can tell; ``docs/findings.md`` is made of it and of the
ledger, and a test says when either is out of date.  ``embcheck findings`` brings both up to date.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from packaging.version import Version

from embcheck.crashes.crash import exit_statuses
from embcheck.exit_lines import loosened
from embcheck.files import write_whole
from embcheck.ledger import Entry
from embcheck.machine import conditions
from embcheck.records.record import Record
from embcheck.residual.residue import residue
from embcheck.verdict import Status, Verdict

KEPT = Path(__file__).with_name("findings.json")
_PREFIX = "ledger: "


@dataclass(frozen=True)
class Finding:
    """What running an entry's witness told: ``words`` what comes out, ``releases`` what each torch makes of it."""

    witness: str
    law: str = ""
    words: str = ""
    script: str = ""
    releases: dict[str, str] = field(default_factory=dict)


def kept(path: Path = KEPT) -> dict[str, Finding]:
    """The findings by their entries' names."""
    data = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return {name: Finding(**found) for name, found in data.items()}


def keep(findings: Mapping[str, Finding], path: Path = KEPT) -> None:
    """Writes them, one after the other by name."""
    data = {name: asdict(findings[name]) for name in sorted(findings)}
    write_whole(path, json.dumps(data, indent=1, ensure_ascii=False) + "\n")


def outdated(entries: Iterable[Entry], findings: Mapping[str, Finding]) -> list[str]:
    """The entries whose witness was never run as it stands."""
    return [e.name for e in entries if (found := findings.get(e.name)) is None or found.witness != e.witness]


def unseen(entries: Iterable[Entry], findings: Mapping[str, Finding]) -> list[str]:
    """The entries whose witness was not seen to fail in any release: there is no script."""
    return [e.name for e in entries if (found := findings.get(e.name)) is None or not found.script]


def updated(
    entries: Sequence[Entry], findings: Mapping[str, Finding], verdicts: Mapping[str, Iterable[Verdict]]
) -> dict[str, Finding]:
    """The findings with what the witnesses' ``verdicts`` tell, by torch release; of entries that are gone nothing
    is left, and of a witness that changed nothing but what was seen of the new one."""
    found = {}
    for entry in entries:
        known = findings.get(entry.name)
        held = known if known is not None and known.witness == entry.witness else Finding(entry.witness)
        for release, judged in verdicts.items():
            for verdict in judged:
                if verdict.law == f"{_PREFIX}{entry.name}":
                    held = _told(held, public(release), verdict, bool(entry.machine))
        if known is None or known.script != held.script:
            held = replace(held, script=residue(held.script))
        found[entry.name] = held
    return found


def tried(found: Mapping[str, Finding], seconds: float = 300.0) -> tuple[dict[str, Finding], dict[str, int | None]]:
    """The findings, and how each one's script ends on the installed torch.

    A script that ends otherwise once what is allocated is filled with something compares memory that nobody wrote: there any
    wrong value is the same difference.
    """
    names = [name for name in found if found[name].script]
    scripts = [found[name].script for name in names]
    plain = exit_statuses(scripts, seconds)
    filled = exit_statuses(scripts, seconds, {"MALLOC_PERTURB_": "85"})
    shown = {}
    for name, script, *statuses in zip(names, scripts, plain, filled, strict=True):
        if 1 in statuses and 2 in statuses:
            shown[name] = replace(found[name], script=loosened(script))
    return {**found, **shown}, {n: 1 if n in shown else code for n, code in zip(names, plain, strict=True)}


def _told(held: Finding, release: str, verdict: Verdict, some_machines: bool) -> Finding:
    shown = verdict.counterexamples[:1]
    if verdict.status == Status.NOT_APPLICABLE and some_machines:
        return held  # a machine of another kind tells nothing of these
    if verdict.status == Status.VIOLATED and not shown:
        return held  # stale here: the run that said so has failed already
    word = "wrong" if shown else "right"
    releases = dict(sorted({**held.releases, release: word}.items(), key=lambda item: Version(item[0])))
    if not shown:
        return Finding(held.witness, held.law, held.words, held.script, releases)
    (example,) = shown
    return Finding(held.witness, example.law, example.words, example.script, releases)


def public(release: str) -> str:
    """A release without the build's local name: 2.13.0 for 2.13.0+cpu."""
    return Version(release).public


def of_records(records: Iterable[Record]) -> dict[str, list[Verdict]]:
    """The witnesses' verdicts in some records, by torch release."""
    return {record.torch: [v for v in record.verdicts if v.engine == "witness"] for record in records}


# -- as a page ---------------------------------------------------------------------------------------------------


def page(entries: Sequence[Entry], findings: Mapping[str, Finding]) -> str:
    """``docs/findings.md``."""
    releases = sorted({release for found in findings.values() for release in found.releases}, key=Version)
    parts = [
        "# What torch gets wrong\n",
        "<!-- Made by `embcheck findings` from embcheck/ledger.toml and embcheck/findings.json: edit those. -->\n",
        f"{len(entries)} findings. Each is an entry of the ledger: the region in which a law is violated, a smallest "
        "case, and a program that imports torch and nothing else. It prints what is expected beside what came out, and "
        "exits 1 only if the same difference shows, 0 if what the law says is right, and 2 for anything else: a value that is "
        "wrong in another way, another error, something that this torch does not have. Its data lie in memory as the case's "
        "do. `embcheck findings --script NAME` prints one. The witnesses are run again by every `embcheck run`, and the scripts "
        "by a test, which compares their exit status with what the ledger says of the installed torch.\n",
        *_table(entries, findings, releases),
    ]
    for entry in entries:
        parts += _section(entry, findings.get(entry.name, Finding(entry.witness)))
    return "\n".join(parts).rstrip() + "\n"


def _table(entries: Sequence[Entry], findings: Mapping[str, Finding], releases: Sequence[str]) -> list[str]:
    rows = [
        f"| finding | {' | '.join(releases)} |",
        f"| --- |{' --- |' * len(releases)}",
    ]
    for entry in entries:
        seen = findings.get(entry.name, Finding(entry.witness)).releases
        cells = " | ".join(seen.get(release, "–") for release in releases)
        rows.append(f"| [{entry.name}](#{entry.name}) | {cells} |")
    return ["\n".join(rows) + "\n"]


def _section(entry: Entry, found: Finding) -> list[str]:
    link = f"reported: {entry.link}" if entry.link else "no report found"
    seen = ", ".join(f"{release} {word}" for release, word in found.releases.items()) or "none yet"
    law = f"`{entry.law}`" + (f", seen through `{found.law}`" if found.law and found.law != entry.law else "")
    facts = [
        f"- **law** {law}" + (f", mode `{entry.mode}`" if entry.mode != "*" else ""),
        f"- **where** `{', '.join(f'{name} = {value!r}' for name, value in entry.where.items())}`",
        *([f"- **machines** with {inline(conditions(entry.machine))}"] if entry.machine else []),
        f"- **torch** {str(entry.torch) or 'every release'} · tried: {seen}",
        f"- **case** `{entry.witness}`",
        *([f"- **comes out** {inline(found.words)}"] if found.words else []),
        f"- **link** {link}",
    ]
    parts = [f"## {entry.name}\n", f"{inline(entry.reason)}\n", "\n".join(facts) + "\n"]
    if found.script:
        body = "\n".join(f"    {line}".rstrip() for line in ["```python", *found.script.rstrip().split("\n"), "```"])
        parts.append(f'??? example "script"\n\n{body}\n')
    return parts


def inline(text: str) -> str:
    """Text in which Markdown sees no markup: values, names with underscores, angle brackets."""
    for sign in "\\`*_[]<>|":
        text = text.replace(sign, f"\\{sign}")
    return text
