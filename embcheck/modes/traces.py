"""Modes that record a lookup as a graph and run the graph: jit.trace, jit.script, fx, make_fx, AOTAutograd.

Each artefact is made from an example that holds zeros in place of the table, the tokens and all else, so that what is
recorded as a constant shows.
"""

import io
from collections.abc import Mapping
from typing import Any, Literal

import torch

from embcheck.families.lookup.spelling import Build
from embcheck.modes.lattice import lattice
from embcheck.modes.layer import MODULE, TABLE, Tensor, recalled
from embcheck.modes.layer import through as relaid
from embcheck.modes.lifting import NO_TRANSFORMS, Lifted, recorded_on, through
from embcheck.modes.mode import add_mode, build_mode

Example = tuple[Tensor, ...]

#: Entries whose call is a module.
_MODULES = ("module", "module_eval", "from_pretrained", "assigned", "loaded", "nested")
#: Those whose call is a closure.
_CLOSURES = (
    *("functional", "functional_call", "torch_embedding", "torch_bag"),
    *("aten", "forward_only", "one_hot_product", "linear"),
    *("renorm_", "aten_renorm_", "bag_sum", "bag_mean", "bag_max", "bag_module"),
)
_FORGETS = "a recording forgets no_grad"
_NO_CLOSURES = "TorchScript compiles modules, not closures"
_UNTRACED = NO_TRANSFORMS | {
    "entry=functional_call": "functional_call takes no module that is being traced",
    "entry=renorm_": _FORGETS,
    "entry=bag_module": "functional_call takes no module that is being traced",
}


def _of_tables(cannot: Mapping[str, str], cost: float, **entry: tuple[str, ...]) -> dict[str, Any]:
    return recorded_on(lattice(24, 70, 8, **entry), cannot, cost=cost) | {"calls": TABLE}


def trace_module(layer: torch.nn.Module, example: Example) -> Lifted:
    (table,) = layer.parameters()
    before = table.detach().clone()
    # Tracing runs the layer, which writes to the table if it has max_norm.
    with torch.autograd.grad_mode._unsafe_preserve_version_counter(table), torch.no_grad():
        traced_layer: Lifted = torch.jit.trace(layer, example, check_trace=False)
        table.copy_(before)
    return traced_layer


@build_mode("jit_trace", through, trace_module, **_of_tables(_UNTRACED, 2.0))
def traced(function: Lifted, example: Example) -> Lifted:
    """Through torch.jit.trace."""
    return torch.jit.trace(function, example, check_trace=False)  # type: ignore[no-any-return]


_UNSCRIPTED = NO_TRANSFORMS | {f"entry={name}": _NO_CLOSURES for name in _CLOSURES}


@build_mode("jit_script", recalled, **_of_tables(_UNSCRIPTED, 3.0, entry=_MODULES))
def scripted(call: torch.nn.Module) -> Any:
    """Modules through torch.jit.script."""
    return torch.jit.script(call)


_UNSAVED = MODULE | {f"entry={name}": _NO_CLOSURES for name in ("functional", "torch_embedding", "torch_bag")}
_SAVED = recorded_on(lattice(24, 48, 8, entry=_MODULES), _UNSAVED, rebuilds=True, cost=8.0, aliases=False)


@build_mode("jit_saved", relaid, **_SAVED)
def script_saved(layer: torch.nn.Module) -> Any:
    """Modules through torch.jit.script, saved, and loaded with map_location."""
    # Frozen on the way, since whoever calls the layer says again whether it learns.
    learning = [parameter.requires_grad for parameter in layer.parameters()]
    file = io.BytesIO()
    torch.jit.save(torch.jit.script(layer.requires_grad_(False)), file)
    file.seek(0)
    loaded = torch.jit.load(file, map_location=torch.empty(0).device)
    if any(parameter.requires_grad for parameter in loaded.parameters()):
        raise AssertionError("a frozen parameter came back as one that learns")
    for parameter, learns in zip(loaded.parameters(), learning, strict=True):
        parameter.requires_grad_(learns)
    return loaded


def symbolic_module(layer: torch.nn.Module, example: Example) -> Lifted:
    return torch.fx.symbolic_trace(layer).forward


_UNPROXIED = NO_TRANSFORMS | {
    "entry=functional_call": "functional_call takes no proxies",
    "entry=renorm_": _FORGETS,
    "entry=aten_renorm_": "increment_version takes no proxies",
    **{f"entry={name}": "a proxy has no size that Python could look at" for name in _CLOSURES[-6:]},
}

_SYMBOLIC = recorded_on(lattice(24, 48, 8), _UNPROXIED, cost=2.0, hooks=False) | {"calls": TABLE}


@build_mode("fx", through, symbolic_module, **_SYMBOLIC)
def symbolic(function: Lifted, example: Example) -> Lifted:
    """Through torch.fx.symbolic_trace."""
    # Not the graph module itself, which prints what its forward raises.
    if len(example) == 2:
        return torch.fx.symbolic_trace(lambda table, indices: function(table, indices)).forward
    if len(example) == 3:
        return torch.fx.symbolic_trace(lambda table, indices, more: function(table, indices, more)).forward
    return torch.fx.symbolic_trace(lambda table, indices, more, most: function(table, indices, more, most)).forward


_RECORDED = NO_TRANSFORMS | {"entry=renorm_": _FORGETS}
#: What make_fx refuses with real tensors, in its own words.
_READS = dict.fromkeys(
    ("entry=one_hot_product", "entry=linear"),
    "one_hot reads its index: 'It may be possible to trace this with dynamic shapes; try setting tracing_mode='symbolic''",
)


def through_make_fx(build: Build, tracing_mode: Literal["real", "fake", "symbolic"]) -> Build:
    def recorded(function: Lifted, example: Example) -> Any:
        # Here, for it takes seconds to import what no other mode needs.
        from torch.fx.experimental.proxy_tensor import make_fx

        return make_fx(function, tracing_mode=tracing_mode)(*example).forward

    return through(build, recorded)


_FEW, _MORE = lattice(6, 12, 6), lattice(12, 24, 6)
add_mode(
    "make_fx", "Through make_fx, traced with tensors.", through_make_fx, "real",
    **recorded_on(_MORE, _RECORDED | _READS, cost=5.0),
)  # fmt: skip
add_mode(
    "make_fx_fake", "Through make_fx, traced with fake tensors.", through_make_fx, "fake",
    **recorded_on(_MORE, _RECORDED, cost=8.0),
)  # fmt: skip
add_mode(
    "make_fx_symbolic", "Through make_fx, traced with fake tensors of symbolic sizes.", through_make_fx, "symbolic",
    **recorded_on(_FEW, _RECORDED, cost=12.0),
)  # fmt: skip

_ONCE = {"route=double_backward": "AOTAutograd's backward can't be differentiated again"}


@build_mode("aot", through, **recorded_on(lattice(6, 10, 6), _RECORDED | _ONCE, cost=20.0))
def joint(function: Lifted, example: Example) -> Lifted:
    """Through AOTAutograd, forward and backward both recorded and run as they are."""
    from torch._functorch import aot_autograd, compilers  # here, as in recorded

    ran: Lifted = aot_autograd.aot_function(function, fw_compiler=compilers.nop, bw_compiler=compilers.nop)
    ran(*example)
    return ran
