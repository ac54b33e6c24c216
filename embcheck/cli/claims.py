"""``embcheck claims``: what five tutorials say of embeddings, decided by what the installed torch does."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from embcheck.cli.completion import claim_names
from embcheck.cli.usage import INTERNAL, NOTHING, refuse
from embcheck.core.processes import own_temporary_files
from embcheck.record.store import store_of

if TYPE_CHECKING:
    from embcheck.claims.appraisal import Appraised
    from embcheck.core.verdict import Statement
    from embcheck.record.record import Writer
    from embcheck.runner.run import Results


def claims(
    keyword: Annotated[
        str, typer.Option("-k", help="Only claims that contain this in id, words, title, source or verdict.")
    ] = "",
    show: Annotated[
        str,
        typer.Option(
            "--show",
            metavar="ID",
            help="One claim's story, its check and a torch-only program.",
            autocompletion=claim_names,
        ),
    ] = "",
    seed: Annotated[int, typer.Option("--seed", help="The same seed gives the same cases everywhere.")] = 0,
    report: Annotated[Path | None, typer.Option("--report", help="Folder for the record and the failures.")] = None,
) -> None:
    """Decides the claims of five tutorials: each holds, holds only under a condition, or is refuted."""
    from embcheck.claims.appraisal import chosen, every_claim

    if show:
        if show not in every_claim():
            from embcheck.core.facts import closest

            refuse(f"no claim {show!r}; {closest(show, every_claim()) or 'see `embcheck claims`'}")
        tell_story(show)
        return
    selected = chosen(keyword)
    if not selected:
        typer.echo(f"embcheck: no claim contains {keyword!r}", err=True)
        raise typer.Exit(NOTHING)
    with own_temporary_files():
        code = Run(seed, report).of(selected)
    raise typer.Exit(code)


def tell_story(name: str) -> None:
    """Prints a claim's source, verdict, observations, check and program."""
    from embcheck.claims.appraisal import every_claim, story
    from embcheck.report.claims import story_lines

    prepare()
    made = every_claim()[name]
    typer.echo("\n".join(story_lines(made, *story(made))))


def prepare() -> None:
    """One thread, exact products, and no warnings among the claims."""
    import warnings

    import torch

    torch.set_num_threads(1)
    torch.set_float32_matmul_precision("highest")
    warnings.simplefilter("ignore")


class Run:
    """A run of claims: it keeps the record, whatever ends it, as ``embcheck run`` does."""

    def __init__(self, seed: int, report: Path | None) -> None:
        self.seed, self.report = seed, report
        self.found: list[Appraised] = []

    def of(self, selected: list[Any]) -> int:
        """Appraises the claims, prints them, and returns the exit code."""
        from embcheck.core.machine import here
        from embcheck.engine.crashes.crash import confirmed
        from embcheck.runner.run import Results, Settings, environment, exit_code

        prepare()
        results = Results(Settings(self.seed, report=self.report))
        writer = self._record()
        around = environment(here())
        if writer is not None:
            settings = {name: str(value) for name, value in vars(results.settings).items() if value is not None}
            writer.header(settings=settings, arguments=sys.argv[1:], **around)
        started, stopped, code = time.monotonic(), "finished", 0
        try:
            self._appraise(selected, results, writer)
            settled = results.settle()
            code = max(exit_code(settled), int(not all(found.as_stated for found in self.found)))
        except KeyboardInterrupt:
            stopped, code = "interrupted", 2
        except Exception as error:
            stopped, code = "internal error", INTERNAL
            typer.echo(f"embcheck: internal error: {type(error).__name__}: {error}", err=True)
        seconds = round(time.monotonic() - started, 1)
        examples, store = self._kept(results)
        if writer is not None:
            writer.footer(stopped, code, seconds=seconds, cases=results.cases, digest=results.digest)
        # What takes minutes, and may be interrupted, comes after all that is kept.
        if stopped == "finished":
            examples = confirmed(examples)
        self._tell(examples, store, results.digest, around["versions"]["torch"])
        if stopped != "finished":
            typer.echo(f"the run did not finish: {stopped}")
        if writer is not None:
            broken = f" is cut off: {writer.broken}" if writer.broken else ""
            typer.echo(f"record: {writer.path}{broken}")
            writer.close()
            if writer.broken and not code:
                return INTERNAL  # who asked for a record has none to trust
        return code

    def _record(self) -> Writer | None:
        from embcheck.record.record import Writer

        if self.report is None:
            return None
        try:
            return Writer(self.report / "record.ndjson")
        except OSError as error:
            refuse(f"can't write the report to {self.report}: {error.strerror or error}; name a writable folder")

    def _appraise(self, selected: list[Any], results: Results, writer: Writer | None) -> None:
        from datetime import date

        import torch

        from embcheck.claims.appraisal import appraise
        from embcheck.core.ledger import SHIPPED, load
        from embcheck.core.machine import here
        from embcheck.runner.run import Batch

        ledger = load(SHIPPED, torch.__version__, date.today()).on(here())
        experiments, said = len({made.experiment for made in selected}), self._statements()
        for group, accepted in appraise(selected, self.seed, ledger):
            self.found += group
            batch = Batch(
                f"claims/{group[0].claim.experiment}", experiments, [accepted, *(one.verdict for one in group)]
            )
            results.add(batch)
            if writer is None:
                continue
            for one in group:
                writer.statement(said[one.claim.law])
            for verdict in batch.verdicts:
                writer.verdict(verdict)
            for one in group:
                for figure in one.shown.figures.values():
                    writer.figure(one.claim.law, figure)

    def _statements(self) -> dict[str, Statement]:
        """What the laws say, by name."""
        from embcheck.subject.collect import load_families, statements

        return {statement.law: statement for statement in statements(load_families()["tutorial_claims"])}

    def _tell(self, examples: list[Any], store: Path | None, digest: str, release: str) -> None:
        from embcheck.claims.appraisal import every_claim
        from embcheck.report.claims import claims_report, closing
        from embcheck.report.style import console
        from embcheck.report.terminal import failure

        out = console()
        order = list(every_claim())
        self.found.sort(key=lambda found: order.index(found.claim.id))
        claims_report(out, self.found)
        laws = self._statements()
        for example in examples:
            out.print(failure(example, store, laws))
        typer.echo(closing(self.found, release, self.seed, digest))

    def _kept(self, results: Results) -> tuple[list[Any], Path | None]:
        """The counterexamples, and where they are kept for ``embcheck replay``; nowhere if that can't be written."""
        from importlib.metadata import version

        from embcheck.core.machine import here
        from embcheck.record.store import keep
        from embcheck.runner.run import examples_of

        examples, store = examples_of(results.settle()), store_of(self.report)
        try:
            for example in examples:
                keep(example, store, torch=version("torch"), machine=here().to_dict())
        except OSError as error:
            typer.echo(f"failures can't be kept in {store}: {error.strerror}", err=True)
            return examples, None
        return examples, store
