"""Faults of decomposition tables, inductor's lowerings and dynamo's guards."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch

from embcheck.modes.mode import MODES
from selfcheck.fault import Fault, add, patched
from selfcheck.faults.compiled_graphs import (
    forget_graphs,
)

Decomposition = Callable[..., Any]
Spoil = Callable[[Decomposition], Decomposition]

_DENSE = torch.ops.aten.embedding_dense_backward.default


def forget_tables() -> None:
    """inductor copies its table once."""
    from torch._inductor import decomposition

    copy: Any = getattr(decomposition, "fast_random_decomps", None)
    if hasattr(copy, "cache_clear"):
        copy.cache_clear()
    forget_graphs()


@contextlib.contextmanager
def entry(table: Any, operator: Any, spoil: Spoil) -> Iterator[None]:
    """A table with another entry for an operator."""
    before = table.get(operator)
    table[operator] = spoil(before)
    forget_tables()
    try:
        yield
    finally:
        if before is None:
            del table[operator]
        else:
            table[operator] = before
        forget_tables()


@contextlib.contextmanager
def core_entry(operator: Any, spoil: Spoil) -> Iterator[None]:
    """core_aten_decompositions with another entry for an operator."""
    made = torch._decomp.core_aten_decompositions

    def spoiled() -> Any:
        table = dict(made())
        table[operator] = spoil(table.get(operator))  # type: ignore[arg-type]
        return table

    with patched(torch._decomp, core_aten_decompositions=spoiled):
        forget_graphs()
        try:
            yield
        finally:
            forget_graphs()


def table_of(mode: str, operator: Any, spoil: Spoil) -> contextlib.AbstractContextManager[None]:
    """The table that a mode takes its decompositions from, with another entry."""
    if mode == "core_decompositions":
        return core_entry(operator, spoil)
    if mode == "decompositions":
        return entry(torch._decomp.decomposition_table, operator, spoil)
    from torch._inductor.decomposition import decompositions

    return entry(decompositions, operator, spoil)


# -- entries that are wrong --------------------------------------------------------------------------------------


def no_padding(dense: Decomposition) -> Decomposition:
    return lambda grad, indices, rows, padding, scale: dense(grad, indices, rows, -1, scale)


def no_frequency(dense: Decomposition) -> Decomposition:
    return lambda grad, indices, rows, padding, scale: dense(grad, indices, rows, padding, False)


def padding_is_the_last(dense: Decomposition) -> Decomposition:
    """-1, which means none below the Python function, counts from the end."""
    return lambda grad, indices, rows, padding, scale: dense(grad, indices, rows, padding % max(rows, 1), scale)


def one_row_once(dense: Decomposition) -> Decomposition:
    """The gradient of a table of one row is that of its first token."""

    def spoiled(grad: Any, indices: Any, rows: int, padding: int, scale: bool) -> Any:
        right = dense(grad, indices, rows, padding, scale)
        return grad.reshape(-1, grad.shape[-1])[:1] if rows == 1 and indices.numel() > 1 else right

    return spoiled


#: Of a wrong entry: what it does, the family that sees it, the spoilt entry.
ENTRIES: dict[str, tuple[str, str, Spoil]] = {
    "ignores_padding": ("ignores padding_idx", "padding", no_padding),
    "ignores_frequency": ("ignores scale_grad_by_freq", "gradient", no_frequency),
    "pads_the_last_row": (
        "takes the last row for padding where there is none",
        "gradient",
        padding_is_the_last,
    ),
    "adds_nothing_up_in_one_row": (
        "takes the first token alone if there is one row",
        "gradient",
        one_row_once,
    ),
}


def _add(
    name: str,
    mode: str,
    family: str,
    sentence: str,
    plant: Callable[[], contextlib.AbstractContextManager[None]],
    fatal: bool = False,
) -> None:
    lacking = MODES[mode].lacking
    applies = lambda: lacking() is None  # noqa: E731
    add(Fault(name, family, sentence, plant, applies=applies, modes=(mode,), fatal=fatal))


def _wrong_entry(mode: str, kind: str) -> None:
    words, family, spoil = ENTRIES[kind]
    _add(
        f"{mode}_{kind}",
        mode,
        family,
        f"The decomposition of embedding_dense_backward, as {mode} has it, {words}.",
        lambda: table_of(mode, _DENSE, spoil),
    )


for _mode in ("decompositions", "core_decompositions", "inductor_decompositions", "aot_decomposed", "inductor"):
    for _kind in ENTRIES:
        _wrong_entry(_mode, _kind)


# -- dynamo's guards ---------------------------------------------------------------------------------------------


@contextlib.contextmanager
def unguarded() -> Iterator[None]:
    """dynamo without the guards on constants."""
    from torch._dynamo.guards import GuardBuilder

    def nothing(self: Any, guard: Any, *given: Any, **keywords: Any) -> None:
        return None

    names = [
        name for name in ("EQUALS_MATCH", "CONSTANT_MATCH", "BOOL_MATCH", "NONE_MATCH") if hasattr(GuardBuilder, name)
    ]
    with patched(GuardBuilder, **dict.fromkeys(names, nothing)):
        forget_graphs()
        try:
            yield
        finally:
            forget_graphs()
