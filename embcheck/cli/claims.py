"""``embcheck claims``: what five tutorials say of embeddings, decided by what the installed torch does."""

from __future__ import annotations

import sys
import time
import warnings
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from embcheck.claims.report import claims_report, closing, story_lines
from embcheck.cli.parameters import with_options
from embcheck.cli.recording import close_record, keep_failures, open_record
from embcheck.cli.usage import INTERNAL, NOTHING, refuse, store_for
from embcheck.core.facts import closest
from embcheck.core.ledger import SHIPPED, load
from embcheck.core.machine import here
from embcheck.core.processes import own_temporary_files
from embcheck.core.verdict import Counterexample
from embcheck.engine.crashes.crash import confirmed
from embcheck.record.record import Writer
from embcheck.report.style import console
from embcheck.report.terminal import failure
from embcheck.runner.run import Batch, Results, Settings, environment, examples_of, exit_code
from embcheck.subject.collect import load_families, statements

if TYPE_CHECKING:
    from embcheck.claims.appraisal import Appraised
Keyword = Annotated[
    str, typer.Option("-k", help="Print only claims that contain this in id, words, title, source or verdict.")
]
_STORY = "Print one claim with its measurements, its check and a program that needs only torch."
Show = Annotated[str, typer.Option("--show", metavar="ID", help=_STORY)]


@with_options("seed", "report")
def claims(keyword: Keyword = "", show: Show = "", **given: Any) -> None:
    """Decides the claims of five tutorials: each holds, holds only under a condition, or is refuted."""
    from embcheck.claims.appraisal import chosen, every_claim, story

    if show:
        made = every_claim().get(show)
        if made is None:
            refuse(f"no claim {show!r}; {closest(show, every_claim()) or 'see `embcheck claims`'}")
        prepare()
        typer.echo("\n".join(story_lines(made, *story(made))))
        return
    selected = chosen(keyword)
    if not selected:
        typer.echo(f"embcheck: no claim contains {keyword!r}", err=True)
        raise typer.Exit(NOTHING)
    with own_temporary_files():
        code = _appraise(selected, given["seed"], given["report"])
    raise typer.Exit(code)


def prepare() -> None:
    """One thread, exact products, and no warnings among the claims."""
    import torch

    torch.set_num_threads(1)
    torch.set_float32_matmul_precision("highest")
    warnings.simplefilter("ignore")


def _appraise(selected: list[Any], seed: int, report: Path | None) -> int:
    """Appraises the claims, prints them, and returns the exit code; the record is kept whatever ends it."""
    prepare()
    found: list[Appraised] = []
    results, machine = Results(Settings(seed, report=report)), here()
    around = environment(machine)
    facts = {"settings": results.settings.as_texts(), "arguments": sys.argv[1:], **around}
    writer = open_record(report, "the report to", **facts)
    started, stopped, code = time.monotonic(), "finished", 0
    try:
        _run(selected, seed, found, results, writer)
        code = max(exit_code(results.settle()), int(not all(one.as_stated for one in found)))
    except KeyboardInterrupt:
        stopped, code = "interrupted", 2
    except Exception as error:
        stopped, code = "internal error", INTERNAL
        typer.echo(f"embcheck: internal error: {type(error).__name__}: {error}", err=True)
    seconds = round(time.monotonic() - started, 1)
    examples = examples_of(results.settle())
    store = keep_failures(examples, machine, store_for(report))
    writer.footer(stopped, code, seconds=seconds, cases=results.cases, digest=results.digest)
    # What takes minutes, and may be interrupted, comes after all that is kept.
    _tell(found, confirmed(examples) if stopped == "finished" else examples, store)
    typer.echo(closing(found, around["versions"]["torch"], seed, results.digest))
    if stopped != "finished":
        typer.echo(f"the run did not finish: {stopped}")
    return close_record(writer, code)


def _run(selected: list[Any], seed: int, found: list[Appraised], results: Results, writer: Writer) -> None:
    """Adds what becomes of the claims, experiment by experiment, to what is ``found``, the results and the record."""
    import torch

    from embcheck.claims.appraisal import appraise

    ledger = load(SHIPPED, torch.__version__, date.today()).on(here())
    experiments, said = len({made.experiment for made in selected}), _statements()
    for group, accepted in appraise(selected, seed, ledger):
        found += group
        verdicts = [accepted, *(one.verdict for one in group)]
        results.add(Batch(f"claims/{group[0].claim.experiment}", experiments, verdicts))
        writer.statement(*(said[one.claim.law] for one in group))
        writer.verdict(*verdicts)
        for one in group:
            for figure in one.shown.figures.values():
                writer.figure(one.claim.law, figure)


def _statements() -> dict[str, Any]:
    return {statement.law: statement for statement in statements(load_families()["tutorial_claims"])}


def _tell(found: list[Appraised], examples: list[Counterexample], store: Path | None) -> None:
    from embcheck.claims.appraisal import every_claim

    out, order, laws = console(), list(every_claim()), _statements()
    found.sort(key=lambda one: order.index(one.claim.told.id))
    claims_report(out, found)
    for example in examples:
        out.print(failure(example, store, laws))
