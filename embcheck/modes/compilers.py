"""Modes that compile: torch.compile with each of its backends.

Every call goes through one function that is compiled: what may be reused of its graphs, and what must be compiled anew,
dynamo's guards decide, which is how they are put to the test.  That a graph ran is counted: there is no silent way back
to eager.
"""

import contextlib
import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch

from embcheck.core.declaration import SubjectError, folder_of, imported
from embcheck.families.lookup.spelling import Build
from embcheck.modes.lattice import lattice
from embcheck.modes.layer import Tensor, recalled
from embcheck.modes.lifting import NO_TRANSFORMS, recorded_on
from embcheck.modes.mode import MODES, add_mode

Backend = Callable[..., Callable[..., Any]]

#: How many graphs that a backend compiled have run.
RAN = [0]

_DYNAMO = NO_TRANSFORMS | {"entry=swapped": "dynamo does not trace warnings.catch_warnings"}
_CANNOT = _DYNAMO | {"route=double_backward": "AOTAutograd's backward can't be differentiated again"}


def compiled(build: Build, backend: Backend, dynamic: bool | None = True) -> Build:
    import torch._functorch.config

    def run(call: Callable[..., Tensor], *inputs: Tensor | None) -> Tensor:
        return call(*inputs)

    def run_and_keep(call: Callable[..., Tensor], *inputs: Tensor | None) -> Tensor:
        return call(*inputs)

    # Graphs are kept by the function that was compiled: what gives its saved tensors away must not serve where they stay.
    given_away = getattr(torch._functorch.config, "donated_buffer", True)
    once = run if given_away else run_and_keep
    running = torch.compile(once, backend=backend, dynamic=dynamic, fullgraph=True)

    def change(call: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def again(*inputs: Tensor | None) -> Tensor:
            before = RAN[0]
            with settings():
                try:
                    value = running(call, *inputs)
                except torch._dynamo.exc.TorchDynamoException as error:
                    raise RuntimeError(f"does not compile: {type(error).__qualname__}: {error}") from error
            if RAN[0] == before:
                raise AssertionError("no compiled graph ran")
            return value

        return again

    return recalled(build, change)


def settings() -> Any:
    """No limit after which dynamo goes back to eager, no errors suppressed, nothing compiled in other processes."""
    known = torch._dynamo.config
    wanted = {
        "recompile_limit": 1 << 16,
        "accumulated_recompile_limit": 1 << 20,
        "cache_size_limit": 1 << 16,
        "accumulated_cache_size_limit": 1 << 20,
        "fail_on_recompile_limit_hit": True,
        "suppress_errors": False,
    }
    return known.patch({name: value for name, value in wanted.items() if hasattr(known, name)})


def donating(route: Callable[..., Any] | None = None, **arguments: Any) -> AbstractContextManager[Any]:
    """What torch asks for on routes that keep the graph: of donated_buffer, by which a backward uses saved tensors up,
    its configuration says 'This flag must be set False if a user wants to retain_graph=True for backward'."""
    import torch._functorch.config

    known = torch._functorch.config
    kept = route is not None and route.__name__ in ("retained", "create_graph") and hasattr(known, "donated_buffer")
    return known.patch({"donated_buffer": False}) if kept else contextlib.nullcontext()


def counted(graph: Callable[..., Any]) -> Callable[..., Any]:
    def ran(*inputs: Any) -> Any:
        RAN[0] += 1
        return graph(*inputs)

    return ran


def dynamo_backend(graph: Any, example: Any) -> Callable[..., Any]:
    # Of a graph module that recompiles lazily, forward prints what it raises until it has done so.
    getattr(graph, "real_recompile", graph.recompile)()
    return counted(graph.forward)


def aot_backend(graph: Any, example: Any) -> Callable[..., Any]:
    return counted(torch._dynamo.lookup_backend("aot_eager")(graph, example))


def decomposing_backend(graph: Any, example: Any) -> Callable[..., Any]:
    return counted(torch._dynamo.lookup_backend("aot_eager_decomp_partition")(graph, example))


def inductor_backend(graph: Any, example: Any) -> Callable[..., Any]:
    import torch._functorch.config
    import torch._inductor.config

    known = torch._inductor.config
    wanted = {"compile_threads": 1, "fx_graph_cache": False, "fx_graph_remote_cache": False}
    found = {name: value for name, value in wanted.items() if hasattr(known, name)}
    with known.patch(found), torch._functorch.config.patch({"enable_autograd_cache": False}):
        return counted(torch._dynamo.lookup_backend("inductor")(graph, example))


def no_compiler() -> str | None:
    """Why inductor can't compile here; None if it can.  The first compilation sets it up, which may take half a minute."""
    import faulthandler

    faulthandler.cancel_dump_traceback_later()  # no case runs: the next one sets the alarm anew
    try:
        run = MODES["inductor"].function
        seen = run(lambda build: {"value": build(torch.ones(3, 2))[1](torch.tensor([1, 2]))}, build=_probe)
    except Exception as error:
        text = str(error).strip().splitlines() or [""]
        return f"inductor compiles nothing here: {type(error).__qualname__}: {text[0][:120]}"
    return None if seen["value"].shape == (2, 2) else "inductor compiles nothing here"


def _probe(weight: Tensor, **flags: Any) -> tuple[Tensor, Callable[..., Tensor]]:
    return weight, lambda indices: weight[indices] + 1


def compile_mode(name: str, backend: Backend, cases: Any, cost: float, words: str, *dynamic: bool | None) -> None:
    """Adds a mode; ``words`` are what its sentence says after "torch.compile with".  Sizes are ``dynamic``, or if that is None
    constants until they change, as torch.compile has it unless it is told."""
    more: dict[str, Any] = {"lacking": no_compiler} if backend is inductor_backend else {}
    if name.partition(":")[0].endswith("_no_grad"):
        more["grad"] = False
    elif backend is not dynamo_backend:
        more["around"] = donating
    cannot = _DYNAMO if backend is dynamo_backend else _CANNOT
    more |= recorded_on(cases, cannot, cost=cost)
    add_mode(name, f"torch.compile with {words}", compiled, backend, *dynamic, **more)


compile_mode("compile_eager", dynamo_backend, lattice(6, 20, 60), 10.0,
             'backend="eager": dynamo\'s graphs and guards, run as they are.')  # fmt: skip
compile_mode("aot_eager", aot_backend, lattice(3, 9, 60), 20.0,
             'backend="aot_eager": forward and backward recorded.')  # fmt: skip
compile_mode("aot_decomposed", decomposing_backend, lattice(3, 10, 60), 20.0,
             'backend="aot_eager_decomp_partition": with inductor\'s decompositions and partitions.')  # fmt: skip
compile_mode("compile_no_grad", dynamo_backend, lattice(4, 12, 60), 10.0,
             'backend="eager", called without a graph.')  # fmt: skip
compile_mode("aot_no_grad", aot_backend, lattice(3, 9, 60), 15.0,
             'backend="aot_eager", called without a graph: no backward is recorded.')  # fmt: skip
compile_mode("inductor", inductor_backend, lattice(2, 8, 90), 60.0,
             'backend="inductor" and dynamic shapes.')  # fmt: skip
compile_mode("inductor_no_grad", inductor_backend, lattice(2, 5, 120), 60.0,
             'backend="inductor" and dynamic shapes, called without a graph.')  # fmt: skip
compile_mode("inductor_static", inductor_backend, lattice(1, 3, 6), 200.0,
             'backend="inductor", each size a constant.', False)  # fmt: skip


# -- a backend that somebody wrote: ``compile:BACKEND``, and ``compile_no_grad:BACKEND`` without a graph ----------------

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
