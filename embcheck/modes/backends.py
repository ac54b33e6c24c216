"""A compiler backend that somebody wrote, as a mode: ``compile:BACKEND``, and ``compile_no_grad:BACKEND`` without a graph."""

import re
from typing import Any

from embcheck.core.declaration import SubjectError, folder_of, imported
from embcheck.modes.compilers import Backend, compile_mode, counted
from embcheck.modes.lattice import lattice
from embcheck.modes.mode import MODES

#: How the names of such modes begin.
BEGINNINGS = ("compile:", "compile_no_grad:")


def add_backend(name: str) -> None:
    """Adds the mode of this name, unless there is one; BACKEND is what torch.compile takes by name, or ``module:function``.

    Raises:
        SubjectError: if there is no such backend; the message is one line.
    """
    if name in MODES or not name.startswith(BEGINNINGS):
        return
    place = name.partition(":")[2]
    compiler, lines = _imported(place) if ":" in place else _registered(place)
    words = f"backend={place!r}" + (", called without a graph." if name.startswith(BEGINNINGS[1]) else ".")
    compile_mode(name, _counting(compiler, lines), lattice(3, 10, 60), 20.0, words, None)


def _registered(name: str) -> tuple[Backend, list[str]]:
    """A backend that torch knows by its name, and the lines of a script that find it."""
    import torch._dynamo

    try:
        found: Backend = torch._dynamo.lookup_backend(name)
    except Exception:
        known = ", ".join(torch._dynamo.list_backends())
        raise SubjectError(f"no backend {name!r}: torch has {known}; of one of yours write module:function") from None
    return found, ["import torch._dynamo", "", f"compiler = torch._dynamo.lookup_backend({name!r})"]


def _imported(place: str) -> tuple[Backend, list[str]]:
    found: Any = imported(place, "backend")
    if not callable(found):
        raise SubjectError(f"backend {place!r}: {found!r} can't be called with a graph and its example inputs")
    lines = ["from pkgutil import resolve_name", "", f"sys.path.insert(0, {folder_of(place.partition(':')[0])!r})"]
    return found, [*lines, f"compiler = resolve_name({place!r})"]


def _counting(compiler: Backend, lines: list[str]) -> Any:
    """The backend whose graphs are counted; it is made from its text, which is also what a counterexample's script shows."""
    # dynamo names the function in its errors.
    name = "backend_" + re.sub(r"\W", "_", getattr(compiler, "__name__", ""))
    text = f"def {name}(graph, example):\n    return counted(compiler(graph, example))"
    scope: dict[str, Any] = {"compiler": compiler, "counted": counted}
    exec(text, scope)
    backend: Any = scope[name]
    backend.script, backend.uses, backend.__module__ = "\n".join([*lines, "", "", text]), [counted], __name__
    return backend
