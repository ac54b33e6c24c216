"""Modes that compile: torch.compile with each of its backends.

Every call goes through one function that is compiled: what may be reused of its graphs, and what must be compiled anew,
dynamo's guards decide, which is how they are put to the test.  That a graph ran is counted: there is no silent way back
to eager.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any

import torch

from embcheck.families.lookup.spelling import Build
from embcheck.modes.lattice import lattice
from embcheck.modes.lifting import CALLS, NO_TRANSFORMS
from embcheck.modes.mode import Program, mode

Tensor = torch.Tensor
Backend = Callable[..., Callable[..., Any]]

#: How many graphs that a backend compiled have run.
RAN = [0]

_ONCE = "AOTAutograd's backward can't be differentiated again"
_DYNAMO = NO_TRANSFORMS | {"entry=swapped": "dynamo does not trace warnings.catch_warnings"}
_CANNOT = _DYNAMO | {"route=double_backward": _ONCE}


@mode("compile_eager", calls=CALLS, cases=lattice(6, 20, 60), engines=("product",), cost=10.0, cannot=_DYNAMO)
def compile_eager(program: Program, build: Build, **arguments: Any) -> Mapping[str, Any]:
    """torch.compile with backend="eager": dynamo's graphs and guards, run as they are."""
    return program(build=compiled(build, dynamo_backend, True), **arguments)


_NO_OTHERS = dict.fromkeys(("entry=bag_max", "entry=bag_twice"), "a maximum takes no flags beside it")


@mode(
    "compile_guarded",
    calls=CALLS,
    cases=lattice(8, 24, 8),
    engines=("product",),
    cost=10.0,
    cannot=_DYNAMO | _NO_OTHERS,
)
def compile_guarded(program: Program, build: Build, **arguments: Any) -> Mapping[str, Any]:
    """torch.compile with backend="eager", once the same call was compiled for a layer with other flags."""
    return program(build=compiled(preceded(build), dynamo_backend, True), **arguments)


def preceded(build: Build) -> Build:
    def built(weight: Tensor, **flags: Any) -> tuple[Tensor, Callable[..., Tensor]]:
        padding, rows = flags.get("padding_idx"), len(weight)
        others = {
            "padding_idx": None if not rows else 0 if padding is None else (padding + 1) % rows,
            "scale_grad_by_freq": not flags.get("scale_grad_by_freq", False),
            "sparse": not flags.get("sparse", False),
        }
        if flags.get("mode") == "max":  # which takes neither
            others |= {"scale_grad_by_freq": False, "sparse": False}
        table = weight.detach().clone().requires_grad_(weight.requires_grad)
        leaf, call = build(weight, **flags)
        try:
            _, first = build(table, **(flags | others))
        except TypeError:  # a spelling without these flags
            _, first = build(table, **flags)
        # Built before what is judged, as any layer is; `compiled` calls it before the layer's own first call.
        call.__dict__["preceding"] = first
        return leaf, call

    return built


@mode("aot_eager", calls=CALLS, cases=lattice(3, 9, 60), engines=("product",), cost=20.0, cannot=_CANNOT)
def aot_eager(program: Program, build: Build, **arguments: Any) -> Mapping[str, Any]:
    """torch.compile with backend="aot_eager": forward and backward recorded."""
    with donating(**arguments):
        return program(build=compiled(build, aot_backend, True), **arguments)


@mode("aot_decomposed", calls=CALLS, cases=lattice(3, 10, 60), engines=("product",), cost=20.0, cannot=_CANNOT)
def aot_decomposed(program: Program, build: Build, **arguments: Any) -> Mapping[str, Any]:
    """torch.compile with backend="aot_eager_decomp_partition": with inductor's decompositions and partitions."""
    with donating(**arguments):
        return program(build=compiled(build, decomposing_backend, True), **arguments)


@mode(
    "compile_no_grad",
    grad=False,
    calls=CALLS,
    cases=lattice(4, 12, 60),
    engines=("product",),
    cost=10.0,
    cannot=_DYNAMO,
)
def compile_no_grad(program: Program, build: Build, **arguments: Any) -> Mapping[str, Any]:
    """torch.compile with backend="eager", called without a graph."""
    with torch.no_grad():
        return program(build=compiled(build, dynamo_backend, True), **arguments)


@mode("aot_no_grad", grad=False, calls=CALLS, cases=lattice(3, 9, 60), engines=("product",), cost=15.0, cannot=_CANNOT)
def aot_no_grad(program: Program, build: Build, **arguments: Any) -> Mapping[str, Any]:
    """torch.compile with backend="aot_eager", called without a graph: no backward is recorded."""
    with torch.no_grad():
        return program(build=compiled(build, aot_backend, True), **arguments)


