"""Graphs that inductor lowers and writes no code for: what is called is the graph itself.

To see which calls a lowering gets that is enough, and takes a fraction of the time.
"""

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any
from unittest import mock

import torch


class _Lowered(BaseException):
    """Stands in the place of the code: inductor handles what is an `Exception`."""


def _stop(graph: Any) -> None:
    raise _Lowered


def _lower(graph: Any, example: Sequence[Any], **options: Any) -> Any:
    from torch._inductor.compile_fx import compile_fx_inner
    from torch._inductor.graph import GraphLowering

    kept = copy.deepcopy(graph)
    with mock.patch.object(GraphLowering, "compile_to_module", _stop):
        try:
            return compile_fx_inner(graph, example, **options)
        except _Lowered:
            pass

    def run(given: list[Any]) -> Any:
        return kept(*given)

    run._boxed_call = True  # type: ignore[attr-defined]  # takes its arguments in a list, as what inductor compiles does
    return run


@contextmanager
def without_code() -> Iterator[None]:
    """Inside of it the modes of inductor lower and compile nothing."""
    from torch._inductor.compile_fx import compile_fx

    found = torch._dynamo.lookup_backend
    lowering = partial(compile_fx, inner_compile=_lower)
    with mock.patch.object(
        torch._dynamo, "lookup_backend", lambda name: lowering if name == "inductor" else found(name)
    ):
        yield
