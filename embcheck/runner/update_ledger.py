"""``--update-ledger``: writes an entry for each way in which a run found a law violated, so that the next run knows it."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from functools import reduce
from pathlib import Path
from typing import Any

from packaging.version import Version

from embcheck.core.axes import parse
from embcheck.core.facts import grouped
from embcheck.core.files import write_whole
from embcheck.core.ledger import LedgerError, read
from embcheck.core.machine import Machine
from embcheck.core.typed import visible
from embcheck.core.verdict import Counterexample, Verdict
from embcheck.engine.common_facts import both, in_words, region
from embcheck.subject.collect import load_families

#: What the process died of, or had no end in: such cases must not be executed again.
_DEADLY = ("crash", "hang")


def updated(
    path: Path, verdicts: Sequence[Verdict], examples: Sequence[Counterexample], torch: str, machine: Machine
) -> str:
    """Writes an entry for each way in which a law is violated by that torch on that machine; what came of it, in words."""
    load_families()  # which know the kinds of cases
    measured = {Version(torch).base_version: [machine.gpu_capability or machine.cpu_capability]}
    try:
        count = update(path, verdicts, examples, measured)
    except (OSError, LedgerError) as error:
        return f"the ledger {path} can't be updated: {error}"
    words = ("entry", "it") if count == 1 else ("entries", "them")
    return f"{count} {words[0]} written to {path}; the next run knows {words[1]} with --ledger {path}"


def update(
    path: Path, verdicts: Sequence[Verdict], examples: Sequence[Counterexample], measured: Mapping[str, list[str]]
) -> int:
    """Adds entries to a file, which need not be there yet; how many.

    ``verdicts`` are those of single items, ``measured`` says on which torch and machine.

    Raises:
        OSError: if the file can't be written.
        LedgerError: if it can't be read afterwards.
    """
    made = list(entries(verdicts, examples, measured))
    if made:
        held = path.read_text(encoding="utf-8") if path.exists() else ""
        tables = (
            "\n".join(["[[known]]", *(f"{name} = {_value(value)}" for name, value in each.items()), ""])
            for each in made
        )
        write_whole(path, "\n".join(filter(None, [held, *tables])))
        read(path)
    return len(made)


def entries(
    verdicts: Sequence[Verdict], examples: Iterable[Counterexample], measured: Mapping[str, list[str]]
) -> Iterable[dict[str, Any]]:
    """An entry for each law, device and kind of difference, with the smallest case as its witness."""
    groups = grouped(examples, lambda example: (example.law, example.device, example.kind))
    for (law, device, kind), group in groups.items():
        least = min(group, key=lambda example: (len(example.case), example.case))
        told = [v.shared[kind] for v in verdicts if (v.law, v.device) == (law, device) and kind in v.shared]
        told += [{"where": region(parse(example.case).facts()), "instead": {}} for example in group]
        common = reduce(both, told)
        modes = dict.fromkeys(mode for each in group for mode in (each.mode, *each.other_modes))
        instead = in_words(common["instead"])
        deadly = kind.startswith(_DEADLY)
        yield {
            "name": re.sub(r"[^a-z0-9]+", "-", f"{law} {kind} {least.id}".lower()).strip("-"),
            "law": law,
            "mode": ", ".join(modes),
            **({"device": device} if device != "cpu" else {}),
            "kind": kind,
            **({"instead": instead} if instead else {}),
            **({"excluded": True} if deadly else {}),
            "where": common["where"],
            "witness": least.case,
            "reason": f"Written by embcheck run --update-ledger on {date.today()}: {least.words}.",
            "measured": dict(measured),
        }


def _value(value: Any) -> str:
    if isinstance(value, dict):
        pairs = ((name if name.isidentifier() else _value(name), _value(each)) for name, each in value.items())
        return f"{{ {', '.join(map(' = '.join, pairs))} }}"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    return json.dumps(visible(value), ensure_ascii=False)  # a text of JSON is one of TOML
