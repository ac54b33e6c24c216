"""The controlling process' part of a run: it collects verdicts, examines crashes, writes the record, and settles.

Workers only judge.  Whatever they hand over passes through here once, so there is one writer of the record and one
place that decides the exit code.
"""

import os
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from embcheck.core.accounting import Account, Selection
from embcheck.core.declaration import is_subject
from embcheck.core.item import PROFILES
from embcheck.core.ledger import SHIPPED
from embcheck.core.machine import Machine
from embcheck.core.processes import RunFolder, temporary_files_in
from embcheck.core.verdict import Counterexample, Verdict
from embcheck.engine.crashes.crash import confirmed, verdict_of_crash
from embcheck.engine.crashes.slot import Deaths, Running, Watch, read_slot
from embcheck.engine.levels.level import level_of
from embcheck.record.compare import Key
from embcheck.record.record import Record
from embcheck.record.store import keep, store_of
from embcheck.record.totals import because, verdict_line
from embcheck.report.failure import chosen, idle, notes_on
from embcheck.runner.fork_server import python_of
from embcheck.runner.opening import baseline_of, beside_of, footer, publish, writer_of
from embcheck.runner.run import Batch, Results, Settings, environment, examples_of, exit_code, nothing_judged
from embcheck.runner.session_settings import given

#: How often an item is taken up again after it crashed a worker.
_RESTARTS = 3
#: How a run stopped, by pytest's exit code, where it did not finish.
_STOPPED = {2: "interrupted", 3: "internal error", 4: "usage error"}


