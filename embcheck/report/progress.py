"""`embcheck run` in the terminal: a progress bar where there is one, plain lines otherwise, and the summary.

A pytest plug-in that stands in for pytest's own reporter.
"""

from __future__ import annotations

import time
from typing import Any

import pytest
from rich.text import Text

from embcheck.machine import promised
from embcheck.report.style import bar, console
from embcheck.report.terminal import opening_line, summary


class Progress:
    """Follows the items of a run."""

    def __init__(self) -> None:
        self.out = console()
        self.total = 0
        self.finished = 0
        self.failed = 0
        self.errors: list[str] = []
        self.started = time.monotonic()
        self._told = 0
        self.bar = bar(self.out)
        self.task = self.bar.add_task("checking", total=None)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionstart(self, session: pytest.Session) -> None:
        run = session.config.pluginmanager.get_plugin("embcheck-session")
        if run is not None:
            self.out.print(Text(opening_line(run)))
            if elsewhere := promised():
                self.out.print(Text(elsewhere))

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, node: Any, ids: list[str]) -> None:
        if not self.total:
            self.bar.start()
            self.bar.update(self.task, total=len(ids))
        self.total = len(ids)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if any(name == "embcheck crash" for name, _ in report.user_properties):
            return  # a verdict by now, and the item is taken up again
        if report.when != "call" and not report.failed:
            return
        self.finished += report.when == "call"
        self.failed += report.failed
        name = report.nodeid.rpartition("/")[2].removeprefix("test_").replace(".py::test_", " ")
        mark = f" [bold red]{self.failed} violated[/bold red]" if self.failed else ""
        self.bar.update(self.task, completed=self.finished, description=f"{name}{mark}")
        if self.bar.disable and self.total and self.finished * 10 // self.total > self._told:
            self._told = self.finished * 10 // self.total
            seconds = time.monotonic() - self.started
            self.out.print(Text(f"{self.finished}/{self.total} items, {self.failed} failed, {seconds:.0f} s"))

    def pytest_internalerror(self, excrepr: Any) -> None:
        self.errors.append(f"internal error: {str(excrepr).strip().splitlines()[-1]}")

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        self.bar.stop()
        run = session.config.pluginmanager.get_plugin("embcheck-session")
        judged = run is not None and run.results.verdicts
        if exitstatus == pytest.ExitCode.OK and not judged and _modeless(session.config):
            session.exitstatus = pytest.ExitCode.NO_TESTS_COLLECTED

    def pytest_unconfigure(self, config: pytest.Config) -> None:
        run = config.pluginmanager.get_plugin("embcheck-session")
        if run is not None and (run.results.verdicts or run.unaccounted or run.stopped != "finished"):
            summary(run)
        elif run is not None and not self.errors and not config.option.collectonly:  # None: its options were refused
            self.out.print(Text("embcheck: nothing was selected"))
            for line in _modeless(config):
                self.out.print(Text(f"embcheck: {line}"))
        for line in self.errors:
            self.out.print(Text(f"embcheck: {line}"))


def _modeless(config: pytest.Config) -> list[str]:
    """Why the families of a subject have none of the modes that were asked for."""
    chosen = config.getoption("--embcheck-mode", default="")
    if not chosen or not config.getoption("--embcheck-subject", default=""):
        return []
    from embcheck.collect import load_families, load_modes
    from embcheck.law import FAMILIES
    from embcheck.mode import absences

    load_families()
    load_modes()
    told = absences(chosen, FAMILIES)
    return [
        f"{family} has no mode {mode}: {reason}" for family, reasons in told.items() for mode, reason in reasons.items()
    ]
