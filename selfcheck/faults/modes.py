"""Faults that live in one mode each, in what the mode calls or while it is on: three for each mode that does not compile."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
import torch.utils.checkpoint
from torch.utils._device import DeviceContext

from embcheck.modes.mode import MODES
from embcheck.modes.wrappers import Wrap, Wrapper
from embcheck.subject.collect import load_modes
from selfcheck.damages import Call as KernelCall
from selfcheck.fault import Fault, Plant, add, patched
from selfcheck.forms import Call, replaced, spoiled
from selfcheck.sites import Tensor

load_modes()

Function = Callable[..., Any]


def in_mode(mode: str, what: str, sentence: str, plant: Plant, family: str = "gradient") -> None:
    """Registers a fault that lives in one mode."""
    add(Fault(f"{mode}_{what}", family, sentence, plant, applies=lambda: MODES[mode].lacking() is None, modes=(mode,)))


def says(change: Function) -> str:
    """What a change does, in words."""
    return (change.__doc__ or "").rstrip(".")


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
    return _Twice.apply(out) if out.requires_grad else out  # type: ignore[no-untyped-call]


class _Twice(torch.autograd.Function):
    """The identity, whose derivative is twice the identity."""

    generate_vmap_rule = True

    @staticmethod
    def forward(given: Tensor) -> Tensor:
        return given.clone()

    @staticmethod
    def setup_context(context: Any, inputs: Any, output: Any) -> None:
        """Nothing is kept."""

    @staticmethod
    def backward(context: Any, upstream: Any) -> Any:
        return upstream * 2

    @staticmethod
    def jvp(context: Any, tangent: Any) -> Any:
        return tangent * 2


Spoil = Callable[[Tensor], Tensor]
SPOILS: tuple[Spoil, ...] = (drops_the_last_token, rolls_the_tokens, doubles_the_gradient)


# -- where a mode calls torch -------------------------------------------------------------------------------------------


def _result(call: Call, spoil: Spoil) -> Any:
    out = call()
    return (spoil(out[0]), *out[1:]) if isinstance(out, tuple) else spoil(out)


def _made(call: Call, spoil: Spoil) -> Function:
    made = call()
    return lambda *tensors: spoil(made(*tensors))


def _second_table(call: Call, spoil: Spoil) -> Function:
    made = call()
    return lambda *tensors: torch.stack([spoil(out) if at == 1 else out for at, out in enumerate(made(*tensors))])


def _beside_the_gradient(call: Call, spoil: Spoil) -> Function:
    made = call()

    def called(*tensors: Any) -> Any:
        gradient, value = made(*tensors)
        return gradient, spoil(value)

    return called


def _of_a_lookup(call: Call, spoil: Spoil) -> Any:
    out = call()
    return spoil(out) if getattr(call.given[1], "__name__", "") in ("embedding", "embedding_bag") else out


#: The modes, what they call, and what is spoiled of it.
_CALLS: tuple[tuple[str, Any, str, Callable[[Call, Spoil], Any]], ...] = (
    ("vmap vmap_chunks vmap_last vmap_nested", torch, "vmap", _made),
    ("vmap_tables vmap_tables_and_indices", torch, "vmap", _second_table),
    ("jvp", torch.func, "jvp", _result),
    ("vjp", torch.func, "vjp", _result),
    ("func_grad", torch.func, "grad", _beside_the_gradient),
    ("functionalize", torch.func, "functionalize", _made),
    ("functional_call", torch.func, "functional_call", _result),
    ("stateless", torch.nn.utils.stateless, "_functional_call", _result),
    ("checkpoint checkpoint_reentrant", torch.utils.checkpoint, "checkpoint", _result),
    ("data_parallel", torch.nn.DataParallel, "forward", _result),
    ("ddp", torch.nn.parallel.DistributedDataParallel, "forward", _result),
    ("subclass", torch.Tensor, "__torch_function__", _of_a_lookup),
)
for _modes, _owner, _attribute, _how in _CALLS:
    for _mode, _spoil in itertools.product(_modes.split(), SPOILS):
        in_mode(
            _mode,
            _spoil.__name__,
            f"{says(_spoil)}: {_attribute} as {_mode} calls it.",
            partial(replaced, _owner, _attribute, partial(_how, spoil=_spoil)),
        )


def _own_weight(call: Call) -> Any:
    """The module's own weight is used instead of the one that is given"""
    return call.given[0](*call.given[2])


for _mode, _owner, _attribute, _ in _CALLS:
    if _mode in ("functional_call", "stateless"):
        plant = partial(replaced, _owner, _attribute, _own_weight)
        in_mode(_mode, "uses_its_own_weight", f"{says(_own_weight)}.", plant, "lookup")


def _taken_together(spoil: Spoil) -> Plant:
    @contextmanager
    def plant() -> Iterator[None]:
        from torch.distributed.tensor import DTensor

        with replaced(DTensor, "full_tensor", partial(_result, spoil=spoil)):
            yield

    return plant


for _mode, _spoil in itertools.product(("dtensor_replicate", "dtensor_rows", "dtensor_columns"), SPOILS):
    in_mode(_mode, _spoil.__name__, f"{says(_spoil)}: DTensor.full_tensor.", _taken_together(_spoil))


