"""``embcheck audit module:factory``: is the tying and padding of this model right?"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from embcheck.audit.client import Template, Unbuilt
from embcheck.audit.many import Keeper, audited
from embcheck.audit.report import closing, show
from embcheck.audit.session import Audit, again, name_of
from embcheck.audit.session import audit as audit_model
from embcheck.cli.recording import keep_failures
from embcheck.cli.usage import refuse
from embcheck.core.files import write_whole
from embcheck.core.machine import seen
from embcheck.core.processes import own_temporary_files
from embcheck.core.replay_state import ERROR, failed, fixed
from embcheck.core.verdict import Status
from embcheck.record.audited import models
from embcheck.record.record import PAGE, RecordError, Writer, read
from embcheck.record.store import STORE, store_of
from embcheck.report.style import bar, console

_EXPECTED = ("auto", "tied", "untied", "any")


def audit(
    factory: Annotated[str, typer.Argument(help="module:factory, a callable that returns a model.")] = "",
    hf: Annotated[str, typer.Option("--hf", help="A tiny model of this architecture of transformers, or all.")] = "",
    expect: Annotated[str, typer.Option("--expect", help="tied, untied, any, or auto: what the model says.")] = "auto",
    report: Annotated[Path | None, typer.Option("--report", help="Folder for the record and the scripts.")] = None,
    limit: Annotated[float, typer.Option("--limit", help="Seconds of CPU time that one law may take.")] = 60.0,
    workers: Annotated[int, typer.Option("-n", "--workers", help="Models at a time.")] = os.cpu_count() or 1,
    selfcheck: Annotated[
        bool, typer.Option("--selfcheck", help="Plants faults into models and looks for them.")
    ] = False,
) -> None:
    """Audits a model: its ties, its padding, its embeddings, through copies, steps, saves and resizes."""
    if expect not in _EXPECTED:
        refuse(f"--expect {expect!r}: expected {', '.join(_EXPECTED)}")
    if workers < 1 or limit <= 0:
        refuse("--workers and --limit must be positive")
    if sum(map(bool, (factory, hf, selfcheck))) != 1:
        refuse("give a factory such as my_model:build, or --hf llama, or --selfcheck")
    if selfcheck:
        from embcheck.audit.selfcheck import main_selfcheck

        raise typer.Exit(main_selfcheck(workers, limit, typer.echo))
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell tells its background jobs to ignore it
    source = {"kind": "hf", "name": hf} if hf else {"kind": "factory", "target": factory, "folder": os.getcwd()}
    with own_temporary_files():
        code = _audit(source, expect, limit, workers, report)
    raise typer.Exit(code)


def _audit(source: dict[str, Any], expect: str, limit: float, workers: int, report: Path | None) -> int:
    template = Template(limit)
    try:
        sources, laws = template.prepare(source)
        if len(sources) == 1:
            return _one(template, sources[0], laws, expect, report)
    except Unbuilt as reason:
        refuse(str(reason))
    finally:
        template.close()
    return _all(sources, laws, expect, limit, workers, report or Path(STORE) / "audit")


def _one(template: Any, source: Any, laws: Any, expect: str, report: Path | None) -> int:
    out, store = console(), store_of(report)
    # Before the model is looked at: it may take minutes, and then nothing could be written.
    keeper = _keeper(report, laws, expect) if report is not None else None
    done = audit_model(template, source, laws, expect)
    keep(done, store)
    if keeper is not None:
        keeper.add(done.verdicts())
        keeper.writer.footer("finished", exit_code([done]))
    show(done, out, store)
    out.print(closing(models(done.verdicts())))
    if keeper is not None:
        told_of(keeper.writer, out)
    return exit_code([done])


def _all(sources: Any, laws: Any, expect: str, limit: float, workers: int, folder: Path) -> int:
    out, audits = console(), []
    keeper = _keeper(folder, laws, expect)
    left = [source for source in sources if name_of(source) not in keeper.done]
    if keeper.done:
        out.print(f"going on with {keeper.writer.path}: {len(keeper.done)} models are done")
    stopped, code = "interrupted", 2
    try:
        for done in followed(audited(left, laws, workers, limit, expect), len(left), out):
            audits.append(done)
            keeper.add(done.verdicts())
            keep(done, store_of(folder))
            show(done, out, store_of(folder), table=False)
        earlier = any(verdict.status >= Status.UNKNOWN for verdict in keeper.before)
        stopped, code = "finished", max(int(earlier), exit_code(audits))
    finally:
        keeper.writer.footer(stopped, code)
        told_of(keeper.writer, out)
    for model in keeper.models:
        if model.unbuilt:
            out.print(f"not built  {model.subject}: {model.unbuilt}")
    out.print(closing(keeper.models))
    return code


def _keeper(folder: Path, laws: Any, expect: str) -> Any:
    try:
        return Keeper(folder / "record.ndjson", laws, {"expect": expect, "seed": "0"})
    except OSError as error:
        refuse(f"can't write to {folder}: {error.strerror}")


def told_of(writer: Writer, out: Any) -> None:
    """Says where the record is, and writes the page about it beside it, if the extra ``report`` is there."""
    from importlib.util import find_spec

    out.print(f"record: {writer.path}" + (f" is cut off: {writer.broken}" if writer.broken else ""))
    if find_spec("jinja2") is not None:
        from embcheck.report.page import of_record, render

        folder = writer.path.parent
        try:
            shown = render([of_record(read(folder), store=folder)], title="embcheck audit")
            write_whole(folder / PAGE, shown)
        except (OSError, RecordError) as error:
            out.print(f"the page can't be written: {error}")
    writer.close()


def followed(audits: Iterator[Audit], total: int, out: Any) -> Iterator[Audit]:
    """The audits, with a progress bar where there is a terminal and a line for each tenth where there is none."""
    found = 0
    with bar(out) as progress:
        task = progress.add_task("auditing", total=total)
        for count, done in enumerate(audits, 1):
            found += len(done.roots)
            mark = f"  [bold red]{found} findings[/bold red]" if found else ""
            progress.update(task, completed=count, description=f"{done.subject.rpartition(':')[2]}{mark}")
            if progress.disable and count * 10 // total > (count - 1) * 10 // total:
                out.print(f"{count}/{total} models, {found} findings")
            yield done


def keep(done: Audit, folder: Path) -> None:
    """Writes the script of each finding."""
    found = [(example, seen()) for verdict in done.verdicts() for example in verdict.counterexamples]
    keep_failures(found, folder, source=done.source, expect=done.expect)


def replayed(failure: dict[str, Any], limit: float = 120.0) -> tuple[str, str]:
    """Whether a finding is still there, FAILED or FIXED, or why nobody knows, ERROR; with a line about it."""
    template = Template(limit)
    try:
        one = again(template, failure)
    except KeyError as error:
        return ERROR, f"it was kept without its {error}; run its script"
    except Unbuilt as reason:
        return ERROR, str(reason)
    finally:
        template.close()
    if one.failure:
        return ERROR, one.failure
    if one.findings:
        kept = [finding for finding in one.findings if finding.cause == failure["kind"]]
        found = (kept or one.findings)[0]
        return failed(failure, found.cause, found.words)
    return (ERROR, f"not applicable: {one.reason}") if one.reason else fixed(failure, seen())


def exit_code(audits: list[Audit]) -> int:
    """1 if anything was found, or could not be judged."""
    return int(any(done.lost or done.roots or any(one.failure for one in done.judged) for done in audits))
