"""Faults that live in one mode each, three for each: in what it calls, in the graph that it records or in a decomposition."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.export
import torch.utils.checkpoint
from torch.fx.experimental import proxy_tensor
from torch.utils._device import DeviceContext

from embcheck.modes.mode import MODES
from embcheck.modes.wrappers import PassFunctions, PassOperators
from embcheck.subject.collect import load_modes
from selfcheck.fault import Fault, add
from selfcheck.forms import Call, lines, replaced
from selfcheck.site import Tensor

load_modes()

_LOOKUPS = (
    *(torch.nn.functional.embedding, torch.embedding, torch.ops.aten.embedding.default),
    torch.ops.aten.embedding_dense_backward.default,
)

#: Changes a result, or a layer; and what is done in place of a call whose result is to be changed so.
Spoil = Callable[[Any], Any]
How = Callable[..., Any]


def in_modes(modes: str, owner: Any, attribute: str, how: How, *spoils: Spoil) -> None:
    """Registers for each of some modes, and for each spoil, a fault of what the mode calls."""
    for mode in modes.split():
        graphs = MODES[mode].grad and MODES[mode].values
        for spoil in spoils or (SPOILS if graphs else BELOW_AUTOGRAD):
            words = f"{(spoil.__doc__ or '').rstrip('.')}: {attribute}, as {mode} calls it."
            plant = partial(replaced, owner, attribute, partial(how, spoil=spoil))
            family = "gradient" if graphs else "lookup"
            add(Fault(f"{mode}_{spoil.__name__}", family, words, plant, **_only_in(mode)))


def _only_in(mode: str) -> dict[str, Any]:
    return {"applies": lambda: MODES[mode].lacking() is None, "modes": (mode,)}


# -- what is done to a result, or to a table ----------------------------------------------------------------------------


def zeroes_the_last_row(out: Tensor) -> Tensor:
    """The last row is zero."""
    return torch.cat((out[:-1], 0 * out[-1:])) if out.dim() > 1 else out


def rolls_the_rows(out: Tensor) -> Tensor:
    """Each token gets its predecessor's row."""
    return out.roll(1, 0) if out.dim() > 1 else out


def doubles_the_gradient(out: Tensor) -> Tensor:
    """The value is right, its gradient comes twice."""
    return out - (out.detach() - out).nan_to_num() if out.requires_grad else out


def doubles_the_values(out: Tensor) -> Tensor:
    """The values are doubled."""
    return 2 * out


def gives_another_dtype(out: Tensor) -> Tensor:
    """The dtype is another one."""
    return out.to(torch.float64 if out.dtype != torch.float64 else torch.float32)


def gives_another_shape(out: Tensor) -> Tensor:
    """There is an axis more."""
    return out[None]


def gives_other_strides(out: Tensor) -> Tensor:
    """The first axis is the densest one."""
    return out.transpose(0, -1).contiguous().transpose(0, -1)


SPOILS: tuple[Spoil, ...] = (zeroes_the_last_row, rolls_the_rows, doubles_the_gradient)
BELOW_AUTOGRAD: tuple[Spoil, ...] = (zeroes_the_last_row, rolls_the_rows, doubles_the_values)
_WITHOUT_VALUES: tuple[Spoil, ...] = (gives_another_dtype, gives_another_shape, gives_other_strides)


# -- where a mode calls torch -------------------------------------------------------------------------------------------


def _result(call: Call, spoil: Spoil) -> Any:
    out = call()
    return (spoil(out[0]), *out[1:]) if isinstance(out, tuple) else spoil(out)


def made(call: Call, spoil: Spoil, part: Callable[[Spoil, Any], Any] = lambda spoil, out: spoil(out)) -> Any:
    """What the function gives that a call makes is spoiled, or a part of it."""
    function = call()
    return lambda *tensors: part(spoil, function(*tensors))


def _second_table(spoil: Spoil, tables: Tensor) -> Tensor:
    return torch.stack([spoil(out) if at == 1 else out for at, out in enumerate(tables)])


def _of_a_lookup(call: Call, spoil: Spoil) -> Any:
    out, names = call(), ("embedding", "embedding_bag", "embedding.default", "index_select.default")
    return spoil(out) if getattr(call.given[1], "__name__", "") in names else out


def _served(call: Call, spoil: Spoil) -> Any:
    found = call()
    return found if call.self.training or torch.is_grad_enabled() else spoil(found)


def _harmed(call: Call, spoil: Spoil) -> Any:
    """What a method returns is harmed if it is a layer, else the layer whose method it is; the values of a dict, too."""
    out = call()
    if isinstance(out, dict):
        return {name: spoil(table) for name, table in out.items()}
    layer = out if isinstance(out, torch.nn.Module) else call.given[0]
    with torch.no_grad():
        for table in layer.parameters():
            table.copy_(spoil(table))
    return out


# -- graphs -------------------------------------------------------------------------------------------------------------


def _edit(graph: Any, spoil: Spoil) -> Any:
    """A graph, or the program of one, in which what each lookup or its backward gives is spoiled."""
    module: torch.fx.GraphModule = getattr(graph, "graph_module", graph)
    for node in [each for each in module.graph.nodes if each.op == "call_function" and each.target in _LOOKUPS]:
        with module.graph.inserting_after(node):
            spoiled = module.graph.call_function(spoil, (node,))
        node.replace_all_uses_with(spoiled, delete_user_cb=lambda user, spoiled=spoiled: user is not spoiled)
    module.recompile()
    return graph


