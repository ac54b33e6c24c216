"""``embcheck selfcheck``: is each fault killed, and does each law kill one?"""

from __future__ import annotations

import difflib
import itertools
import json
import os
import time
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from embcheck.cli.parameters import completion_of
from embcheck.cli.usage import NOTHING, only_in_checkout, refuse
from embcheck.core.files import write_whole
from embcheck.core.options import COMMAND, TIMES, options_of
from embcheck.report.style import bar, console, plain_table
from embcheck.runner.run import Settings, UsageError
from embcheck.subject.collect import load_families

#: How many drawn faults there are without options.
DRAWN = 400

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from selfcheck.fault_runner import FaultResult


def selfcheck(
    profile: Annotated[
        str,
        typer.Option(
            "--profile",
            help="quick, gate, full or deep; by default gate for drawn faults and full for those by hand, which takes "
            f"{TIMES['selfcheck']} on two cores.",
            autocompletion=completion_of(options_of(COMMAND)["profile"]),
        ),
    ] = "",
    seed: Annotated[int, typer.Option("--seed", help="Chooses the cases and the drawn faults.")] = 0,
    keyword: Annotated[
        str, typer.Option("-k", help="Plant only faults by hand whose name or family matches this pytest expression.")
    ] = "",
    workers: Annotated[int, typer.Option("-n", "--workers", "--jobs", help="Worker processes.")] = os.cpu_count() or 1,
    drawn: Annotated[
        int,
        typer.Option(
            "--drawn",
            help="Plant only this number of drawn faults; --seed chooses them.",
            show_default=f"{DRAWN}, and those by hand",
        ),
    ] = 0,
    of: Annotated[
        str,
        typer.Option(
            "--set",
            help="Where --drawn plants: kernels (of the core families), core (also their entries in Python), extended "
            "(Python code of the extended families) or graphs (decompositions and inductor's lowerings).",
        ),
    ] = "kernels",
    site: Annotated[str, typer.Option("--site", help="With --drawn: only faults of this kernel or function.")] = "",
    line: Annotated[
        list[str] | None, typer.Option("--fault", help="Plant only this: 'SITE  fact & fact  ->  damage'.")
    ] = None,
    to: Annotated[
        Path | None, typer.Option("--json", help="With --drawn or --fault: also write the results to this file.")
    ] = None,
) -> None:
    """Plants 400 drawn faults, then every fault by hand, and tells which law killed each; with -k every law that was seen
    violated.

    Exit code 0: the laws hold without faults; the share of drawn faults that are killed is not significantly below the
    profile's minimum; every fault by hand is killed, and no control is; every law kills a fault.  With --fault each fault
    that is given must be killed.
    """
    only_in_checkout("selfcheck", "its faults are not in the wheel")
    from selfcheck.by_hand import selected
    from selfcheck.fault import load_faults

    if drawn or line or site or to:
        raise typer.Exit(_scored(profile, seed, workers, (drawn, of, site, line or []), to)[0])
    try:
        faults = load_faults()
    except ValueError as error:  # a line that names no site, fact or damage, or a name that is taken
        refuse(str(error))
    try:
        Settings(seed, profile or "full").checked()
        chosen = selected(faults, keyword)
    except UsageError as error:
        refuse(str(error))
    except ValueError as error:
        refuse(f"-k {keyword!r}: {error}; right would be, for instance, 'padding and not sparse'")
    if not chosen:
        close = ", ".join(difflib.get_close_matches(keyword, faults, 3, 0.5))
        typer.echo(f"no fault matches {keyword!r} among {len(faults)}" + (f"; close are {close}" if close else ""))
        raise typer.Exit(NOTHING)
    if keyword:
        raise typer.Exit(_by_hand(profile or "full", seed, workers, chosen, None))
    code, laws = _scored(profile, seed, workers, (DRAWN, "kernels", "", []), None)
    raise typer.Exit(max(code, _by_hand(profile or "full", seed, workers, chosen, laws)))


def _scored(
    profile: str, seed: int, jobs: int, what: tuple[int, str, str, list[str]], to: Path | None
) -> tuple[int, set[str]]:
    """Plants drawn faults, reports them, and returns the exit code with the laws that killed one."""
    from selfcheck import report
    from selfcheck.runner import score

    profile = profile or ("full" if what[1] in ("extended", "graphs") else "gate")
    try:
        Settings(seed, profile).checked()
        faults = _faults(what, seed)
    except (UsageError, ValueError) as error:
        refuse(str(error))
    if jobs < 1:
        refuse(f"--jobs {jobs}: expected at least 1")
    found = _shown(console(stderr=True), lambda progress: score(faults, profile, seed, jobs, progress))
    for words in found.wrong[:20]:
        typer.echo(f"no score: {words}")
    if found.wrong:
        return 1, set()
    if found.left_out:
        typer.echo(f"{found.left_out:,} cases can't have functions of ours in the place of torch's, and are left out")
    for words in report.lines(found.results, profile, seed, found.cases):
        typer.echo(words)
    if to is not None:
        write_whole(to, json.dumps(report.as_json(found.results, profile, seed, found.cases), indent=1) + "\n")
    laws = {law for each in found.results for law in each.laws}
    if what[3]:
        return int(any(each.status != "killed" for each in found.results)), laws
    # Only the kernels have a threshold that the repository commits.
    return int(what[1] == "kernels" and report.too_low(found.results, profile)), laws


