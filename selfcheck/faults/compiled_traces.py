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