def _returned(call: Call, spoil: Spoil, strict: bool | None = None) -> Any:
    return _edit(call(), spoil) if strict in (None, bool(call.flags.get("strict"))) else call()


def _traced(call: Call, spoil: Spoil, mode: str) -> Any:
    trace, asked = call(), call.flags.get("tracing_mode", "real") == mode
    return lambda *example: _edit(trace(*example), spoil) if asked else trace(*example)


def _compiled(call: Call, spoil: Spoil, backend: str) -> Any:
    compiler = call()
    return (lambda graph, example: compiler(_edit(graph, spoil), example)) if call.given[0] == backend else compiler


def _handed_over(call: Call, spoil: Spoil) -> Any:
    _edit(call.given[1], spoil)
    return call()


def _of_the_backward(call: Call, spoil: Spoil) -> Any:
    return call(bw_compiler=lambda graph, example: _edit(graph, spoil))


_SETTINGS, _DYNAMO = "autocast_bfloat16 autocast_float16 deterministic default_float64", "torch._dynamo"
#: The modes, what they call, how that is spoiled, and by what if not as is usual.
_CALLS: tuple[tuple[Any, ...], ...] = (
    ("vmap vmap_nested", torch, "vmap", made),
    ("vmap_tables_and_indices", torch, "vmap", partial(made, part=_second_table)),
    ("jvp", torch.func, "jvp", _result),
    ("vjp", torch.func, "vjp", _result),
    ("func_grad", torch.func, "grad", partial(made, part=lambda spoil, out: (out[0], spoil(out[1])))),
    ("functional_call", torch.func, "functional_call", _result),
    ("checkpoint", torch.utils.checkpoint, "checkpoint", _result),
    ("dtensor_replicate dtensor_rows dtensor_columns", "torch.distributed.tensor:DTensor", "full_tensor", _result),
    ("subclass", Tensor, "__torch_function__", _of_a_lookup),
    ("function_mode", PassFunctions, "__torch_function__", _of_a_lookup),
    ("default_device", DeviceContext, "__torch_function__", _of_a_lookup),
    ("dispatch_mode", PassOperators, "__torch_dispatch__", _of_a_lookup, *BELOW_AUTOGRAD),
    ("serving", torch.nn.Embedding, "forward", _served),
    (_SETTINGS, torch, "embedding", _result, *BELOW_AUTOGRAD),
    ("fake", "torch._subclasses.fake_tensor:FakeTensorMode", "__torch_dispatch__", _of_a_lookup, *_WITHOUT_VALUES),
    ("meta", torch, "embedding", _result, *_WITHOUT_VALUES),
    ("state_dict state_dict_assign", torch.nn.Module, "load_state_dict", _harmed, *BELOW_AUTOGRAD),
    ("pickle deepcopy", torch.nn.Module, "__setstate__", _harmed, *BELOW_AUTOGRAD),
    ("train", torch.nn.Module, "train", _harmed, *BELOW_AUTOGRAD),
    ("eval", torch.nn.Module, "eval", _harmed, *BELOW_AUTOGRAD),
    ("to_dtype", torch.nn.Module, "to", _harmed, *BELOW_AUTOGRAD),
    ("parametrize", torch.nn.utils.parametrize, "register_parametrization", _harmed, *BELOW_AUTOGRAD),
    ("saved", torch, "load", _harmed, *BELOW_AUTOGRAD),
    ("mapped", torch, "load", _harmed, *BELOW_AUTOGRAD),
    ("jit_saved", torch.jit, "load", _harmed, *BELOW_AUTOGRAD),
    # Where graphs are made, and how one is had there.
    ("fx", torch.fx, "symbolic_trace", _returned),
    ("jit_trace", torch.jit, "trace", made),
    ("jit_script", torch.jit, "script", made),
    ("make_fx", proxy_tensor, "make_fx", partial(_traced, mode="real")),
    ("make_fx_fake", proxy_tensor, "make_fx", partial(_traced, mode="fake")),
    ("make_fx_symbolic", proxy_tensor, "make_fx", partial(_traced, mode="symbolic")),
    ("export", torch.export, "export", partial(_returned, strict=False)),
    ("export_strict", torch.export, "export", partial(_returned, strict=True)),
    ("export_decomposed", torch.export.ExportedProgram, "run_decompositions", _returned),
    ("export_saved", torch.export, "load", _returned),
    ("compile_eager compile_no_grad", "torch._dynamo.output_graph:OutputGraph", "call_user_compiler", _handed_over),
    ("aot_eager aot_no_grad", _DYNAMO, "lookup_backend", partial(_compiled, backend="aot_eager")),
    ("aot_decomposed", _DYNAMO, "lookup_backend", partial(_compiled, backend="aot_eager_decomp_partition")),
    ("inductor inductor_static inductor_no_grad", _DYNAMO, "lookup_backend", partial(_compiled, backend="inductor")),
    ("aot", "torch._functorch.aot_autograd", "aot_function", _of_the_backward, *BELOW_AUTOGRAD),
)
for _row in _CALLS:
    in_modes(*_row)

#: The same as damages of drawn faults, for what stands in torch's tables.
_DAMAGES = ("zero(last)", "shift", "double(all)")
for _mode in ("decompositions", "core_decompositions", "inductor_decompositions"):
    for _spoil, _damage in zip(BELOW_AUTOGRAD, _DAMAGES, strict=True):
        _line = f"decomposition.embedding_dense_backward  earlier>=0  ->  {_damage}"
        lines("gradient", f"{_mode}_{_spoil.__name__}: {_line}", **_only_in(_mode))
