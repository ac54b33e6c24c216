"""What tests make of an audit: the source of a factory, and in words all that a law says of its models."""

from typing import Any

from embcheck.audit import laws
from embcheck.audit.finding import Judged, Unbuilt
from embcheck.audit.subject import judged, looked_at

laws.load()
GRADIENT, TIE, TRAINED = "the_gradient_is_the_sum_of_all_paths", "the_tie_is_as_declared", "steps_keep_the_tie"
PADDED, LEFT = "the_padding_row_starts_at_zero", "lookups_leave_the_padding_row"


def source_of(target: str, folder: str = "") -> dict[str, Any]:
    return {"kind": "factory", "target": target, "folder": folder}


def said(source: dict[str, Any], *names: str, expect: str = "auto") -> list[Judged]:
    """What laws say of a source in this process."""
    (answer,) = looked_at(source, expect)
    assert not isinstance(answer, Unbuilt)
    return [judged(name, source, answer[1]) for name in names]


def told(source: dict[str, Any], law: str, due: str = "") -> str:
    """All that a law says; as much of it as is due, where that ends with ….

    Behind the law's name may stand what is expected of the tie.
    """
    name, _, expect = law.partition(" ")
    (one,) = said(source, name, expect=expect or "auto")
    lines = [f"{each.kind}: {each.words}" for each in one.findings] + [f"note: {each}" for each in one.notes]
    lines += [f"not applicable: {one.reason}"] * bool(one.reason) + [f"unknown: {one.failure}"] * bool(one.failure)
    text = "\n".join(lines)
    return f"{text[: len(due) - 1]}…" if due.endswith("…") else text
