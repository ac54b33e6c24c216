"""What a run leaves for people beside its record: the page, and the summary of a job of GitHub Actions."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

from embcheck.core.files import write_whole
from embcheck.record.compare import Baseline
from embcheck.record.record import PAGE, Record
from embcheck.report.github import summary


def publish(record: Record, baseline: Baseline | None, last: str, path: Path | None) -> list[str]:
    """The page beside the record at ``path``, if its extra is there, and the summary; what can't be written, in words."""
    summary_file = os.environ.get("GITHUB_STEP_SUMMARY")
    try:
        if summary_file:
            with Path(summary_file).open("a", encoding="utf-8") as file:
                file.write(summary(record, baseline, last))
        if path is not None and find_spec("jinja2") is not None:
            from embcheck.report.page import of_record, render

            shown = render([of_record(record, store=path.parent)])
            write_whole(path.with_name(PAGE), shown)
    except OSError as error:
        return [f"a report can't be written to {error.filename}: {error.strerror}"]
    return []
