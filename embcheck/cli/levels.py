"""``embcheck run --cpu``: one deck of cases at several CPU levels, each in a process of its own."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import typer
from rich.text import Text

from embcheck.cli.recording import close_record, keep_failures, open_record
from embcheck.cli.usage import NOTHING, refuse
from embcheck.core.machine import flags_of, seen
from embcheck.core.verdict import Status, Verdict
from embcheck.engine.levels.level import BEST, Level, UnknownLevel, lacking, named
from embcheck.engine.levels.sweep import DECK, Request, Running, Swept
from embcheck.record.store import store_of
from embcheck.report.failure import chosen
from embcheck.report.levels import level_lines, level_table
from embcheck.report.style import console
from embcheck.report.terminal import failure
from embcheck.runner.run import Results, environment, examples_of, exit_code


def sweep(settings: Any, levels: str, *, family: str = "", keyword: str = "", workers: str = "auto") -> int:
    """Judges the deck at each level that there is here, prints what was proved and a table, and returns the exit code."""
    try:
        wanted = named(levels)
    except UnknownLevel as error:
        refuse(str(error))
    families = [name for name in DECK if name == (family or name) and _selects(keyword, name)]
    if not families:
        typer.echo(f"embcheck: nothing was selected: {family or keyword!r} is none of {', '.join(DECK)}", err=True)
        raise typer.Exit(NOTHING)
    # Quick's deck unless another was asked for: the gate's, at every level, would take an hour.
    profile = "quick" if settings.profile == "gate" else settings.profile
    request = Request(tuple(families), profile=profile, seed=settings.seed, ledgers=tuple(map(str, settings.ledgers)))
    out = console()
    out.print(Text(f"{seen()} · {', '.join(families)} · {profile} · seed {settings.seed}"))
    started = time.monotonic()
    count = int(workers) if workers.isdigit() else os.cpu_count() or 1
    try:
        swept = list(_swept((Level(BEST, {}), *wanted), request, count))
    except KeyboardInterrupt:
        return 2
    return _told(out, settings, swept, time.monotonic() - started)


def _selects(keyword: str, family: str) -> bool:
    from _pytest.mark.expression import Expression  # what pytest's own -k is made of

    try:
        return not keyword or Expression.compile(keyword).evaluate(lambda name, /, **_: name in family)
    except SyntaxError as error:
        refuse(f"-k {keyword!r}: {error}")


def _swept(wanted: Sequence[Level], request: Request, workers: int) -> Iterator[Swept]:
    """What each level told, so many at a time."""
    machine, flags = seen(), flags_of()
    running: list[Running] = []

    def run(level: Level) -> Swept:
        absent = lacking(level, machine, flags, os.environ)
        if level.name != BEST and absent:
            return Swept(level.name, absent=absent)
        running.append(Running(level, request))
        return running[-1].result()

    with ThreadPoolExecutor(workers) as pool:
        futures = [pool.submit(run, level) for level in wanted]
        try:
            for future in futures:
                yield future.result()
        except BaseException:
            for each in futures:
                each.cancel()
            for process in running:
                process.close()
            raise


def _told(out: Any, settings: Any, swept: Sequence[Swept], seconds: float) -> int:
    """Prints and keeps what came of the levels; the exit code."""
    best = swept[0]
    verdicts = [verdict for each in swept for verdict in each.verdicts]
    results = Results(settings, verdicts)
    settled = results.settle()
    examples = examples_of(settled)
    code = exit_code(settled)
    for line in level_lines(swept):
        out.print(Text(line))
    out.print(level_table(swept, settled))
    machines = {each.device: each.machine for each in swept}
    store = keep_failures([(example, machines[example.device]) for example in examples], store_of(settings.report))
    laws = {law.law: law for each in swept for law in each.laws}
    for example in chosen(examples):
        out.print(failure(example, store, laws))
    for verdict in settled:
        if verdict.status >= Status.UNKNOWN and not verdict.counterexamples:
            out.print(
                Text(f"{verdict.status.word.upper()} {verdict.law} ({verdict.device}): {'; '.join(verdict.reasons)}")
            )
    judged, cases = sum(bool(each.verdicts) for each in swept), Results(settings, list(best.verdicts)).cases
    out.print(Text(f"{judged} levels · {cases:,} cases each · cases {results.digest} · {seconds:.0f} s"))
    return _recorded(settings, swept, results, settled, code, seconds)


def _recorded(
    settings: Any, swept: Sequence[Swept], results: Any, settled: Sequence[Verdict], code: int, seconds: float
) -> int:
    """Writes the record, if one was asked for; the exit code."""
    writer = open_record(settings.report, settings, environment(swept[0].machine))
    if writer is not None:
        for statement in {law.law: law for each in swept for law in each.laws}.values():
            writer.statement(statement)
        for verdict in results.verdicts:
            writer.verdict(verdict)
        found = {"cases": results.cases, "digest": results.digest, "levels": {each.level: each.words for each in swept}}
        failing = [verdict.to_dict() for verdict in settled if verdict.status >= Status.UNKNOWN]
        writer.footer("finished", code, seconds=round(seconds, 1), settled=failing, **found)
    return close_record(writer, code)
