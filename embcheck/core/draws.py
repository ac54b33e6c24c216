"""What Hypothesis draws for a run: the same in every process, whatever else is loaded.

Hypothesis mixes numbers that stand in the local modules into what it draws, so that an edit, a test module that happens
to be loaded or an installation as a wheel would change the cases.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

from hypothesis import strategies as st
from hypothesis.internal.conjecture import providers

#: Numbers below 2³⁰, made of what is mixed with nothing: booleans.
SEEDS: st.SearchStrategy[int] = st.tuples(*[st.booleans()] * 30).map(
    lambda bits: sum(bit << place for place, bit in enumerate(bits))
)


@contextmanager
def without_literals() -> Iterator[None]:
    """While numbers are drawn that can't be made of booleans, such as which rule of a machine comes next."""
    if not hasattr(providers, "_get_local_constants"):
        yield  # older than the mixing
        return
    from hypothesis.internal.constants_ast import Constants

    with (
        patch.object(providers, "_get_local_constants", Constants),
        patch.object(providers, "CONSTANTS_CACHE", {}),  # which holds them from earlier draws
    ):
        yield
