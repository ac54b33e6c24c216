"""``embcheck audit module:factory``: is the tying and padding of this model right?"""

import os
import signal
from collections.abc import Iterator
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer

from embcheck.audit.finding import Unbuilt
from embcheck.audit.processes import workers
from embcheck.audit.report import closing, show
from embcheck.audit.session import BUILT, Audit, again, audited, name_of, prepared
from embcheck.cli.recording import keep_failures, open_record
from embcheck.cli.usage import refuse, store_for
from embcheck.core.files import write_whole
from embcheck.core.machine import seen
from embcheck.core.processes import own_temporary_files
from embcheck.core.replay_state import ERROR, failed, fixed
from embcheck.core.verdict import Status, Verdict
from embcheck.record.audited import models
from embcheck.record.record import PAGE, RecordError, Writer, read
from embcheck.record.store import store_of
from embcheck.report.style import Pace, bar, console
from embcheck.runner.run import environment, exit_code

_EXPECTED = ("auto", "tied", "untied", "any")


def audit(
    factory: Annotated[str, typer.Argument(help="module:factory, a callable that returns a model.")] = "",
    hf: Annotated[
        str, typer.Option("--hf", help="Audit a tiny model of this architecture of transformers, or all.")
    ] = "",
    expect: Annotated[
        str, typer.Option("--expect", help="tied, untied, any, or auto (as the model declares).")
    ] = "auto",
    report: Annotated[Path | None, typer.Option("--report", help="Folder for the record and the scripts.")] = None,
    limit: Annotated[float, typer.Option("--limit", help="Seconds of CPU time that one law may take.")] = 60.0,
    count: Annotated[int, typer.Option("-n", "--workers", help="Models that are audited at a time.")] = os.cpu_count()
    or 1,
    selfcheck: Annotated[
        bool, typer.Option("--selfcheck", help="Plant faults into models and check that they are found.")
    ] = False,
) -> None:
    """Audits a model: its ties, its padding and its embeddings, also after copies, steps, saves and resizes."""
    if expect not in _EXPECTED:
        refuse(f"--expect {expect!r}: expected {', '.join(_EXPECTED)}")
    if count < 1 or limit <= 0:
        refuse("--workers and --limit must be positive")
    if sum(map(bool, (factory, hf, selfcheck))) != 1:
        refuse("give a factory such as my_model:build, or --hf llama, or --selfcheck")
    if selfcheck:
        raise typer.Exit(_selfcheck(count, limit))
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell tells its background jobs to ignore it
    source = {"kind": "hf", "name": hf} if hf else {"kind": "factory", "target": factory, "folder": os.getcwd()}
    with own_temporary_files():
        code = _audit(source, expect, limit, count, report)
    raise typer.Exit(code)


def _audit(source: dict[str, Any], expect: str, limit: float, count: int, report: Path | None) -> int:
    """One model is shown whole and recorded if that is asked for; of many only what was found is, and all are recorded."""
    out, machine = console(), seen()
    facts = environment() | {"settings": {"expect": expect, "seed": "0"}}
    facts["versions"] |= {name: version(name) for name in ("transformers", "safetensors") if find_spec(name)}
    with workers(count) as pool:
        try:
            sources, statements = pool.submit(prepared, source).result()
        except Unbuilt as reason:
            refuse(str(reason))
        typer.echo(f"embcheck: audits {source.get('target') or 'hf:' + source['name']}", err=True)
        many = source.get("name") == "all"
        store = store_for(report)
        folder = report or (store / "audit" if many else None)
        store = store if folder is None else store_of(folder)
        found = _earlier(folder / "record.ndjson", facts) if folder is not None and many else []
        # Before a model is looked at: it may take minutes, and then nothing could be written.
        writer = _writer(folder, facts, statements, found)
        stopped, code = "interrupted", 2
        try:
            left = [each for each in sources if name_of(each) not in {verdict.subject for verdict in found}]
            for done in followed(audited(pool, left, expect, limit), len(left), out, shown=many):
                if not many and done.unbuilt:
                    code = 4  # as the process then ends
                    refuse(done.unbuilt)
                found += done.verdicts
                writer.verdict(*done.verdicts)
                keep_failures(done.findings, machine, store, source=done.source, expect=expect)
                show(done, out, store, whole=not many)
            stopped, code = "finished", exit_code(found)
        finally:
            writer.footer(stopped, code)
            if folder is not None:
                told_of(writer, folder, out)
            writer.close()
    for model in models(found):
        if model.unbuilt:
            out.print(f"not built  {model.subject}: {model.unbuilt}")
    out.print(closing(models(found)))
    return code


