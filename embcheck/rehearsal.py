"""Builds and calls a subject once before it is checked: what is no subject gets one clear line and not a traceback.

From the command line that happens in a child process (``python -m embcheck.rehearsal module:factory``), so that a
factory that hangs, or takes the process down, is a line too.
"""

from __future__ import annotations

import contextlib
import io
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import torch

from embcheck.declaration import KINDS, Declaration, SubjectError, declaration_of, name_of, resolve, takes

#: Seconds that importing torch and the subject, building it and one call may take.
LIMIT = 60.0
#: What a rehearsal builds: rows and columns.
ROWS, WIDTH = 5, 3


def rehearse(factory: Callable[..., Any], declared: Declaration) -> str | None:
    """What is wrong with a subject, in one line; None if it can be built and called as its kind says."""
    name, kind = name_of(factory), declared.kind
    if not callable(factory):
        return f"{name} is {type(factory).__name__}; expected a class or a function"
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            problem = _STEPS[kind](factory, declared)
    except Exception as error:
        first = str(error).strip().splitlines()
        said = f"{type(error).__name__}: {first[0][:200] if first else ''}"
        return f"{name} can't be built as {KINDS[kind]}: {said}"
    if problem is not None:
        return f"{name}: {problem}"
    if printed.getvalue().strip():
        return (
            f"{name} prints {printed.getvalue().strip().splitlines()[0][:80]!r}; expected a layer that prints nothing"
        )
    return None


def _built(factory: Callable[..., Any], **flags: Any) -> torch.nn.Module | str:
    layer = factory(ROWS, WIDTH, **flags)
    if not isinstance(layer, torch.nn.Module):
        return f"{factory.__qualname__}({ROWS}, {WIDTH}) returned {type(layer).__name__}; expected a torch.nn.Module"
    return layer


def _tables(layer: torch.nn.Module) -> str | None:
    shapes = [tuple(parameter.shape) for parameter in layer.parameters()]
    count = shapes.count((ROWS, WIDTH))
    if count == 1:
        return None
    return f"expected one parameter of shape {(ROWS, WIDTH)}, found {count} (its parameters: {shapes[:6]})"


def _called(layer: torch.nn.Module, indices: torch.Tensor, shape: tuple[int, ...]) -> str | None:
    before = indices.clone()
    value = layer(indices)
    if not isinstance(value, torch.Tensor):
        return f"a call returned {type(value).__name__}; expected a tensor of shape {shape}"
    if tuple(value.shape) != shape:
        return (
            f"a call with indices of shape {tuple(indices.shape)} returned shape {tuple(value.shape)}; expected {shape}"
        )
    return None if torch.equal(indices, before) else "a call changes its indices; expected its inputs to be left alone"


def _table(factory: Callable[..., Any], declared: Declaration) -> str | None:
    layer = _built(factory)
    if isinstance(layer, str):
        return layer
    return _tables(layer) or _called(layer, torch.tensor([[0, 1], [1, 2]]), (2, 2, WIDTH))


def _bag(factory: Callable[..., Any], declared: Declaration) -> str | None:
    layer = _built(factory, **({"mode": "sum"} if "mode" in takes(factory, ("mode",)) else {}))
    if isinstance(layer, str):
        return layer
    return _tables(layer) or _called(layer, torch.tensor([[0, 1], [1, 2]]), (2, WIDTH))


def _tied(factory: Callable[..., Any], declared: Declaration) -> str | None:
    model = _built(factory)
    if isinstance(model, str):
        return model
    for path in (declared.table, declared.head):
        try:
            weight = getattr(model.get_submodule(path), "weight", None)
        except AttributeError:
            there = ", ".join(name for name, _ in model.named_modules() if name)
            return f"no submodule {path!r}; there are {there}; declare its paths with embcheck.declare(table=…, head=…)"
        if not isinstance(weight, torch.Tensor) or tuple(weight.shape) != (ROWS, WIDTH):
            return f"{path}.weight is no tensor of shape {(ROWS, WIDTH)}"
    return None


def _conversion(factory: Callable[..., Any], declared: Declaration) -> str | None:
    linear = factory(torch.nn.Embedding(ROWS, WIDTH))
    if not isinstance(linear, torch.nn.Module):
        return f"{factory.__qualname__}(embedding) returned {type(linear).__name__}; expected a torch.nn.Module"
    shape = tuple(getattr(linear, "weight", torch.empty(0)).shape)
    return None if shape == (WIDTH, ROWS) else f"the linear layer's weight has shape {shape}; expected {(WIDTH, ROWS)}"


_STEPS = {"table": _table, "bag": _bag, "tied": _tied, "conversion": _conversion}


def rehearse_apart(name: str) -> None:
    """Rehearses the subject of a name in a child process.

    Raises:
        SubjectError: with the one line that says what is wrong.
    """
    command = [sys.executable, "-m", "embcheck.rehearsal", name]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, check=False)
    except subprocess.TimeoutExpired:
        raise SubjectError(f"subject {name!r}: building and calling it took longer than {LIMIT:g} s") from None
    if done.returncode:
        said = done.stderr.strip().splitlines() or [f"it ended the process with status {done.returncode}"]
        raise SubjectError(said[-1] if done.returncode == 1 else f"subject {name!r}: {said[-1][:200]}")


if __name__ == "__main__":
    try:
        found = resolve(sys.argv[1])
        line = rehearse(found, declaration_of(found))
    except SubjectError as error:
        line = str(error)
    if line is not None:
        print(line, file=sys.stderr)
        sys.exit(1)
