"""Faults that live in one mode each, in what the mode calls or while it is on: three for each mode that records no graph."""

import itertools
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.utils.checkpoint
from torch.utils._device import DeviceContext

from embcheck.modes.mode import MODES
from embcheck.modes.wrappers import PassFunctions, PassOperators
from embcheck.subject.collect import load_modes
from selfcheck.fault import Fault, Plant, add
from selfcheck.forms import Call, replaced, spoiled
from selfcheck.site import Call as KernelCall
from selfcheck.site import Tensor

load_modes()

#: Changes a result, or a layer; and what is done in place of a call whose result is to be changed so.
Spoil = Callable[[Any], Any]
How = Callable[..., Any]


def in_mode(mode: str, what: str, sentence: str, plant: Plant, family: str = "gradient") -> None:
    """Registers a fault that lives in one mode."""
    add(Fault(f"{mode}_{what}", family, sentence, plant, applies=lambda: MODES[mode].lacking() is None, modes=(mode,)))


def in_modes(modes: str, owner: Any, attribute: str, how: How, *spoils: Spoil) -> None:
    """Registers for each of some modes, and for each spoil, a fault of what the mode calls."""
    for mode in modes.split():
        graphs = MODES[mode].grad and MODES[mode].values
        for spoil in spoils or (SPOILS if graphs else BELOW_AUTOGRAD):
            words = f"{(spoil.__doc__ or '').rstrip('.')}: {attribute}, as {mode} calls it."
            plant = partial(replaced, owner, attribute, partial(how, spoil=spoil))
            in_mode(mode, spoil.__name__, words, plant, "gradient" if graphs else "lookup")


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


def halves_the_values(out: Tensor) -> Tensor:
    """The values are halved."""
    return out / 2


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
BELOW_AUTOGRAD: tuple[Spoil, ...] = (zeroes_the_last_row, rolls_the_rows, halves_the_values)
_WITHOUT_VALUES: tuple[Spoil, ...] = (gives_another_dtype, gives_another_shape, gives_other_strides)


def loses_padding_idx(layer: Any) -> None:
    """padding_idx is gone."""
    for part in layer.modules():
        if getattr(part, "padding_idx", None) is not None:
            vars(part)["padding_idx"] = None
        vars(part).get("flags", {}).pop("padding_idx", None)


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
    if spoil is loses_padding_idx:
        spoil(layer)
        return out
    with torch.no_grad():
        for table in layer.parameters():
            table.copy_(spoil(table))
    return out


_LAYERS = (loses_padding_idx, zeroes_the_last_row, rolls_the_rows)
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
    ("fake", "torch._subclasses.fake_tensor:FakeTensorMode", "__torch_dispatch__", _of_a_lookup, *_WITHOUT_VALUES),
    ("meta", torch, "embedding", _result, *_WITHOUT_VALUES),
    ("state_dict state_dict_assign", torch.nn.Module, "load_state_dict", _harmed, *_LAYERS),
    ("pickle deepcopy", torch.nn.Module, "__setstate__", _harmed, *_LAYERS),
    ("train", torch.nn.Module, "train", _harmed, *_LAYERS),
    ("eval", torch.nn.Module, "eval", _harmed, *_LAYERS),
    ("to_dtype", torch.nn.Module, "to", _harmed, *_LAYERS),
    ("parametrize", torch.nn.utils.parametrize, "register_parametrization", _harmed, *_LAYERS),
    ("saved", torch, "load", _harmed, *_LAYERS),
    ("mapped", torch, "load", _harmed, *BELOW_AUTOGRAD),
    ("jit_saved", torch.jit, "load", _harmed, *BELOW_AUTOGRAD),
)
for _row in _CALLS:
    in_modes(*_row)


# -- while a mode is on -------------------------------------------------------------------------------------------------

#: Whether a mode is on, as a kernel sees it.
_ON: dict[str, Callable[[], bool]] = {
    "autocast_bfloat16": lambda: torch.is_autocast_cpu_enabled(),
    "autocast_float16": lambda: torch.is_autocast_cpu_enabled(),
    "deterministic": lambda: torch.are_deterministic_algorithms_enabled(),
    "default_float64": lambda: torch.get_default_dtype() == torch.float64,
}


def _while_on(call: KernelCall, out: Tensor, on: Callable[[], bool], spoil: Spoil) -> Tensor:
    return spoil(out.reshape(-1, out.shape[-1])).reshape(out.shape) if on() else out


for (_mode, _on), _spoil in itertools.product(_ON.items(), BELOW_AUTOGRAD):
    _plant = partial(spoiled, "embedding", partial(_while_on, on=_on, spoil=_spoil), "numel>=1")
    _sentence = f"While {_mode} is on, the forward kernel {_spoil.__name__.replace('_', ' ')}."
    in_mode(_mode, _spoil.__name__, _sentence, _plant, "lookup")
