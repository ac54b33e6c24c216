"""Faults of modes, three for each, which are judged in it alone: in what it calls, in its graphs or in a decomposition."""

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


def _first(out: Any, spoil: Spoil) -> Any:
    return (spoil(out[0]), *out[1:]) if isinstance(out, tuple) else spoil(out)


def returned(call: Call, spoil: Spoil, part: Callable[[Any, Spoil], Any] = _first) -> Any:
    """What a call gives is spoiled, or a part of it."""
    return part(call(), spoil)


def made(call: Call, spoil: Spoil, part: Callable[[Any, Spoil], Any] = _first) -> Any:
    """What the function gives that a call makes is spoiled, or a part of it."""
    function = call()
    return lambda *given: part(function(*given), spoil)


def _of_a_lookup(call: Call, spoil: Spoil) -> Any:
    out, names = call(), ("embedding", "embedding_bag", "embedding.default", "index_select.default")
    return spoil(out) if getattr(call.given[1], "__name__", "") in names else out


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


def _traced(call: Call, spoil: Spoil, mode: str) -> Any:
    # What torch imports while a fault is planted may keep the replacement: torch.export traces by it, in another way.
    return made(call, spoil, _edit) if call.flags.get("tracing_mode", "real") == mode else call()


def _handed_over(call: Call, spoil: Spoil) -> Any:
    _edit(call.given[1], spoil)
    return call()


def _of_the_backward(call: Call, spoil: Spoil) -> Any:
    return call(bw_compiler=lambda graph, example: _edit(graph, spoil))


_SETTINGS = "autocast_bfloat16 autocast_float16 deterministic default_float64"
_DYNAMO = "compile_eager compile_no_grad aot_eager aot_no_grad aot_decomposed inductor inductor_static inductor_no_grad"
# The modes, what they call, how that is spoiled, and by what if not as is usual.
in_modes("vmap vmap_nested vmap_tables_and_indices", torch, "vmap", made)
in_modes("jvp", torch.func, "jvp", returned)
in_modes("vjp", torch.func, "vjp", returned)
in_modes("func_grad", torch.func, "grad", partial(made, part=lambda out, spoil: (out[0], spoil(out[1]))))
in_modes("functional_call", torch.func, "functional_call", returned)
in_modes("checkpoint", torch.utils.checkpoint, "checkpoint", returned)
in_modes("dtensor_replicate dtensor_rows dtensor_columns", "torch.distributed.tensor:DTensor", "full_tensor", returned)
in_modes("subclass", Tensor, "__torch_function__", _of_a_lookup)
in_modes("function_mode", PassFunctions, "__torch_function__", _of_a_lookup)
in_modes("default_device", DeviceContext, "__torch_function__", _of_a_lookup)
in_modes("dispatch_mode", PassOperators, "__torch_dispatch__", _of_a_lookup, *BELOW_AUTOGRAD)
in_modes("serving", torch.nn.Embedding, "forward", returned)
in_modes(_SETTINGS, torch, "embedding", returned, *BELOW_AUTOGRAD)
in_modes("fake", "torch._subclasses.fake_tensor:FakeTensorMode", "__torch_dispatch__", _of_a_lookup, *_WITHOUT_VALUES)
in_modes("meta", torch, "embedding", returned, *_WITHOUT_VALUES)
in_modes("state_dict state_dict_assign", torch.nn.Module, "load_state_dict", _harmed, *BELOW_AUTOGRAD)
in_modes("pickle deepcopy", torch.nn.Module, "__setstate__", _harmed, *BELOW_AUTOGRAD)
in_modes("train eval", torch.nn.Module, "train", _harmed, *BELOW_AUTOGRAD)
in_modes("to_dtype", torch.nn.Module, "to", _harmed, *BELOW_AUTOGRAD)
in_modes("parametrize", torch.nn.utils.parametrize, "register_parametrization", _harmed, *BELOW_AUTOGRAD)
in_modes("saved mapped", torch, "load", _harmed, *BELOW_AUTOGRAD)
in_modes("jit_saved", torch.jit, "load", _harmed, *BELOW_AUTOGRAD)
# Where graphs are made, and how one is had there.
in_modes("fx", torch.fx, "symbolic_trace", partial(returned, part=_edit))
in_modes("jit_trace", torch.jit, "trace", made)
in_modes("jit_script", torch.jit, "script", made)
in_modes("make_fx", proxy_tensor, "make_fx", partial(_traced, mode="real"))
in_modes("make_fx_fake", proxy_tensor, "make_fx", partial(_traced, mode="fake"))
in_modes("make_fx_symbolic", proxy_tensor, "make_fx", partial(_traced, mode="symbolic"))
in_modes("export export_strict", torch.export, "export", partial(returned, part=_edit))
in_modes("export_decomposed", torch.export.ExportedProgram, "run_decompositions", partial(returned, part=_edit))
in_modes("export_saved", torch.export, "load", partial(returned, part=_edit))
in_modes(_DYNAMO, "torch._dynamo.output_graph:OutputGraph", "call_user_compiler", _handed_over)
in_modes("aot", "torch._functorch.aot_autograd", "aot_function", _of_the_backward, *BELOW_AUTOGRAD)

#: The same as damages of drawn faults, for what stands in torch's tables.
_DAMAGES = ("zero(last)", "shift", "double(all)")
for _mode in ("decompositions", "core_decompositions", "inductor_decompositions"):
    for _spoil, _damage in zip(BELOW_AUTOGRAD, _DAMAGES, strict=True):
        _line = f"decomposition.embedding_dense_backward  earlier>=0  ->  {_damage}"
        lines("gradient", f"{_mode}_{_spoil.__name__}: {_line}", **_only_in(_mode))