# -- an embedding that is evaluated without a graph, and a subclass that wraps a table ----------------------------------


def keeps_the_first_table(layer: Any, tokens: Tensor) -> Tensor:
    """Rows of the table are as they were when the layer was first asked."""
    table: Tensor = layer.__dict__.setdefault("kept_table", layer.weight.detach().clone())
    return table[tokens.long()]


def _served(call: Call, spoil: Spoil | None = None) -> Any:
    found = call()
    if call.self.training or torch.is_grad_enabled():
        return found
    return keeps_the_first_table(call.self, call.input) if spoil is None else spoil(found)


for _spoil_served in (None, drops_the_last_token, rolls_the_tokens):
    _what = _spoil_served or keeps_the_first_table
    plant = partial(replaced, torch.nn.Embedding, "forward", partial(_served, spoil=_spoil_served))
    in_mode(
        "serving", _what.__name__, f"{says(_what)}: an embedding that is evaluated without a graph.", plant, "lookup"
    )


def _of_an_operator(call: Call, spoil: Spoil) -> Any:
    out = call()
    looked_up = call.given[1] in (torch.ops.aten.embedding.default, torch.ops.aten.index_select.default)
    return Wrapper(spoil(out.held)) if looked_up else out


for _spoil in (drops_the_last_token, rolls_the_tokens):
    plant = partial(replaced, Wrapper, "__torch_dispatch__", partial(_of_an_operator, spoil=_spoil))
    in_mode("dispatch_subclass", _spoil.__name__, f"{says(_spoil)}: a wrapper's __torch_dispatch__ of a lookup.", plant)
in_mode(
    "dispatch_subclass",
    "doubles_the_gradient",
    "What wraps the table sends its gradient back twice.",
    partial(replaced, Wrap, "backward", lambda call: call() * 2),
)


# -- while a mode is on -------------------------------------------------------------------------------------------------

#: Contexts that are entered: within a kernel torch does not tell.
_inside: list[int] = []
#: Whether a mode is on, as a kernel sees it.
_ON: dict[str, Callable[[], bool]] = {
    "autocast_bfloat16": lambda: torch.is_autocast_cpu_enabled(),
    "autocast_float16": lambda: torch.is_autocast_cpu_enabled(),
    "deterministic": lambda: torch.are_deterministic_algorithms_enabled(),
    "default_float64": lambda: torch.get_default_dtype() == torch.float64,
    "default_bfloat16": lambda: torch.get_default_dtype() == torch.bfloat16,
    "medium_precision": lambda: torch.get_float32_matmul_precision() == "medium",
    "profiled": lambda: torch._C._autograd._profiler_enabled(),
    **dict.fromkeys(("default_device", "function_mode", "dispatch_mode", "save_on_cpu"), lambda: bool(_inside)),
}
_Device: Any = DeviceContext
_CONTEXTS: tuple[Any, ...] = (
    torch.autograd.graph.saved_tensors_hooks,
    torch.overrides.TorchFunctionMode,
    torch.utils._python_dispatch.TorchDispatchMode,
)


@contextmanager
def _noticed() -> Iterator[None]:
    """While every context notes that it is entered."""
    with ExitStack() as stack:
        for owner in _CONTEXTS:
            if "__enter__" in vars(owner):
                stack.enter_context(patched(owner, **_noting(owner.__enter__, owner.__exit__)))
        stack.enter_context(patched(_Device, __torch_function__=_within(_Device.__torch_function__)))
        yield


def _within(function: Function) -> Function:
    def called(self: Any, *given: Any, **flags: Any) -> Any:
        _inside.append(1)
        try:
            return function(self, *given, **flags)
        finally:
            _inside.pop()

    return called


def _noting(entered: Function, left: Function) -> dict[str, Function]:
    def enter(self: Any) -> Any:
        _inside.append(1)
        return entered(self)

    def leave(self: Any, *reason: object) -> Any:
        _inside.pop()
        return left(self, *reason)

    return {"__enter__": enter, "__exit__": leave}


def _while_on(on: Callable[[], bool], change: Spoil) -> Plant:
    def spoil(call: KernelCall, out: Tensor) -> Tensor:
        return change(out.reshape(-1, out.shape[-1])).reshape(out.shape) if on() else out

    @contextmanager
    def plant() -> Iterator[None]:
        with _noticed(), spoiled("embedding", spoil, "numel>=1"):
            yield

    return plant


_KERNELS: dict[str, Spoil] = {
    "zeroes_the_last_token": lambda rows: torch.cat((rows[:-1], torch.zeros_like(rows[-1:]))),
    "rolls_the_tokens": lambda rows: rows.roll(1, 0),
    "halves_the_values": lambda rows: rows / 2,
}
for (_mode, _on), (_name, _spoil) in itertools.product(_ON.items(), _KERNELS.items()):
    _sentence = f"While {_mode} is on, the forward kernel {_name.replace('_', ' ')}."
    in_mode(_mode, _name, _sentence, _while_on(_on, _spoil), "lookup")