def no_compiler() -> str | None:
    """Why inductor can't compile here; None if it can.  The first compilation sets it up, which may take half a minute."""
    import faulthandler

    faulthandler.cancel_dump_traceback_later()  # no case runs: the next one sets the alarm anew
    try:
        seen = inductor(lambda build: {"value": build(torch.ones(3, 2))[1](torch.tensor([1, 2]))}, _probe)
    except Exception as error:
        text = str(error).strip().splitlines() or [""]
        return f"inductor compiles nothing here: {type(error).__qualname__}: {text[0][:120]}"
    return None if seen["value"].shape == (2, 2) else "inductor compiles nothing here"


def _probe(weight: Tensor, **flags: Any) -> tuple[Tensor, Callable[..., Tensor]]:
    return weight, lambda indices: weight[indices] + 1


@mode(
    "inductor",
    calls=CALLS,
    cases=lattice(2, 6, 120),
    engines=("product",),
    cost=60.0,
    cannot=_CANNOT,
    lacking=no_compiler,
)
def inductor(program: Program, build: Build, **arguments: Any) -> Mapping[str, Any]:
    """torch.compile with backend="inductor" and dynamic shapes."""
    with donating(**arguments):
        return program(build=compiled(build, inductor_backend, True), **arguments)


@mode(
    "inductor_no_grad",
    grad=False,
    calls=CALLS,
    cases=lattice(2, 5, 120),
    engines=("product",),
    cost=60.0,
    cannot=_CANNOT,
    lacking=no_compiler,
)
def inductor_no_grad(program: Program, build: Build, **arguments: Any) -> Mapping[str, Any]:
    """torch.compile with backend="inductor" and dynamic shapes, called without a graph."""
    with torch.no_grad():
        return program(build=compiled(build, inductor_backend, True), **arguments)


@mode(
    "inductor_static",
    calls=CALLS,
    cases=lattice(1, 3, 6),
    engines=("product",),
    cost=200.0,
    cannot=_CANNOT,
    lacking=no_compiler,
)
def inductor_static(program: Program, build: Build, **arguments: Any) -> Mapping[str, Any]:
    """torch.compile with backend="inductor", each size a constant."""
    with donating(**arguments):
        return program(build=compiled(build, inductor_backend, False), **arguments)


def donating(route: Callable[..., Any] | None = None, **arguments: Any) -> AbstractContextManager[Any]:
    """What torch asks for on routes that keep the graph: of donated_buffer, by which a backward uses saved tensors up,
    its configuration says 'This flag must be set False if a user wants to retain_graph=True for backward'."""
    import torch._functorch.config

    known = torch._functorch.config
    kept = route is not None and route.__name__ in ("retained", "create_graph") and hasattr(known, "donated_buffer")
    return known.patch({"donated_buffer": False}) if kept else contextlib.nullcontext()


def compiled(build: Build, backend: Backend, dynamic: bool) -> Build:
    import torch._functorch.config

    def run(call: Callable[..., Tensor], *inputs: Tensor | None) -> Tensor:
        return call(*inputs)

    def run_and_keep(call: Callable[..., Tensor], *inputs: Tensor | None) -> Tensor:
        return call(*inputs)

    # Graphs are kept by the function that was compiled: what gives its saved tensors away must not serve where they stay.
    given_away = getattr(torch._functorch.config, "donated_buffer", True)
    once = run if given_away else run_and_keep
    running = torch.compile(once, backend=backend, dynamic=dynamic, fullgraph=True)

    def built(weight: Tensor, **flags: Any) -> tuple[Tensor, Callable[..., Tensor]]:
        leaf, call = build(weight, **flags)

        def again(*inputs: Tensor | None) -> Tensor:
            before = 0
            first = call.__dict__.pop("preceding", None)
            with settings():
                try:
                    if first is not None:
                        # A checkpoint round the layer's first call must not count what another layer saves.
                        with torch.autograd.graph.saved_tensors_hooks(lambda saved: saved, lambda saved: saved):
                            running(first, *inputs)
                    before = RAN[0]
                    value = running(call, *inputs)
                except torch._dynamo.exc.TorchDynamoException as error:
                    raise RuntimeError(f"does not compile: {type(error).__qualname__}: {error}") from error
            if RAN[0] == before:
                raise AssertionError("no compiled graph ran")
            return value

        return leaf, again

    return built


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
