"""The controlling process' part of a run: it collects verdicts, examines crashes, writes the record, and settles.

Workers only judge.  Whatever they hand over passes through here once, so there is one writer of the record and one
place that decides the exit code.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from embcheck.crashes.crash import confirmed, verdict_of_crash
from embcheck.crashes.slot import Running, read_slot
from embcheck.ledger import SHIPPED
from embcheck.records.compare import Key, compare, excused
from embcheck.records.record import Record, RecordError, Writer, read
from embcheck.records.store import STORE, keep
from embcheck.run import Batch, Results, Settings, environment, examples_of, exit_code
from embcheck.verdict import Counterexample, Status, Verdict

#: How often an item is taken up again after it crashed a worker.
_RESTARTS = 3


class Session:
    """Registered by the plug-in in the controlling process only."""

    def __init__(self, config: pytest.Config, settings: Settings) -> None:
        self.config = config
        self.settings = settings
        self.results = Results(self.settings)
        self.folder = Path(tempfile.mkdtemp(prefix="embcheck-"))
        self.store: Path | None = None
        self.crashes: Counter[str] = Counter()
        self.lost: list[str] = []
        self.reduced: dict[tuple[str, str], Counterexample] = {}
        self.writer: Writer | None = None
        self.started = time.monotonic()
        self.settled: list[Verdict] = []
        self.absences: dict[str, dict[str, str]] = {}
        self.examples: list[Counterexample] = []
        self.stopped = "finished"
        self.baseline = self._read_baseline()
        self.excused: frozenset[Key] = frozenset()
        #: Tests that failed without a verdict that says why.
        self.unaccounted = 0
        told = {name: str(value) for name, value in vars(self.settings).items() if value is not None}
        self.record = Record({"settings": told, "arguments": sys.argv[1:], **environment()})
        self._open_record()

    def _read_baseline(self) -> Record | None:
        path = self.settings.baseline
        if path is None:
            return None
        try:
            baseline = read(path)
        except RecordError as error:
            raise pytest.UsageError(f"embcheck: the baseline is no record: {error}") from None
        except OSError as error:
            raise pytest.UsageError(f"embcheck: can't read the baseline {path}: {error.strerror}") from None
        if baseline.shortfall:
            self.results.notes.append(f"the baseline is {baseline.shortfall}")
        return baseline

    def _open_record(self) -> None:
        if self.settings.report is None:
            return
        path = self.settings.report / "record.ndjson"
        try:
            self.writer = Writer(path)
        except OSError as error:
            reason = error.strerror or str(error)
            raise pytest.UsageError(
                f"embcheck: can't write the report to {path}: {reason}; name a writable folder"
            ) from None
        self.writer.header(**self.record.header)

    # -- workers -------------------------------------------------------------------------------------------------

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        node.workerinput["embcheck_run"] = str(self.folder)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        batch = Batch.detach(report)
        # The setup's and teardown's reports carry the same properties again.
        if batch is not None and report.when == "call":
            self.take(batch)
        elif report.failed and not any(name == "embcheck crash" for name, _ in report.user_properties):
            self.unaccounted += 1

    def take(self, batch: Batch) -> None:
        """Verdicts of one item: kept, and written at once."""
        self.results.add(batch)
        self.record.verdicts += batch.verdicts
        new = [statement for statement in batch.laws if statement.law not in self.record.laws]
        self.record.laws.update((statement.law, statement) for statement in new)
        if self.writer is not None:
            for statement in new:
                self.writer.statement(statement)
            for verdict in batch.verdicts:
                self.writer.verdict(verdict)

    @pytest.hookimpl(optionalhook=True)
    def pytest_handlecrashitem(self, crashitem: str, report: pytest.TestReport, sched: Any) -> None:
        """A worker died: name the case, reduce it in children, and take the item up again without it."""
        running = self._running(crashitem)
        if running is None:
            return
        verdict = verdict_of_crash(running, self.settings.device, self.reduced, self.settings.ledger or SHIPPED)
        self.results.verdicts.append(verdict)
        self.record.verdicts.append(verdict)
        if self.writer is not None:
            self.writer.verdict(verdict)
        (example,) = verdict.counterexamples
        self.reduced[verdict.family, example.kind] = example
        report.longrepr = f"{example.words} on {example.case}"
        report.user_properties.append(("embcheck crash", example.id))
        # From now on this family's cases are tried elsewhere first.
        with (self.folder / "dangerous").open("a") as file:
            file.write(verdict.family + "\n")
        self.crashes[crashitem] += 1
        if self.crashes[crashitem] <= _RESTARTS:
            sched.mark_test_pending(crashitem)
        else:
            self.lost.append(running.label)

    def _running(self, nodeid: str) -> Running | None:
        """What the dead worker was doing; its slot is used up."""
        for path in self.folder.glob("slot-*"):
            running = read_slot(path)
            if running.nodeid == nodeid and running.case:
                path.unlink()
                return running
        return None

    # -- the end -------------------------------------------------------------------------------------------------

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        if self.config.option.collectonly:
            return
        self._settle()
        if exitstatus == pytest.ExitCode.INTERRUPTED:
            self.stopped = "interrupted"
        elif exitstatus in (pytest.ExitCode.INTERNAL_ERROR, pytest.ExitCode.USAGE_ERROR):
            self.stopped = "internal error" if exitstatus == pytest.ExitCode.INTERNAL_ERROR else "usage error"
        failing = exit_code(verdict for verdict in self.settled if verdict.key not in self.excused)
        if exitstatus == pytest.ExitCode.OK and failing:
            session.exitstatus = exitstatus = pytest.ExitCode.TESTS_FAILED
        elif exitstatus == pytest.ExitCode.TESTS_FAILED and self.excused and not failing and not self.unaccounted:
            session.exitstatus = exitstatus = pytest.ExitCode.OK
        self._keep_failures()
        if self.lost:
            self.results.notes.append(f"given up after {_RESTARTS + 1} crashes each: {', '.join(self.lost)}")
        self.record.footer = {
            "stopped": self.stopped,
            "exit_code": int(exitstatus),
            "seconds": round(time.monotonic() - self.started, 1),
            "cases": self.results.cases,
            "digest": self.results.digest,
            **({"lost": self.lost} if self.lost else {}),
            "families": {name: list(counts) for name, counts in self.results.families.items()},
            "laws": dict(Counter(verdict.status.word for verdict in self.settled)),
            "modes": self._modes(),
            "settled": [verdict.to_dict() for verdict in self.settled if verdict.status >= Status.UNKNOWN],
        }
        if self.writer is not None:
            self.writer.footer(**self.record.footer)
            if self.writer.broken and session.exitstatus == pytest.ExitCode.OK:
                session.exitstatus = pytest.ExitCode.INTERNAL_ERROR  # who asked for a record has none to trust
        if self.results.verdicts:
            self._publish()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _settle(self) -> None:
        self.settled = self.results.settle()
        if self.settings.modes:
            from embcheck.collect import load_families
            from embcheck.mode import absences

            load_families()
            self.absences = absences(self.settings.modes, dict.fromkeys(v.family for v in self.settled))
        self.examples = examples_of(self.settled)
        if self.baseline is not None:
            self.excused = excused(self.baseline.settled(), self.settled)

    def _modes(self) -> dict[str, dict[str, Any]]:
        """For each family: what each mode cost, and the modes that it has not."""
        from embcheck.report.grid import costs

        found: dict[str, dict[str, Any]] = {}
        for (family, mode), (cases, seconds) in costs(self.settled).items():
            found.setdefault(family, {})[mode] = {"cases": cases, "seconds": round(seconds, 2)}
        for family, reasons in self.absences.items():
            found.setdefault(family, {}).update({mode: {"absent": reason} for mode, reason in reasons.items()})
        return found

    def in_baseline(self, example: Counterexample) -> bool:
        """Whether every mode that shows this counterexample failed in the baseline as well."""
        modes = (example.mode, *example.other_modes)
        return all((example.law, example.subject, mode, example.device) in self.excused for mode in modes)

    def _keep_failures(self) -> None:
        """Confirms the scripts and writes them down; a folder that can't be written costs only the files."""
        if not self.examples:
            return
        self.examples = confirmed(self.examples)
        ran = {example.id: example.script_confirmed for example in self.examples}
        self.settled = [
            replace(
                verdict,
                counterexamples=tuple(replace(e, script_confirmed=ran.get(e.id)) for e in verdict.counterexamples),
            )
            for verdict in self.settled
        ]
        folder = (self.settings.report or Path()) / STORE
        try:
            for example in self.examples:
                keep(example, folder)
            self.store = folder
        except OSError as error:
            self.store = None
            self.results.notes.append(f"failures can't be kept in {folder}: {error.strerror}")

    def _publish(self) -> None:
        """The page beside the record, if its extra is there, and the summary of a job of GitHub Actions."""
        from embcheck.report.github import summary

        changes = compare(self.baseline.settled(), self.settled) if self.baseline is not None else None
        summary_file = os.environ.get("GITHUB_STEP_SUMMARY")
        try:
            if summary_file:
                with Path(summary_file).open("a", encoding="utf-8") as file:
                    file.write(summary(self.record, changes, self.excused))
            if self.writer is not None and find_spec("jinja2") is not None:
                from embcheck.report.page import of_record, render

                self.writer.path.with_name("report.html").write_text(render([of_record(self.record)]), encoding="utf-8")
        except OSError as error:
            self.results.notes.append(f"a report can't be written to {error.filename}: {error.strerror}")

    def pytest_unconfigure(self) -> None:
        """Annotations go to the standard output, which nobody captures any more."""
        if os.environ.get("GITHUB_ACTIONS") == "true":
            from embcheck.report.github import workflow_commands

            for line in workflow_commands(self.settled, self.excused):
                print(line)

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        if not self.results.verdicts:
            return
        from embcheck.report.terminal import summary

        terminalreporter.section("embcheck")
        summary(self, width=terminalreporter._tw.fullwidth, colour=terminalreporter.hasmarkup)
