"""Faults of transforms, and of what happens around a call: each lives in one mode."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
import torch.utils.checkpoint

from embcheck.modes.wrappers import Wrap, Wrapper
from selfcheck.fault import Plant, patched
from selfcheck.faults.kernels import Call, Tensor, forward_spoiled
from selfcheck.faults.mode_entry import SPOILS, Spoil, in_mode, replacing, result_spoiled

Function = Callable[..., Any]


def factory_spoiled(spoil: Spoil) -> Callable[[Function], Function]:
    """A transform whose function's result is spoiled."""

    def wrong(original: Function) -> Function:
        def replaced(*given: Any, **flags: Any) -> Function:
            made = original(*given, **flags)

            def called(*tensors: Any) -> Any:
                return spoil(made(*tensors))

            return called

        return replaced

    return wrong


def last_result_spoiled(spoil: Spoil) -> Callable[[Function], Function]:
    """torch.func.grad whose auxiliary output is spoiled."""

    def wrong(original: Function) -> Function:
        def replaced(*given: Any, **flags: Any) -> Function:
            made = original(*given, **flags)

            def called(*tensors: Any) -> Any:
                gradient, value = made(*tensors)
                return gradient, spoil(value)

            return called

        return replaced

    return wrong


def second_spoiled(spoil: Spoil) -> Callable[[Function], Function]:
    """torch.vmap over tables, whose second table's result is spoiled."""

    def wrong(original: Function) -> Function:
        def replaced(*given: Any, **flags: Any) -> Function:
            made = original(*given, **flags)

            def called(*tensors: Any) -> Any:
                out = made(*tensors)
                return torch.stack([spoil(part) if at == 1 else part for at, part in enumerate(out.unbind())])

            return called

        return replaced

    return wrong


_TRANSFORMS: tuple[tuple[str, Any, str, Callable[[Spoil], Callable[[Function], Function]], bool], ...] = (
    ("vmap", torch, "vmap", factory_spoiled, True),
    ("vmap_chunks", torch, "vmap", factory_spoiled, True),
    ("vmap_last", torch, "vmap", factory_spoiled, True),
    ("vmap_nested", torch, "vmap", factory_spoiled, True),
    ("vmap_tables", torch, "vmap", second_spoiled, True),
    ("vmap_tables_and_indices", torch, "vmap", second_spoiled, False),
    ("jvp", torch.func, "jvp", result_spoiled, True),
    ("vjp", torch.func, "vjp", result_spoiled, True),
    ("func_grad", torch.func, "grad", last_result_spoiled, True),
    ("functionalize", torch.func, "functionalize", factory_spoiled, True),
    ("functional_call", torch.func, "functional_call", result_spoiled, True),
    ("stateless", torch.nn.utils.stateless, "_functional_call", result_spoiled, True),
    ("checkpoint", torch.utils.checkpoint, "checkpoint", result_spoiled, True),
    ("checkpoint_reentrant", torch.utils.checkpoint, "checkpoint", result_spoiled, True),
    ("data_parallel", torch.nn.DataParallel, "forward", result_spoiled, True),
    ("ddp", torch.nn.parallel.DistributedDataParallel, "forward", result_spoiled, True),
)

for _name, _owner, _attribute, _wrong, _padded in _TRANSFORMS:
    for _what, _spoil in SPOILS.items():
        _words = (_spoil.__doc__ or "").rstrip(".")
        in_mode(_name, _what, f"{_words}: {_attribute} as {_name} calls it.",
                replacing(_owner, _attribute, _wrong(_spoil)))  # fmt: skip


# -- a function that calls the module as it is ---------------------------------------------------------------------


def own_weight(original: Function) -> Function:
    """The module's own parameter is used."""
    return lambda layer, tables, given, *more, **flags: layer(*given)


for _name, _owner, _attribute in (
    ("functional_call", torch.func, "functional_call"),
    ("stateless", torch.nn.utils.stateless, "_functional_call"),
):
    in_mode(_name, "uses_its_own_weight", "The module's own weight is used instead of the one that is given.",
            replacing(_owner, _attribute, own_weight), family="lookup")  # fmt: skip


