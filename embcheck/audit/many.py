"""Audits of many models: several at a time, into one record that a second run goes on with."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from embcheck.audit.client import Listed, Lost, Template, Unbuilt
from embcheck.audit.session import BUILT, Audit, audit, name_of
from embcheck.core.verdict import Statement, Verdict
from embcheck.record.audited import FAMILY, Model, models
from embcheck.record.record import RecordError, Writer, read
from embcheck.runner.run import environment


def audited(
    sources: list[dict[str, Any]], laws: list[Listed], workers: int, limit: float, expect: str = "auto"
) -> Iterator[Audit]:
    """The audits of all sources as they end, ``workers`` at a time; a model that can't be built is one of them."""
    waiting: queue.Queue[dict[str, Any]] = queue.Queue()
    for source in sources:
        waiting.put(source)
    done: queue.Queue[Audit | BaseException] = queue.Queue()
    stop = threading.Event()

    def work() -> None:
        template = Template(limit)
        try:
            while not stop.is_set():
                try:
                    source = waiting.get_nowait()
                except queue.Empty:
                    return
                try:
                    done.put(audit(template, source, laws, expect))
                except Unbuilt as reason:
                    done.put(Audit(name_of(source), unbuilt=str(reason), lost=isinstance(reason, Lost)))
        except BaseException as error:
            done.put(error)
        finally:
            template.close()

    threads = [threading.Thread(target=work, daemon=True) for _ in range(max(1, min(workers, len(sources))))]
    for thread in threads:
        thread.start()
    try:
        for _ in sources:
            one = done.get()
            if isinstance(one, BaseException):
                raise one
            yield one
    finally:
        stop.set()


class Keeper:
    """The record of an audit: what is in it already, and what is added."""

    def __init__(self, path: Path, laws: list[Listed], settings: dict[str, str]) -> None:
        """Takes up a record that was cut off, of the same versions and settings; else begins anew."""
        facts = environment() | {"settings": settings}
        facts["versions"] |= _extras()
        self.before = _earlier(path, facts)
        self._verdicts = list(self.before)
        self.writer = Writer(path)
        self.writer.header(**facts)
        for statement in statements(laws):
            self.writer.statement(statement)
        for verdict in self.before:
            self.writer.verdict(verdict)

    @property
    def done(self) -> set[str]:
        """The subjects whose audit came to its end."""
        return {verdict.subject for verdict in self.before}

    @property
    def models(self) -> list[Model]:
        """All that was audited, by this run and the one that it goes on with."""
        return models(self._verdicts)

    def add(self, verdicts: list[Verdict]) -> None:
        """What came of one model."""
        self._verdicts += verdicts
        for verdict in verdicts:
            self.writer.verdict(verdict)


def statements(laws: list[Listed]) -> list[Statement]:
    return [*(Statement(law.name, FAMILY, law.sentence) for law in laws), BUILT]


def _extras() -> dict[str, str]:
    from importlib.metadata import PackageNotFoundError, version

    found = {}
    for name in ("transformers", "safetensors"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


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
