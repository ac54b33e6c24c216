"""`embcheck run` in the terminal: a progress bar where there is one, plain lines otherwise, and the summary.

A pytest plug-in that stands in for pytest's own reporter.
"""

import sys
from collections.abc import Generator, Sequence
from contextlib import suppress
from typing import Any

import pytest
from rich.text import Text

from embcheck.core.facts import first_of
from embcheck.core.machine import promised
from embcheck.core.options import DOCUMENTS
from embcheck.core.typed import visible
from embcheck.core.verdict import Status
from embcheck.record.totals import because, verdict_line
from embcheck.report.screen import opening_line
from embcheck.report.style import Pace, bar, console
from embcheck.report.terminal import machine_lines, summary

#: The exit codes of a run that selects nothing, and of one that is interrupted.
NOTHING, INTERRUPTED = int(pytest.ExitCode.NO_TESTS_COLLECTED), int(pytest.ExitCode.INTERRUPTED)
#: Of what runs so many are named.
_NAMED = 3


class Progress:
    """Follows the items of a run; with a ``verbosity`` below 0 it says nothing before the end, and as json, junit or sarif
    nothing but one document."""

    def __init__(
        self, verbosity: int = 0, colour: bool | None = None, form: str = "text", origins: Sequence[str] = ()
    ) -> None:
        """``origins`` are lines that say where values come from that are not defaults, which -v prints."""
        self.form, self.origins = form, origins
        self.verbosity = verbosity = -1 if form in DOCUMENTS else verbosity
        self.out = console(colour=colour)
        self.total = 0
        self.finished = 0
        self.failed = 0
        self.headed = False
        #: Why nothing can be printed any more.
        self.closed: OSError | None = None
        self.run: Any = None
        self.errors: list[str] = []
        #: The exit code of a run that judged nothing.
        self.nothing = NOTHING
        self.pace = Pace()
        #: The items that run, the oldest first.
        self._running: dict[str, None] = {}
        self._looked_at = 0
        self._violated: set[str] = set()
        self.bar = bar(self.out, shown=verbosity >= 0)
        self.task = self.bar.add_task("checking", total=None)

    @pytest.hookimpl(wrapper=True)
    def pytest_cmdline_main(self) -> Generator[None, Any, Any]:
        """A usage error is told in one line, as all commands tell theirs, and not in pytest's own form."""
        try:
            return (yield)
        except pytest.UsageError as error:
            words = " ".join(" ".join(map(str, error.args)).split()).removeprefix("embcheck: ")
            print(f"embcheck: {visible(words)}", file=sys.stderr)
            return pytest.ExitCode.USAGE_ERROR

    @pytest.hookimpl(trylast=True)
    def pytest_sessionstart(self, session: pytest.Session) -> None:
        self.run = run = session.config.pluginmanager.get_plugin("embcheck-session")
        if run is not None:
            run.tell, run.meanwhile = self._say, self._tell_meanwhile
            if self.form != "text":
                run.annotates = self.form == "github"
            for line in (opening_line(run), *(self.origins if self.verbosity else ()), promised()):
                if line:
                    self._say(line)

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, node: Any, ids: list[str]) -> None:
        if not self.total:
            self.bar.start()
            self.bar.update(self.task, total=len(ids))
        self.total = len(ids)

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self._running[nodeid] = None

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        self._running.pop(nodeid, None)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if any(name == "embcheck crash" for name, _ in report.user_properties):
            self.pytest_runtest_logfinish(report.nodeid)
            return  # a verdict by now, and the item is taken up again
        if report.when != "call" and not report.failed:
            return
        self.finished += report.when == "call"
        self.failed += report.failed
        self._head()
        mark = f" [bold red]{self.failed} violated[/bold red]" if self.failed else ""
        self.bar.update(self.task, completed=self.finished, description=f"{_named(report.nodeid)}{mark}")
        self._show_violations()
        self._tell()

    def _say(self, line: str) -> None:
        """A line of the run's own, but with -q and beside a document.

        Raises:
            KeyboardInterrupt: if nobody reads the output any more, or it is full; pytest would call that an internal error.
        """
        if self.verbosity < 0:
            return
        try:
            if self.closed:
                raise self.closed
            self.out.print(Text(line))
        except (SystemExit, OSError) as error:  # of a closed pipe rich makes the former since 13.8
            self.closed = error if isinstance(error, OSError) else BrokenPipeError()
            raise KeyboardInterrupt from None

    def _show_violations(self) -> None:
        """A line for each law when it is first violated; the summary says more."""
        verdicts = self.run.results.verdicts if self.run is not None else []
        for verdict in verdicts[self._looked_at :]:
            new = [example for example in verdict.counterexamples if not example.in_baseline]
            if verdict.status == Status.VIOLATED and new and verdict.law not in self._violated:
                self._violated.add(verdict.law)
                self._say(f"violated: {verdict.law} in {verdict.mode}, {new[0].case}")
        self._looked_at = len(verdicts)

    def _head(self) -> None:
        """Says which machine it is, once a process has proved it."""
        if not (self.headed or self.verbosity < 0 or self.run is None or self.run.machine is None):
            self.headed = True
            self._say(machine_lines(self.run)[0])

    def _tell(self) -> None:
        """A line where there is no bar, when it is due: how far the run is, and what has run longest of what runs."""
        if self.verbosity < 0 or not self.bar.disable or not self.pace.due(self.finished, self.total):
            return
        running = list(map(_named, self._running))
        names = f"; running: {first_of(running, _NAMED)}" if running else ""
        done = f"{self.finished}/{self.total} items, {self.failed} failed"
        self._say(f"{done if self.total else 'workers collect the items'}, {self.pace.seconds:.0f} s{names}")

    def _tell_meanwhile(self) -> None:
        """The same between the ends of two items, beside the main thread, which the next line interrupts if nobody reads."""
        with suppress(KeyboardInterrupt):
            self._tell()

    def pytest_internalerror(self, excrepr: Any) -> None:
        self.errors.append(f"internal error: {str(excrepr).strip().splitlines()[-1]}")

    def pytest_keyboard_interrupt(self) -> None:
        self.nothing = INTERRUPTED

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        self.bar.stop()
        run = session.config.pluginmanager.get_plugin("embcheck-session")
        judged = run is not None and run.results.verdicts
        if exitstatus == pytest.ExitCode.OK and not (judged or session.config.option.collectonly):
            session.exitstatus = pytest.ExitCode.NO_TESTS_COLLECTED

    def pytest_unconfigure(self, config: pytest.Config) -> None:
        self.bar.stop()  # the end of a session that is interrupted is not told to all
        run = config.pluginmanager.get_plugin("embcheck-session")
        judged = run is not None and (run.results.verdicts or run.unaccounted or run.kept or run.stopped != "finished")
        # Without a session its options were refused, and that was said.
        empty = run is not None and not judged and not self.errors and not config.option.collectonly
        empty = empty or (not judged and self.nothing == INTERRUPTED)  # before there was a session, too
        if self.form in DOCUMENTS and (judged or empty):
            self.print_document(run if judged else None)
        elif judged:
            summary(run, self.out, verbosity=self.verbosity, headed=self.headed)
        elif empty:
            if self.nothing == NOTHING:
                for line in ("nothing was selected", *_modeless(config), *near(config.option.keyword)):
                    self.out.print(Text(f"embcheck: {line}"))
            self.out.print(Text(verdict_line(self.nothing, because(self.nothing)), "bold"))
        for line in self.errors:
            print(f"embcheck: {line}", file=sys.stderr if self.form in DOCUMENTS else sys.stdout)

    def print_document(self, run: Any) -> None:
        """The run as the document that was asked for; without one, why nothing was judged."""
        if self.form == "junit":
            from embcheck.report import junit

            print(junit.of_session(run) if run is not None else junit.EMPTY)
        else:
            from embcheck.report import document, sarif

            made = sarif if self.form == "sarif" else document
            told = made.of_session(run) if run is not None else made.of_nothing(self.nothing, because(self.nothing))
            print(document.text(told))


def _named(nodeid: str) -> str:
    """A test as people read it."""
    return nodeid.rpartition("/")[2].removeprefix("test_").replace(".py::test_", " ")


def near(text: str) -> list[str]:
    """The laws in whose names the text stands by which nothing was selected."""
    from embcheck.subject.collect import load_families

    names = [law.name for family in load_families().values() for law in family.laws if text and text in law.name]
    return [f"-k takes whole names of laws; {text} is in {', '.join(names)}"] if names else []


def _modeless(config: pytest.Config) -> list[str]:
    """Why the families of a subject have none of the modes that were asked for."""
    chosen = config.getoption("--embcheck-mode", default="")
    if not chosen or not config.getoption("--embcheck-subject", default=""):
        return []
    from embcheck.core.law import FAMILIES
    from embcheck.modes.mode import absences
    from embcheck.subject.collect import load_families, load_modes

    load_families()
    load_modes()
    told = absences(chosen, FAMILIES)
    return [
        f"{family} has no mode {mode}: {reason}" for family, reasons in told.items() for mode, reason in reasons.items()
    ]