def _selfcheck(count: int, limit: float) -> int:
    """Prints a line for each planted fault, which must be found, and each right specimen, which must be clean; the exit code."""
    from embcheck.audit.faults import PLANTED
    from embcheck.audit.specimen import RIGHT, Specimen, Untied, target

    planted = {target(cls): kinds for cls, kinds in PLANTED.items()}
    every = [*(target(cls) for cls in (Specimen, Untied, *RIGHT.values())), *planted]
    missed = 0
    with workers(count) as pool:
        for done in audited(pool, [{"kind": "factory", "target": each, "folder": ""} for each in every], "auto", limit):
            kinds, found = planted.get(done.subject), done.findings
            if kinds is None:
                right = done.status < Status.UNKNOWN and not done.unbuilt
            else:
                right = any(example.kind.partition(":")[0] in kinds for example in found)
            word = ("found" if right else "MISSED") if kinds else "clean" if right else "NOT CLEAN"
            said = "; ".join(f"{example.law}: {example.kind}" for example in found)
            typer.echo(f"{word:9} {done.subject.partition(':')[2]}  [{said}]")
            missed += not right
    typer.echo(f"{len(planted)} faults, {missed} missed or not clean")
    return int(missed > 0)


def _earlier(path: Path, facts: dict[str, Any]) -> list[Verdict]:
    """The verdicts of the subjects that a run of the same versions and settings, cut off, had finished."""
    try:
        record = read(path)
    except (OSError, RecordError):
        return []
    same = all(record.header.get(key) == facts[key] for key in ("versions", "settings", "source"))
    if record.complete or not same:
        return []
    whole = {verdict.subject for verdict in record.verdicts if verdict.law == BUILT.law}
    return [verdict for verdict in record.verdicts if verdict.subject in whole]


def _writer(folder: Path | None, facts: dict[str, Any], statements: Any, found: list[Verdict]) -> Writer:
    """A record that begins with what was found before."""
    writer = open_record(folder, "to", **facts)
    writer.statement(*statements)
    writer.verdict(*found)
    if found:
        typer.echo(f"going on with {writer.path}: {len(models(found))} models are done")
    return writer


def told_of(writer: Writer, folder: Path, out: Any) -> None:
    """Says where the record is, and writes the page about it beside it, if the extra ``report`` is there."""
    out.print(writer.place)
    if find_spec("jinja2") is not None:
        from embcheck.report.page import of_record, render

        try:
            shown = render([of_record(read(folder), store=folder)], title="embcheck audit")
            write_whole(folder / PAGE, shown)
        except (OSError, RecordError) as error:
            out.print(f"the page can't be written: {error}")


def followed(audits: Iterator[Audit], total: int, out: Any, *, shown: bool) -> Iterator[Audit]:
    """The audits, if ``shown`` with a progress bar, or lines where there is no terminal."""
    found, pace = 0, Pace()
    with bar(out) as progress:
        task = progress.add_task("auditing", total=total, visible=shown)
        for count, done in enumerate(audits, 1):
            found += len(done.findings)
            mark = f"  [bold red]{found} findings[/bold red]" if found else ""
            progress.update(task, completed=count, description=f"{done.subject.rpartition(':')[2]}{mark}")
            if shown and progress.disable and pace.due(count, total):
                out.print(f"{count}/{total} models, {found} findings")
            yield done


def replayed(failure: dict[str, Any], limit: float = 120.0) -> tuple[str, str]:
    """Whether a finding is still there, FAILED or FIXED, or why nobody knows, ERROR; with a line about it."""
    try:
        with workers(1) as pool:
            one = pool.submit(again, failure, limit).result()
    except KeyError as error:
        return ERROR, f"it was kept without its {error}; run its script"
    except Unbuilt as reason:
        return ERROR, str(reason)
    if one.findings:
        kept = [finding for finding in one.findings if finding.cause == failure["kind"]]
        found = (kept or one.findings)[0]
        return failed(failure, found.cause, found.words)
    why = one.failure or (one.reason and f"not applicable: {one.reason}")
    return (ERROR, why) if why else fixed(failure, seen())