def _shown(out: Console, work: Callable[[Callable[[str, int, int], None]], Any], *, lines: bool = False) -> Any:
    """What comes of work that tells what it is doing, with a bar for each thing where there is a terminal.

    Where there is none, a line for each tenth is printed if ``lines`` are asked for.
    """
    with bar(out) as followed:
        tasks: dict[str, Any] = {}

        def told(doing: str, done: int, total: int) -> None:
            if doing not in tasks:
                tasks[doing] = followed.add_task(doing, total=total)
            followed.update(tasks[doing], completed=min(done, total))
            if lines and followed.disable and done * 10 // total > (done - 1) * 10 // total:
                out.print(f"{done}/{total} {doing}")

        return work(told)


def _faults(what: tuple[int, str, str, list[str]], seed: int) -> list[Any]:
    """The faults that were asked for."""
    from selfcheck.conditions import TABLES
    from selfcheck.drawn import Fault, faults

    count, of, site, given = what
    if count < 0 or (count and given) or (site and not count):
        raise ValueError("expected --drawn N with N of at least 1, with or without --site, or --fault")
    if of not in TABLES:
        raise ValueError(f"no set {of!r}; there are {' and '.join(sorted(TABLES))}")
    if given:
        return [Fault.of(each) for each in given]
    if not count:
        raise ValueError("--json goes with --drawn or --fault")
    return faults(count, seed, site, of)


def _by_hand(profile: str, seed: int, workers: int, chosen: list[str], others: set[str] | None) -> int:
    """Plants the chosen faults, reports them, and returns the exit code; None for ``others``, the laws that killed a drawn
    fault, asks of no law that it kills one."""
    from selfcheck.by_hand import idle_laws, rechecked
    from selfcheck.by_hand import selfcheck as run_all
    from selfcheck.fault import load_faults

    out, started = console(), time.perf_counter()

    def run(told: Callable[[str, int, int], None]) -> Any:
        def progress(done: int, total: int, result: FaultResult) -> None:
            told("faults", done, total)
            if not result.good:
                out.print(f"[bold red]{_status(result)}[/bold red]: {result.fault}")

        return run_all(profile, seed, workers, chosen, progress)

    results = _shown(out, run, lines=True)
    out.print(table_of(results, every=others is None))
    planted = [result for result in results if not result.control and result.status != "not applicable"]
    killed, seconds = sum(result.good for result in planted), time.perf_counter() - started
    jobs = f"{profile}, {workers} jobs, seed {seed}"
    out.print(f"\n{killed} of {len(planted)} faults killed in {seconds:.0f} s ({jobs})")
    bad = [result for result in results if not result.good]
    for result in bad:
        sentence = load_faults()[result.fault].sentence
        out.print(f"{_status(result)}: {result.fault} - {sentence} {result.example}", markup=False)
    families = load_families()
    idle = [] if others is None else [law for law in idle_laws(results, families) if law not in others]
    met: Collection[str] = ()
    if idle:
        out.print(f"no fault was seen to violate {len(idle)} laws: each meets the faults of its family")
        count = itertools.count(1)
        met = _shown(out, lambda told: rechecked(
            idle, families, profile, seed, workers, lambda law: told("a second look", next(count), len(idle))
        ))  # fmt: skip
    for name in idle:
        words = "seen on a second look" if name in met else "idle law"
        out.print(f"{words}: {name}" + ("" if name in met else " kills nothing"))
    return int(bool(bad or set(idle) - set(met)))


def _status(result: FaultResult) -> str:
    return "a control was killed" if result.control and result.status == "killed" else result.status


def table_of(results: Iterable[FaultResult], *, every: bool = False) -> Table:
    """Who killed each fault, or ``every`` law that was seen violated, with which engine and mode, after how many cases and
    seconds."""

    table = plain_table("fault", "family", "killed by", "engine", numbers=("cases", "s"))
    for result in results:
        table.add_row(
            result.fault + (" (control)" if result.control else ""),
            result.family,
            "\n".join(result.laws if every else result.laws[:1]) if result.status == "killed" else result.status,
            " ".join((result.hits[0].engine, result.hits[0].mode)) if result.hits else "",
            f"{result.cases:,}",
            f"{result.seconds:.1f}",
        )
    return table
