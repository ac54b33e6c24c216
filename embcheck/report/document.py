"""A run as one JSON document: what was run on what, what it came to, family by family, and what fails."""

import json
from typing import Any

from embcheck.core.tiers import CORE
from embcheck.core.verdict import Counterexample, Statement, Status
from embcheck.record.record import Record
from embcheck.record.totals import Totals, by_word, shares
from embcheck.report.failure import parts


def of_session(session: Any) -> dict[str, Any]:
    """The document of a run that is over; its numbers are those of the record's footer."""
    record: Record = session.record
    totals, footer = Totals.of(session.settled), record.footer or {}
    return {
        "exit_code": session.code,
        "because": session.because,
        "stopped": session.stopped,
        "versions": record.header["versions"],
        "machine": record.header["machine"],
        "settings": record.header["settings"],
        "seconds": footer.get("seconds"),
        "cases": session.results.cases,
        "digest": session.results.digest,
        "laws": by_word(totals.laws),
        "witnesses": by_word(totals.witnesses),
        "families": {
            name: {
                "tier": "core" if name in CORE else "extended",
                "laws": by_word(share.laws),
                "cases": share.cases,
                "seconds": round(share.seconds, 2),
                "known": sorted(share.entries),
            }
            for name, share in shares(session.settled, session.results.verdicts).items()
        },
        "failures": [_failure(example, record.laws, session) for example in session.examples],
        "undecided": [
            {"name": v.law, "family": v.family, "mode": v.mode, "status": v.status.word, "reasons": list(v.reasons)}
            for v in session.settled
            if v.status >= Status.UNKNOWN and not v.counterexamples
        ],
        "in_baseline": [list(key) for key in sorted(session.excused)],
        "unaccounted": session.unaccounted,
        "kept": session.kept,
        "notes": session.results.notes,
        "record": str(session.writer.path) if session.writer.writes else None,
    }


def of_nothing(code: int, because: str) -> dict[str, Any]:
    """The document of a run in which nothing was judged."""
    return {"exit_code": code, "because": because}


def text(document: dict[str, Any]) -> str:
    return json.dumps(document, indent=1, sort_keys=False)


def _failure(example: Counterexample, laws: dict[str, Statement], session: Any) -> dict[str, Any]:
    """A violation, with the labelled lines that the terminal prints of it and what a program needs beside them."""
    told = dict(parts(example, session.store, laws))
    return {
        "id": example.id,
        "name": example.law,
        "family": example.family,
        "subject": example.subject,
        "modes": [example.mode, *example.other_modes],
        "device": example.device,
        "kind": example.kind,
        "in_baseline": example.in_baseline,
        **told,
        "case": example.case,
        "also": list(example.also),
    }