# -- around the call ---------------------------------------------------------------------------------------------------


#: Whether a mode is on, as a kernel sees it.
_ON: dict[str, Callable[[], bool]] = {
    "autocast_bfloat16": lambda: torch.is_autocast_cpu_enabled(),
    "autocast_float16": lambda: torch.is_autocast_cpu_enabled(),
    "deterministic": lambda: torch.are_deterministic_algorithms_enabled(),
    "default_float64": lambda: torch.get_default_dtype() == torch.float64,
    "default_bfloat16": lambda: torch.get_default_dtype() == torch.bfloat16,
    "medium_precision": lambda: torch.get_float32_matmul_precision() == "medium",
    "profiled": lambda: torch._C._autograd._profiler_enabled(),
    "default_device": lambda: bool(_inside),
    "function_mode": lambda: bool(_inside),
    "dispatch_mode": lambda: bool(_inside),
    "save_on_cpu": lambda: bool(_inside),
}
#: Contexts that are entered: within a kernel torch does not tell.
_inside: list[int] = []
_Device: Any = torch.utils._device.DeviceContext
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


def _kernel(on: Callable[[], bool], spoil: Callable[[Call, Tensor], Tensor]) -> Plant:
    @contextmanager
    def plant() -> Iterator[None]:
        with _noticed(), forward_spoiled(lambda call: on() and call.numel > 0, spoil):
            yield

    return plant


#: What a kernel that sees the mode does.
_KERNELS: dict[str, Callable[[Call, Tensor], Tensor]] = {
    "zeroes_the_last_token": lambda call, out: torch.cat(
        (out.reshape(call.numel, -1)[:-1], torch.zeros(1, out.shape[-1], dtype=out.dtype, device=out.device))
    ).reshape(out.shape),
    "rolls_the_tokens": lambda call, out: out.reshape(call.numel, -1).roll(1, 0).reshape(out.shape),
    "halves_the_values": lambda call, out: out / 2,
}

for _name, _on in _ON.items():
    for _what, _change in _KERNELS.items():
        in_mode(_name, _what, f"While {_name} is on, the forward kernel {_what.replace('_', ' ')}.",
                _kernel(_on, _change), family="lookup")  # fmt: skip


# -- autocast casts, subclasses ------------------------------------------------------------------------------------------


def _result_of_lookups(spoil: Spoil) -> Callable[[Function], Function]:
    def wrong(original: Function) -> Function:
        def replaced(cls: Any, function: Any, types: Any, given: Any = (), flags: Any = None) -> Any:
            out = original(cls, function, types, given, flags)
            return spoil(out) if getattr(function, "__name__", "") in ("embedding", "embedding_bag") else out

        return replaced

    return wrong


for _what, _spoil in SPOILS.items():
    _words = (_spoil.__doc__ or "").rstrip(".")
    in_mode("subclass", _what, f"{_words}: Tensor.__torch_function__ of a lookup.",
            replacing(torch.Tensor, "__torch_function__", _result_of_lookups(_spoil)))  # fmt: skip


def _result_of_operators(spoil: Spoil) -> Callable[[Function], Function]:
    def wrong(original: Function) -> Function:
        def replaced(cls: Any, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            out = original(cls, function, types, args, kwargs)
            if function in (torch.ops.aten.embedding.default, torch.ops.aten.index_select.default):
                return Wrapper(spoil(out.held))
            return out

        return replaced

    return wrong


for _what in ("drops_the_last_token", "rolls_the_tokens"):
    in_mode("dispatch_subclass", _what, f"A wrapper's __torch_dispatch__ of a lookup {_what.replace('_', ' ')}.",
            replacing(Wrapper, "__torch_dispatch__", _result_of_operators(SPOILS[_what])))  # fmt: skip


def _sent_twice(original: Function) -> Function:
    return lambda context, upstream: original(context, upstream) * 2


in_mode("dispatch_subclass", "doubles_the_gradient", "What wraps the table sends its gradient back twice.",
        replacing(Wrap, "backward", _sent_twice))  # fmt: skip
