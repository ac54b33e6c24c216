"""The record's published JSON Schema, made from the types that write it.

``record.schema.json`` beside this file is what it makes: a test keeps them equal, and validates records with it.
``python -m embcheck.record.schema`` writes it anew.  A change that old readers can't read raises `embcheck.record.record.FORMAT`.
"""

import json
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any, Union

from embcheck.core.claim_record import Claimed, Tutorial
from embcheck.core.machine import Machine
from embcheck.core.plot_data import Curve, Figure, Histogram
from embcheck.core.typed import taken_apart
from embcheck.core.verdict import Counterexample, Statement, Status, Verdict
from embcheck.record.record import FORMAT, Footer, Header

PUBLISHED = Path(__file__).with_name("record.schema.json")

_PLAIN: dict[Any, dict[str, Any]] = {
    str: {"type": "string"},
    int: {"type": "integer", "minimum": 0},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    type(None): {"type": "null"},
    Any: {},
    # Statuses are written as words.
    Status: {"enum": [status.word for status in Status]},
}


#: The types that a record is made of.
KINDS = (Header, Machine, Statement, Claimed, Tutorial, Verdict, Counterexample, Figure, Curve, Histogram, Footer)


def schema() -> dict[str, Any]:
    between: dict[str, dict[str, Any]] = {
        "law": {"law": Statement},
        "verdict": {"verdict": Verdict},
        "figure": {"law": str, "figure": Figure},
    }
    payloads = {"header": schema_of_type(Header)} | {
        kind: {"properties": {name: schema_of_type(hint) for name, hint in parts.items()}, "required": list(parts)}
        for kind, parts in between.items()
    }
    payloads["footer"] = schema_of_type(Footer)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:embcheck:record:{FORMAT}",
        "title": f"A line of an embcheck record, format {FORMAT}",
        "description": (
            "A record is NDJSON: the header first, then laws, verdicts and figures in any order, the footer last. "
            "A record without its footer was cut off; one that names unaccounted items lacks their verdicts."
        ),
        "type": "object",
        "required": ["kind"],
        "properties": {"kind": {"enum": list(payloads)}},
        "allOf": [
            {"if": {"properties": {"kind": {"const": kind}}}, "then": payload} for kind, payload in payloads.items()
        ],
        "$defs": {kind.__name__: _object(kind) for kind in KINDS},
    }


def _object(kind: Any) -> dict[str, Any]:
    """A dataclass, which has its fields and no others, or a typed dictionary, which may have more."""
    _, _, parts, needed = taken_apart(kind)
    properties = {name: schema_of_type(hint) for name, hint in (parts or {}).items()}
    if kind is Header:
        properties["format"] = {"const": FORMAT}
    found = {"type": "object", "description": " ".join((kind.__doc__ or "").split()), "properties": properties}
    found |= {"required": needed} if needed else {}
    return found | ({"additionalProperties": False} if is_dataclass(kind) else {})


def schema_of_type(hint: Any) -> dict[str, Any]:
    """The schema of one annotation.

    Raises:
        TypeError: for an annotation that has no schema here yet.
    """
    origin, arguments, parts, _ = taken_apart(hint)
    if parts is not None:
        return {"$ref": f"#/$defs/{hint.__name__}"}
    if hint in _PLAIN:
        return dict(_PLAIN[hint])
    if origin is Union:
        return {"anyOf": [schema_of_type(argument) for argument in arguments]}
    if origin in (list, tuple):
        return {"type": "array", "items": schema_of_type(arguments[0])}
    if origin is dict:
        return {"type": "object", "additionalProperties": schema_of_type(arguments[1])}
    raise TypeError(f"no schema for {hint!r}")


def text() -> str:
    return json.dumps(schema(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    PUBLISHED.write_text(text(), encoding="utf-8")
