"""Modes that record a lookup as a graph and run the graph: jit.trace, jit.script, fx, make_fx, AOTAutograd.

Each artefact is made from an example that holds zeros in place of the table, the tokens and all else, so that what is
recorded as a constant shows.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from typing import Any, Literal

import torch

from embcheck.families.lookup.spelling import Build
from embcheck.modes.lattice import lattice
from embcheck.modes.layer import BOTH, MODULE
from embcheck.modes.layer import through as relaid
from embcheck.modes.lifting import CALLS, NO_TRANSFORMS, TABLE, Lifted, through
from embcheck.modes.mode import Program, mode

Tensor = torch.Tensor
Example = tuple[Tensor, ...]

#: Entries whose call is a module.
_MODULES = ("module", "module_eval", "from_pretrained", "assigned", "loaded", "nested")
_FORGETS = "a recording forgets no_grad"
_NO_CLOSURES = "TorchScript compiles modules, not closures"


@mode("jit_trace", calls=TABLE, cases=lattice(24, 70, 8), engines=("product",), cost=2.0,
      cannot=NO_TRANSFORMS | {
          "entry=functional_call": "functional_call takes no module that is being traced",
          "entry=renorm_": _FORGETS,
          "entry=bag_module": "functional_call takes no module that is being traced",
      })  # fmt: skip
def jit_trace(program: Program, build: Build, **arguments: Any) -> Mapping[str, Any]:
    """Through torch.jit.trace."""
    return program(build=through(build, traced, trace_module), **arguments)


def traced(function: Lifted, example: Example) -> Lifted:
    return torch.jit.trace(function, example, check_trace=False)  # type: ignore[no-any-return]


def trace_module(layer: torch.nn.Module, example: Example) -> Lifted:
    (table,) = layer.parameters()
    before = table.detach().clone()
    # Tracing runs the layer, which writes to the table if it has max_norm.
    with torch.autograd.grad_mode._unsafe_preserve_version_counter(table), torch.no_grad():
        traced_layer: Lifted = torch.jit.trace(layer, example, check_trace=False)
        table.copy_(before)
    return traced_layer


@mode(
    "jit_script",
    calls=TABLE,
    cases=lattice(24, 70, 8, entry=_MODULES),
    engines=("product",),
    cost=3.0,
    cannot=NO_TRANSFORMS
    | {
        f"entry={name}": _NO_CLOSURES
        for name in ("functional", "functional_call", "torch_embedding", "torch_bag", "aten", "forward_only",
                     "one_hot_product", "linear", "renorm_", "aten_renorm_", "bag_sum", "bag_mean", "bag_max",
                     "bag_twice", "bag_between_empty", "bag_module")
    },
)  # fmt: skip
def jit_script(program: Program, build: Build, **arguments: Any) -> Mapping[str, Any]:
    """Modules through torch.jit.script."""
    return program(build=scripted(build), **arguments)


def scripted(build: Build) -> Build:
    def built(weight: Tensor, **flags: Any) -> tuple[Tensor, Callable[..., Tensor]]:
        leaf, call = build(weight, **flags)
        return leaf, torch.jit.script(call)

    return built


def script_saved(layer: torch.nn.Module) -> Any:
    # Frozen on the way, since whoever calls the layer says again whether it learns.
    learning = [parameter.requires_grad for parameter in layer.parameters()]
    file = io.BytesIO()
    torch.jit.save(torch.jit.script(layer.requires_grad_(False)), file)
    file.seek(0)
    loaded = torch.jit.load(file, map_location="cpu")
    if any(parameter.requires_grad for parameter in loaded.parameters()):
        raise AssertionError("a frozen parameter came back as one that learns")
    for parameter, learns in zip(loaded.parameters(), learning, strict=True):
        parameter.requires_grad_(learns)
    return loaded


@mode(
    "jit_saved",
    calls=BOTH,
    rebuilds=True,
    cases=lattice(24, 48, 8, entry=_MODULES),
    engines=("product",),
    cost=8.0,
    aliases=False,
    cannot=MODULE | {f"entry={name}": _NO_CLOSURES for name in ("functional", "torch_embedding", "torch_bag")},
)
def jit_saved(program: Program, build: Build, **arguments: Any) -> Mapping[str, Any]:
    """Modules through torch.jit.script, saved, and loaded with map_location."""
    return program(build=relaid(build, script_saved), **arguments)


_BRANCHES = "a proxy has no size that Python could look at"


@mode(
    "fx",
    hooks=False,
    calls=TABLE,
    cases=lattice(24, 48, 8),
    engines=("product",),
    cost=2.0,
    cannot=NO_TRANSFORMS
    | {
        "entry=functional_call": "functional_call takes no proxies",
        "entry=renorm_": _FORGETS,
        "entry=aten_renorm_": "increment_version takes no proxies",
    }
    | {
        f"entry={name}": _BRANCHES
        for name in ("bag_sum", "bag_mean", "bag_max", "bag_twice", "bag_between_empty", "bag_module")
    },
)
def through_fx(program: Program, build: Build, **arguments: Any) -> Mapping[str, Any]:
    """Through torch.fx.symbolic_trace."""
    return program(build=through(build, symbolic, symbolic_module), **arguments)


def symbolic(function: Lifted, example: Example) -> Lifted:
    # Not the graph module itself, which prints what its forward raises.
    if len(example) == 2:
        return torch.fx.symbolic_trace(lambda table, indices: function(table, indices)).forward
    if len(example) == 3:
        return torch.fx.symbolic_trace(lambda table, indices, more: function(table, indices, more)).forward
    return torch.fx.symbolic_trace(lambda table, indices, more, most: function(table, indices, more, most)).forward


def symbolic_module(layer: torch.nn.Module, example: Example) -> Lifted:
    return torch.fx.symbolic_trace(layer).forward


_RECORDED = NO_TRANSFORMS | {"entry=renorm_": _FORGETS}
#: What make_fx refuses with real tensors, in its own words.
_READS = dict.fromkeys(
    ("entry=one_hot_product", "entry=linear"),
    "one_hot reads its index: 'It may be possible to trace this with dynamic shapes; try setting tracing_mode='symbolic''",
)


@mode("make_fx", calls=CALLS, cases=lattice(12, 24, 6), engines=("product",), cannot=_RECORDED | _READS, cost=5.0)
def through_make_fx(program: Program, build: Build, **arguments: Any) -> Mapping[str, Any]:
    """Through make_fx, traced with tensors."""
    return program(build=through(build, real), **arguments)


@mode("make_fx_fake", calls=CALLS, cases=lattice(12, 24, 6), engines=("product",), cannot=_RECORDED, cost=8.0)
def through_fake_make_fx(program: Program, build: Build, **arguments: Any) -> Mapping[str, Any]:
    """Through make_fx, traced with fake tensors."""
    return program(build=through(build, faked), **arguments)


@mode("make_fx_symbolic", calls=CALLS, cases=lattice(6, 12, 6), engines=("product",), cannot=_RECORDED, cost=12.0)
def through_symbolic_make_fx(program: Program, build: Build, **arguments: Any) -> Mapping[str, Any]:
    """Through make_fx, traced with fake tensors of symbolic sizes."""
    return program(build=through(build, unsized), **arguments)


def recorded(function: Lifted, example: Example, tracing_mode: Literal["real", "fake", "symbolic"]) -> Lifted:
    # Here, for it takes seconds to import what no other mode needs.
    from torch.fx.experimental.proxy_tensor import make_fx

    graph: Lifted = make_fx(function, tracing_mode=tracing_mode)(*example).forward
    return graph


def real(function: Lifted, example: Example) -> Lifted:
    return recorded(function, example, "real")


def faked(function: Lifted, example: Example) -> Lifted:
    return recorded(function, example, "fake")


def unsized(function: Lifted, example: Example) -> Lifted:
    return recorded(function, example, "symbolic")


_ONCE = "AOTAutograd's backward can't be differentiated again"


@mode("aot", calls=CALLS, cases=lattice(6, 10, 6), engines=("product",), cost=20.0,
      cannot=_RECORDED | {"route=double_backward": _ONCE})  # fmt: skip
def aot_traced(program: Program, build: Build, **arguments: Any) -> Mapping[str, Any]:
    """Through AOTAutograd, forward and backward both recorded and run as they are."""
    return program(build=through(build, joint), **arguments)


def joint(function: Lifted, example: Example) -> Lifted:
    from torch._functorch import aot_autograd, compilers  # here, as in recorded

    ran: Lifted = aot_autograd.aot_function(function, fw_compiler=compilers.nop, bw_compiler=compilers.nop)
    ran(*example)
    return ran