class Session:
    """Registered by the plug-in in the controlling process only."""

    def __init__(self, config: pytest.Config, settings: Settings) -> None:
        self.config = config
        self.settings = settings
        self.results = Results(self.settings)
        self.store: Path | None = None
        self.crashes: Counter[str] = Counter()
        self.reduced: dict[tuple[str, str], Counterexample] = {}
        self.headed = False
        self.started = time.monotonic()
        self.settled: list[Verdict] = []
        self.absences: dict[str, dict[str, str]] = {}
        self.examples: list[Counterexample] = []
        self.stopped = "finished"
        #: Whether tests ran, and none of them is about a law: there is nothing to record.
        self.foreign = False
        #: Whether GitHub's annotations are printed.
        self.annotates = os.environ.get("GITHUB_ACTIONS") == "true"
        #: The exit code, and why it is that, once the run is over.
        self.code = 0
        self.because = ""
        self.baseline = baseline_of(self.settings, self.results.notes)
        self.excused: frozenset[Key] = frozenset()
        self.account = Account()
        #: What was selected and gave no verdicts, each with its reason, once the run is over.
        self.unaccounted: dict[str, str] = {}
        #: Kept failures that were tried again and are not fixed, with what was said of them, and who is told of each.
        self.kept: dict[str, str] = {}
        self.tell: Callable[[str], None] = self._say
        #: What is called once a second while there are workers.
        self.meanwhile: Callable[[], None] = lambda: None
        #: What each further CPU level proved, once the run is over.
        self.levels: dict[str, str] = {}
        self.level_machine: dict[str, Any] = {}
        #: what the first process that judged has proved of the machine
        self.machine: Machine | None = None
        self.record = Record({"settings": self.settings.as_texts(), "arguments": sys.argv[1:], **environment()})
        self.beside = beside_of(self.settings)
        if self.beside.due:
            self.record.header["levels"] = {self.beside.level.name: self.beside.words}
        self.writer = writer_of(self.settings)
        self._folder = RunFolder()
        self.folder = self._folder.path
        self.deaths = Deaths(self.folder)
        self.watch: Watch | None = None

    def _head(self) -> None:
        """Writes the record's header, once: it waits for the first process that tells what it proved of the machine."""
        if not self.headed:
            self.writer.header(**self.record.header)
        self.headed = True

    # -- workers -------------------------------------------------------------------------------------------------

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        node.workerinput["embcheck_run"] = str(self.folder)
        if self.watch is None:
            limit = PROFILES[self.settings.profile].limit
            self.watch = Watch(self.folder, limit, meanwhile=lambda: self.meanwhile())
            self.watch.start()

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        batch = Batch.detach(report)
        # The setup's and teardown's reports carry the same properties again.
        if batch is not None and report.when == "call":
            self.account.done.add(report.nodeid)
            self.take(batch)
        elif not report.passed and not any(name == "embcheck crash" for name, _ in report.user_properties):
            self.account.failed(report.nodeid, report.longrepr)
            if report.skipped:
                self.account.skipped.add(report.nodeid)

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, node: Any, ids: list[str]) -> None:
        self.beside.start(ids, python_of(self.config))

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        if not self.config.option.collectonly:
            self.beside.start(item.nodeid for item in session.items)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.account.failed(report.nodeid, report.longrepr)

    def take(self, batch: Batch) -> None:
        """Verdicts of one item, or of none: kept, and written at once."""
        if self.machine is None and batch.machine is not None:
            self.machine, self.record.header["machine"] = batch.machine, batch.machine.to_dict()
        elif batch.machine not in (None, self.machine):
            self.results.notes.append(f"another process of this run proved another machine: {batch.machine}")
        self._head()
        if self.baseline is not None:
            batch = replace(batch, verdicts=list(map(self.baseline.marked, batch.verdicts)))
        self.results.add(batch)
        self.record.verdicts += batch.verdicts
        new = [statement for statement in batch.laws if statement.law not in self.record.laws]
        self.record.laws.update((statement.law, statement) for statement in new)
        self.writer.statement(*new)
        self.writer.verdict(*batch.verdicts)

    def take_level(self) -> None:
        """What the lowest CPU level came to; its verdicts are the run's, and are about that level."""
        swept = self.beside.result()
        if swept is None:
            return
        self.levels, self.level_machine = {swept.level: swept.words}, swept.machine.to_dict()
        self.take(Batch("", 0, list(swept.verdicts), swept.laws))

    @pytest.hookimpl(optionalhook=True)
    def pytest_handlecrashitem(self, crashitem: str, report: pytest.TestReport, sched: Any) -> None:
        """A worker died: name the case, see alone whether torch dies of it, and take the item up again without it."""
        running = self._running(crashitem)
        if running is None:
            return
        limit, ledgers = PROFILES[self.settings.profile].limit, self.settings.ledgers
        with temporary_files_in(self.folder):
            seen = verdict_of_crash(running, self.settings.device, limit, self.reduced, ledgers)
        self.take(Batch("", 0, [seen]))
        verdict = self.record.verdicts[-1]
        for example in verdict.counterexamples:
            self.reduced[verdict.family, example.kind] = example
            self.deaths.crashes(verdict.family)
        if not verdict.counterexamples:
            self.deaths.kills(running.case)
        told = [f"{example.words} on {example.case}" for example in verdict.counterexamples] or verdict.reasons
        report.longrepr = told[0]
        report.user_properties.append(("embcheck crash", told[0]))
        self.crashes[crashitem] += 1
        if self.crashes[crashitem] <= _RESTARTS:
            sched.mark_test_pending(crashitem)
        else:
            self.account.failed(crashitem, f"given up after {_RESTARTS + 1} crashes")

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
        if self.watch is not None:
            self.watch.stop()
        if self.config.option.collectonly:
            return
        exitstatus = session.exitstatus  # a run of embcheck's own in which nothing was judged has another
        if not self.account.selection.items:
            self.account.selection = Selection.read(self.folder)
        self.unaccounted = self.account.unaccounted()
        if exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
            self.take_level()
        self.beside.close()
        self._settle()
        self.stopped = _STOPPED.get(exitstatus, self.stopped)
        failing = exit_code((v for v in self.settled if v.key not in self.excused), {**self.unaccounted, **self.kept})
        if exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED) and failing:
            session.exitstatus = exitstatus = pytest.ExitCode.TESTS_FAILED
        elif exitstatus == pytest.ExitCode.TESTS_FAILED and self.excused and not (failing or self.account.others()):
            session.exitstatus = exitstatus = pytest.ExitCode.OK
        if exitstatus == pytest.ExitCode.OK and nothing_judged(self.settled):
            session.exitstatus = exitstatus = pytest.ExitCode.NO_TESTS_COLLECTED
        self._keep_failures()
        if self.settings.update_ledger is not None and self.examples:
            from embcheck.runner.update_ledger import updated

            machine = self.machine or Machine.of(self.record.header["machine"])
            path, verdicts = self.settings.update_ledger, self.results.verdicts
            self.results.notes.append(updated(path, verdicts, self.examples, self.record.torch, machine))
        if self.stopped == "finished" and not self._confirmed():
            self.stopped, session.exitstatus = "interrupted", pytest.ExitCode.INTERRUPTED
            exitstatus = session.exitstatus
        self.record.footer = footer(
            self.results,
            self.settled,
            self.results.families,
            self.absences,
            self.excused,
            stopped=self.stopped,
            exit_code=int(exitstatus),
            seconds=round(time.monotonic() - self.started, 1),
            unaccounted=self.unaccounted,
            **({"kept": self.kept} if self.kept else {}),
            **({"levels": self.levels} if self.levels else {}),
            selection=self.account.selection.digest,
        )
        concerned = self.account.selection.items or self.results.verdicts or self.unaccounted or self.kept
        self.foreign = not concerned and exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED)
        if not self.foreign:
            self._head()
            self.writer.footer(**self.record.footer)
        if self.writer.broken and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.INTERNAL_ERROR  # who asked for a record has none to trust
        self._say_why(int(session.exitstatus))
        if self.results.verdicts or self.unaccounted or self.kept:
            line = verdict_line(self.code, self.because)
            self.results.notes += publish(self.record, self.baseline, line, self.settings.report)
        self._folder.remove()

    def _say(self, line: str) -> None:
        """Tells whoever runs pytest itself."""
        reporter = self.config.pluginmanager.get_plugin("terminalreporter")
        if reporter is not None:
            reporter.write_line(line)

    def _say_why(self, code: int) -> None:
        """Notes the exit code and its reason, for whoever prints them."""
        self.code = code
        self.because = because(
            code,
            self.settled,
            self.excused,
            unaccounted=len(self.unaccounted),
            selected=len(self.account.selection.items),
            others=self.account.others(),
            broken=self.writer.broken or "",
            kept=self.kept,
        )

    def _settle(self) -> None:
        self.settled = self.results.settle()
        if self.settings.modes:
            from embcheck.modes.mode import absences
            from embcheck.subject.collect import load_families

            with suppress(Exception):  # a file of laws that can't be imported is unaccounted for already
                load_families()
            self.absences = absences(self.settings.modes, dict.fromkeys(v.family for v in self.settled))
        self.examples = examples_of(self.settled)
        self.results.notes += notes_on(self.examples) + idle(self.settled)
        if self.baseline is not None:
            self.excused = self.baseline.excused(self.record.verdicts, self.settled)

    def _keep_failures(self) -> None:
        """Writes failures and scripts down; a folder that can't be written costs only the files."""
        store = store_of(self.settings.report)
        try:
            ledgers = ["" if path == SHIPPED else str(path.absolute()) for path in self.settings.ledgers]
            for example in self.examples:
                machine = self.level_machine if level_of(example.device) else self.record.header["machine"]
                there = {"folder": str(Path.cwd())} if is_subject(example.subject) else {}
                keep(example, store, torch=self.record.torch, machine=machine, ledgers=ledgers, **there)
            self.store = store
        except OSError as error:
            self.results.notes.append(f"failures can't be kept in {store}: {error.strerror}")

    def _confirmed(self) -> bool:
        """Runs the scripts, which may take minutes, and notes how they end; whether the user let it come to an end."""
        try:
            with temporary_files_in(self.folder):
                whole, named, counted = chosen(self.examples)  # of many only the first are run: those that are shown
                self.examples = confirmed(whole + named + counted)
        except KeyboardInterrupt:
            return False
        ran = {example.id: example for example in self.examples}

        def noted(example: Counterexample) -> Counterexample:
            seen = ran.get(example.id, example)
            return replace(example, script_confirmed=seen.script_confirmed, unconfirmed=seen.unconfirmed)

        self.settled = [
            replace(verdict, counterexamples=tuple(map(noted, verdict.counterexamples))) for verdict in self.settled
        ]
        return True

    def pytest_unconfigure(self) -> None:
        """Annotations go to the standard output, which nobody captures any more; another run may write there now."""
        self.writer.close()
        if self.annotates:
            from embcheck.report.github import workflow_commands

            for line in workflow_commands(self.settled, self.excused):
                print(line)

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        if self.foreign and (unused := given(self.config)) and self.config.get_verbosity() >= 0:
            what = "concerns laws that pytest collects" if len(unused) == 1 else "concern laws that pytest collects"
            terminalreporter.write_line(
                f"embcheck: {', '.join(unused)} {what}, and there are none; check() has arguments"
            )
        if self.config.option.collectonly or not (self.results.verdicts or self.account.selection.items):
            return  # nothing was run, or it is somebody else's session
        from embcheck.report.screen import opening_line
        from embcheck.report.style import console
        from embcheck.report.terminal import summary

        terminalreporter.section("embcheck")
        verbosity = self.config.get_verbosity()
        out = console(colour=terminalreporter.hasmarkup, width=terminalreporter._tw.fullwidth)
        if verbosity >= 0:
            out.print(opening_line(self), markup=False)
        summary(self, out, verbosity=verbosity)
