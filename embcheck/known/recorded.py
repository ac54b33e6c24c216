"""What running the ledger's witnesses told: what came out, and what each release made of it; and a script of each cause.

``recorded.json`` beside this file keeps what was told.  The scripts are written by hand, in ``docs/known/scripts`` of a
checkout, which lies beside this file where embcheck is installed.  A test runs each on the installed torch.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from packaging.version import Version

from embcheck.core.files import write_whole
from embcheck.core.ledger import Entry
from embcheck.core.verdict import Status, Verdict, witness_law
from embcheck.record.record import Record

KEPT = Path(__file__).with_name("recorded.json")
#: Where the pages are, in a checkout: those about torch, and beside them those about models.
DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGES = DOCS / "known"
_INSTALLED = Path(__file__).with_name("scripts")
SCRIPTS = _INSTALLED if _INSTALLED.is_dir() else PAGES / "scripts"


@dataclass(frozen=True)
class Recorded:
    """What running an entry's witness told: ``words`` what comes out, ``releases`` what each torch makes of it."""

    witness: str
    law: str = ""
    words: str = ""
    releases: dict[str, str] = field(default_factory=dict)


def kept(path: Path = KEPT) -> dict[str, Recorded]:
    data = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return {name: Recorded(**found) for name, found in data.items()}


def keep(recorded: Mapping[str, Recorded], path: Path = KEPT) -> None:
    data = {name: asdict(recorded[name]) for name in sorted(recorded)}
    write_whole(path, json.dumps(data, indent=1, ensure_ascii=False) + "\n")


def scripts(folder: Path = SCRIPTS) -> dict[str, str]:
    return {path.stem: path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.py"))}


def outdated(entries: Iterable[Entry], recorded: Mapping[str, Recorded]) -> list[str]:
    """The entries whose witness was never run as it stands."""
    return [e.name for e in entries if (found := recorded.get(e.name)) is None or found.witness != e.witness]


def unseen(entries: Iterable[Entry], recorded: Mapping[str, Recorded]) -> list[str]:
    """The entries whose witness was not seen to fail in any release."""
    return [e.name for e in entries if "wrong" not in recorded.get(e.name, Recorded(e.witness)).releases.values()]


def updated(
    entries: Sequence[Entry], recorded: Mapping[str, Recorded], verdicts: Mapping[str, Iterable[Verdict]]
) -> dict[str, Recorded]:
    """What is recorded, with what the witnesses' ``verdicts`` tell, by torch release; of entries that are gone nothing
    is left, and of a witness that changed nothing but what was seen of the new one."""
    found = {}
    for entry in entries:
        known = recorded.get(entry.name)
        held = known if known is not None and known.witness == entry.witness else Recorded(entry.witness)
        for release, judged in verdicts.items():
            for verdict in judged:
                # What another device makes of an entry that does not speak of it says nothing of the release.
                if verdict.law == witness_law(entry.name) and entry.runs_on("cpu") == (verdict.device == "cpu"):
                    held = _told(held, public(release), verdict, bool(entry.machine) or not entry.runs_on("cpu"))
        found[entry.name] = held
    return found


def _told(held: Recorded, release: str, verdict: Verdict, some_machines: bool) -> Recorded:
    shown = verdict.counterexamples[:1]
    if verdict.status == Status.NOT_APPLICABLE and some_machines:
        return held  # a machine of another kind tells nothing of these
    if verdict.status in (Status.NOT_APPLICABLE, Status.UNKNOWN):  # a witness that was not judged was not right
        unjudged = (release, "right")
        return replace(held, releases=dict(told for told in held.releases.items() if told != unjudged))
    if verdict.status == Status.VIOLATED and not shown:
        return held  # stale here: the run that said so has failed already
    word = "wrong" if shown else "right"
    releases = dict(sorted({**held.releases, release: word}.items(), key=lambda item: Version(item[0])))
    if not shown:
        return replace(held, releases=releases)
    (example,) = shown
    return Recorded(held.witness, example.law, example.words, releases)


def public(release: str) -> str:
    """A release without the build's local name: 2.13.0 for 2.13.0+cpu."""
    return Version(release).public


def of_records(records: Iterable[Record]) -> dict[str, list[Verdict]]:
    """The witnesses' verdicts in some records, by torch release."""
    return {record.torch: [v for v in record.verdicts if v.engine == "witness"] for record in records}
