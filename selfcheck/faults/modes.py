"""Faults that live in one mode each, in what the mode calls or while it is on: three for each mode that does not compile."""

import itertools
from collections.abc import Callable, Sequence
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

#: Changes a result; and what is done in place of a call whose result is to be changed so.
Spoil = Callable[[Any], Any]
How = Callable[..., Any]


def in_mode(mode: str, what: str, sentence: str, plant: Plant, family: str = "gradient") -> None:
    """Registers a fault that lives in one mode."""
    add(Fault(f"{mode}_{what}", family, sentence, plant, applies=lambda: MODES[mode].lacking() is None, modes=(mode,)))


def in_modes(modes: str, owner: Any, attribute: str, how: How, spoils: Sequence[Spoil]) -> None:
    """Registers for each of some modes, and for each spoil, a fault of what the mode calls."""
    for mode, spoil in itertools.product(modes.split(), spoils):
        words = f"{(spoil.__doc__ or '').rstrip('.')}: {attribute}, as {mode} calls it."
        plant = partial(replaced, owner, attribute, partial(how, spoil=spoil))
        family = "gradient" if MODES[mode].grad else "lookup"
        in_mode(mode, spoil.__name__, words, plant, getattr(spoil, "family", family))


# -- what is done to a result -------------------------------------------------------------------------------------------


def drops_the_last_token(out: Tensor) -> Tensor:
    """The last token's row is zero."""
    if not out.numel() or out.dim() < 2:
        return out
    kept = torch.ones(out.shape[:-1], dtype=torch.bool).reshape(-1)
    kept[-1] = False
    return torch.where(kept.reshape(*out.shape[:-1], 1), out, torch.zeros((), dtype=out.dtype))


def rolls_the_tokens(out: Tensor) -> Tensor:
    """Each token gets its predecessor's row."""
    return out.roll(1, 0) if out.dim() > 1 else out


def doubles_the_gradient(out: Tensor) -> Tensor:
    """The value is right, its gradient comes twice."""
    return out - (out.detach() - out).nan_to_num() if out.requires_grad else out


def halves_the_values(out: Tensor) -> Tensor:
    """The values are halved."""
    return out / 2


SPOILS: tuple[Spoil, ...] = (drops_the_last_token, rolls_the_tokens, doubles_the_gradient)
BELOW_AUTOGRAD: tuple[Spoil, ...] = (drops_the_last_token, rolls_the_tokens, halves_the_values)


# -- where a mode calls torch -------------------------------------------------------------------------------------------


def _result(call: Call, spoil: Spoil) -> Any:
    out = call()
    return (spoil(out[0]), *out[1:]) if isinstance(out, tuple) else spoil(out)


def _made(call: Call, spoil: Spoil, part: Callable[[Spoil, Any], Any] = lambda spoil, out: spoil(out)) -> Any:
    made = call()
    return lambda *tensors: part(spoil, made(*tensors))


def _second_table(spoil: Spoil, tables: Tensor) -> Tensor:
    return torch.stack([spoil(out) if at == 1 else out for at, out in enumerate(tables)])


def _of_a_lookup(call: Call, spoil: Spoil, names: Sequence[str] = ("embedding", "embedding_bag")) -> Any:
    out = call()
    return spoil(out) if getattr(call.given[1], "__name__", "") in names else out


#: The modes, what they call, how that is spoiled, and by what.
_CALLS: tuple[tuple[str, Any, str, How, tuple[Spoil, ...]], ...] = (
    ("vmap vmap_nested", torch, "vmap", _made, SPOILS),
    ("vmap_tables_and_indices", torch, "vmap", partial(_made, part=_second_table), SPOILS),
    ("jvp", torch.func, "jvp", _result, SPOILS),
    ("vjp", torch.func, "vjp", _result, SPOILS),
    ("func_grad", torch.func, "grad", partial(_made, part=lambda spoil, out: (out[0], spoil(out[1]))), SPOILS),
    ("functional_call", torch.func, "functional_call", _result, SPOILS),
    ("checkpoint", torch.utils.checkpoint, "checkpoint", _result, SPOILS),
    ("dtensor_replicate dtensor_rows dtensor_columns", "torch.distributed.tensor:DTensor", "full_tensor", _result, SPOILS),
    ("subclass", Tensor, "__torch_function__", _of_a_lookup, SPOILS),
    ("function_mode", PassFunctions, "__torch_function__", _of_a_lookup, SPOILS),
    ("default_device", DeviceContext, "__torch_function__", _of_a_lookup, SPOILS),
    ("dispatch_mode", PassOperators, "__torch_dispatch__",
     partial(_of_a_lookup, names=("embedding.default", "index_select.default")), BELOW_AUTOGRAD),
)  # fmt: skip
for _row in _CALLS:
    in_modes(*_row)


def _served(call: Call, spoil: Spoil) -> Any:
    found = call()
    return found if call.self.training or torch.is_grad_enabled() else spoil(found)


def keeps_the_first_table(call: Call) -> Any:
    """Rows of the table are as they were when the layer was first asked."""
    if call.self.training or torch.is_grad_enabled():
        return call()
    table: Tensor = call.self.__dict__.setdefault("kept_table", call.self.weight.detach().clone())
    return table[call.input.long()]


in_modes("serving", torch.nn.Embedding, "forward", _served, (drops_the_last_token, rolls_the_tokens))
plant = partial(replaced, torch.nn.Embedding, "forward", keeps_the_first_table)
in_mode("serving", "keeps_the_first_table", "A layer in evaluation gives rows as they were at first.", plant, "lookup")


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
