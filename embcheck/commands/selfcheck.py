"""``embcheck selfcheck``: is each fault killed, and does each law kill one?"""

from __future__ import annotations

import difflib
import os
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from embcheck.commands.usage import NOTHING, refuse

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from embcheck.hunt import Result


def selfcheck(
    profile: Annotated[str, typer.Option("--profile", help="quick, gate or deep.")] = "gate",
    seed: Annotated[int, typer.Option("--seed", help="Decides the cases.")] = 0,
    keyword: Annotated[
        str, typer.Option("-k", help="Only faults whose name or family matches this pytest expression.")
    ] = "",
    workers: Annotated[int, typer.Option("-n", "--workers", help="Worker processes.")] = os.cpu_count() or 1,
) -> None:
    """Plants every fault and tells which law killed it after how many cases.

    Exit code 0: every fault is killed, every control survives and, unless -k narrows the faults, every law of the families
    that have faults kills one, but for those that await theirs.
    """
    from embcheck.fault import load_faults
    from embcheck.run import Settings, UsageError
    from embcheck.selfcheck import selected

    faults = load_faults()
    try:
        Settings(seed, profile).checked()
        chosen = selected(faults, keyword)
    except UsageError as error:
        refuse(str(error))
    except ValueError as error:
        refuse(f"-k {keyword!r}: {error}; right would be, for instance, 'padding and not sparse'")
    if not chosen:
        close = ", ".join(difflib.get_close_matches(keyword, faults, 3, 0.5))
        typer.echo(f"no fault matches {keyword!r} among {len(faults)}" + (f"; close are {close}" if close else ""))
        raise typer.Exit(NOTHING)
    raise typer.Exit(_hunted(profile, seed, workers, chosen, narrowed=bool(keyword)))


def _hunted(profile: str, seed: int, workers: int, chosen: list[str], *, narrowed: bool) -> int:
    """Hunts the chosen faults, reports them, and returns the exit code."""
    from embcheck.collect import load_families
    from embcheck.fault import load_faults
    from embcheck.report.style import console
    from embcheck.selfcheck import AWAITING, decorations, redeemed
    from embcheck.selfcheck import selfcheck as hunt

    out, started = console(), time.perf_counter()
    results = _followed(out, len(chosen), lambda progress: hunt(profile, seed, workers, chosen, progress))
    out.print(table_of(results))
    planted = [result for result in results if not result.control and result.status != "not applicable"]
    killed, seconds = sum(result.good for result in planted), time.perf_counter() - started
    jobs = f"{profile}, {workers} jobs, seed {seed}"
    out.print(f"\n{killed} of {len(planted)} faults killed in {seconds:.0f} s ({jobs})")
    bad = [result for result in results if not result.good]
    for result in bad:
        sentence = load_faults()[result.fault].sentence
        out.print(f"{_status(result)}: {result.fault} - {sentence} {result.example}", markup=False)
    families = load_families()
    idle = [] if narrowed else decorations(results, families)
    awaiting = {law.name for name in AWAITING & families.keys() for law in families[name].laws}
    met = redeemed((name for name in idle if name not in awaiting), families, profile, seed)
    for name in idle:
        words = "no fault yet" if name in awaiting else "seen on a second look" if name in met else "decoration"
        out.print(f"{words}: {name}" + ("" if name in met else " kills nothing"))
    return int(bool(bad or set(idle) - awaiting - met))


def _status(result: Result) -> str:
    return "a control was killed" if result.control and result.status == "killed" else result.status


def _followed(out: Console, total: int, hunt: Callable[[Callable[[int, int, Result], None]], Any]) -> Any:
    """What a hunt returns, with a progress bar where there is a terminal and a line for each tenth where there is none."""
    from embcheck.report.style import bar

    with bar(out) as followed:
        task = followed.add_task("hunting", total=total)

        def told(done: int, _: int, result: Result) -> None:
            followed.update(task, completed=done, description=result.fault)
            if not result.good:
                out.print(f"[bold red]{_status(result)}[/bold red]: {result.fault}")
            if followed.disable and done * 10 // total > (done - 1) * 10 // total:
                out.print(f"{done}/{total} faults")

        return hunt(told)


def table_of(results: Iterable[Result]) -> Table:
    """Who killed each fault, with which engine and mode, after how many cases and seconds."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("fault", "family", "killed by", "engine"):
        table.add_column(name, no_wrap=True)
    for name in ("cases", "s"):
        table.add_column(name, justify="right", no_wrap=True)
    for result in results:
        table.add_row(
            result.fault + (" (control)" if result.control else ""),
            result.family,
            result.laws[0] if result.status == "killed" else result.status,
            f"{result.engine} {result.mode}".strip(),
            f"{result.cases:,}",
            f"{result.seconds:.1f}",
        )
    return table
