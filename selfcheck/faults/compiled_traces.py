"""Faults of TorchScript and AOTAutograd: what they record is not what runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch._functorch.aot_autograd as aot_autograd

from selfcheck.fault import fault, patched


def tracing(change: Callable[[Any, Any], Any]) -> Iterator[None]:
    """torch.jit.trace records another function."""
    trace: Callable[..., Any] = torch.jit.trace

    def spoiled(function: Any, example: Any, *given: Any, **keywords: Any) -> Any:
        return trace(change(function, example), example, *given, **keywords)

    with patched(torch.jit, trace=spoiled):
        yield


@fault("lookup", modes=("jit_trace",))
def jit_trace_keeps_tokens() -> Iterator[None]:
    """torch.jit.trace takes the example's tokens for constants in closures of two arguments."""

    def change(function: Any, example: Any) -> Any:
        if isinstance(function, torch.nn.Module):
            return function
        kept = [tensor.clone() for tensor in example[1:]]
        return lambda table, *tokens: function(table, *kept)

    yield from tracing(change)


@fault("lookup", modes=("jit_trace",))
def jit_trace_wraps_tokens() -> Iterator[None]:
    """In modules that torch.jit.trace records indices count from the end."""

    def change(function: Any, example: Any) -> Any:
        if not isinstance(function, torch.nn.Module):
            return function
        rows = next(function.parameters()).shape[0]
        holder = torch.nn.Sequential(function)
        holder.forward = lambda tokens: function(tokens % rows)  # type: ignore[method-assign]
        return holder

    yield from tracing(change)


@fault("gradient", modes=("jit_trace",))
def jit_trace_doubles_gradients() -> Iterator[None]:
    """The gradient of a module that torch.jit.trace records comes twice."""

    def change(function: Any, example: Any) -> Any:
        if not isinstance(function, torch.nn.Module):
            return function
        holder = torch.nn.Sequential(function)

        def forward(tokens: torch.Tensor) -> torch.Tensor:
            value: torch.Tensor = function(tokens)
            return torch.where(torch.ones_like(value) > 0, value, value) + (value - value.detach()).nan_to_num()

        holder.forward = forward  # type: ignore[method-assign]
        return holder

    yield from tracing(change)


def scripting(**flags: Any) -> Iterator[None]:
    """torch.jit.script compiles layers with other flags."""
    script = torch.jit.script

    def spoiled(layer: Any, *given: Any, **keywords: Any) -> Any:
        parts = layer.modules() if isinstance(layer, torch.nn.Module) else ()  # it compiles functions on the way
        tables = [part for part in parts if isinstance(part, torch.nn.Embedding)]
        before = [{name: getattr(part, name) for name in flags} for part in tables]
        for part in tables:
            for name, value in flags.items():
                setattr(part, name, value)
        try:
            return script(layer, *given, **keywords)
        finally:
            for part, kept in zip(tables, before, strict=True):
                for name, value in kept.items():
                    setattr(part, name, value)

    with patched(torch.jit, script=spoiled):
        yield


@fault("padding", modes=("jit_script",))
def jit_script_loses_padding() -> Iterator[None]:
    """Scripted layers have no padding_idx."""
    yield from scripting(padding_idx=None)


@fault("gradient", modes=("jit_script",))
def jit_script_loses_frequency() -> Iterator[None]:
    """Scripted layers don't scale their gradients."""
    yield from scripting(scale_grad_by_freq=False)


@fault("gradient", modes=("jit_script",))
def jit_script_is_dense() -> Iterator[None]:
    """Scripted layers have dense gradients."""
    yield from scripting(sparse=False)


def loading(change: Callable[[Any], None]) -> Iterator[None]:
    """torch.jit.load whose parameters are changed."""
    load: Callable[..., Any] = torch.jit.load

    def spoiled(*given: Any, **keywords: Any) -> Any:
        loaded = load(*given, **keywords)
        with torch.no_grad():
            for parameter in loaded.parameters():
                change(parameter)
        return loaded

    with patched(torch.jit, load=spoiled):
        yield


@fault("lookup", modes=("jit_saved",))
def jit_load_rounds() -> Iterator[None]:
    """Parameters that are loaded with a script have the precision of bfloat16."""
    yield from loading(lambda parameter: parameter.copy_(parameter.bfloat16()))


@fault("lookup", modes=("jit_saved",))
def jit_load_misses_the_last_row() -> Iterator[None]:
    """The last row of a table that is loaded with a script is zero."""
    yield from loading(lambda parameter: parameter[-1:].zero_())


@fault("lookup", modes=("jit_saved",))
def jit_load_unfreezes() -> Iterator[None]:
    """Parameters that are loaded with a script learn."""
    yield from loading(lambda parameter: parameter.requires_grad_())


def backward_recorded(change: Any) -> Iterator[None]:
    """AOTAutograd's backward graphs, their embedding_dense_backward with other arguments."""
    aot_function: Callable[..., Any] = aot_autograd.aot_function
    dense = torch.ops.aten.embedding_dense_backward.default

    def backward(graph: Any, example: Any) -> Any:
        for node in graph.graph.nodes:
            if node.target is dense:
                node.args = change(node.args)
        graph.recompile()
        return graph

    def spoiled(function: Any, fw_compiler: Any, bw_compiler: Any = None, **keywords: Any) -> Any:
        return aot_function(function, fw_compiler=fw_compiler, bw_compiler=backward, **keywords)

    with patched(aot_autograd, aot_function=spoiled):
        yield


@fault("padding", modes=("aot",))
def aot_loses_padding() -> Iterator[None]:
    """The backward that AOTAutograd records has no padding row."""
    yield from backward_recorded(lambda args: (*args[:3], -1, *args[4:]))


@fault("gradient", modes=("aot",))
def aot_loses_frequency() -> Iterator[None]:
    """The backward that AOTAutograd records is not scaled by frequency."""
    yield from backward_recorded(lambda args: (*args[:4], False))


@fault("gradient", modes=("aot",))
def aot_pads_the_first_row() -> Iterator[None]:
    """The backward that AOTAutograd records takes the first row for padding where there is none."""
    yield from backward_recorded(lambda args: (*args[:3], 0 if args[3] == -1 else args[3], *args[4:]))
