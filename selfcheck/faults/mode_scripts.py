"""Faults that live in one mode each, of modes that script, and of what AOTAutograd records."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch._functorch.aot_autograd as aot_autograd

from selfcheck.faults.modes import doubles_the_gradient, in_mode
from selfcheck.forms import Call, Change, replaced


def _traces(change: Callable[[Any, Any], Any]) -> Change:
    """torch.jit.trace records another function."""
    return lambda call: call.original(change(call.given[0], call.given[1]), *call.given[1:], **call.flags)


def _kept_tokens(function: Any, example: Any) -> Any:
    if isinstance(function, torch.nn.Module):
        return function
    kept = [tensor.clone() for tensor in example[1:]]
    return lambda table, *tokens: function(table, *kept)


def _held(forward: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """A module whose forward is ``forward(module, tokens)``."""

    def change(function: Any, example: Any) -> Any:
        if not isinstance(function, torch.nn.Module):
            return function
        holder = torch.nn.Sequential(function)
        holder.forward = partial(forward, function)
        return holder

    return change


def _doubled(function: Any, tokens: Any) -> Any:
    return doubles_the_gradient(function(tokens))


def _wrapped(function: Any, tokens: Any) -> Any:
    return function(tokens % next(function.parameters()).shape[0])


def _scripts(flag: str, value: Any) -> Change:
    """torch.jit.script compiles layers with another flag."""

    def change(call: Call) -> Any:
        layer = call.given[0]  # it compiles functions on the way
        parts = list(layer.modules()) if isinstance(layer, torch.nn.Module) else []
        tables = [(part, getattr(part, flag)) for part in parts if isinstance(part, torch.nn.Embedding)]
        for part, _ in tables:
            setattr(part, flag, value)
        try:
            return call()
        finally:
            for part, before in tables:
                setattr(part, flag, before)

    return change


def _loads(change: Callable[[Any], Any]) -> Change:
    """torch.jit.load whose parameters are changed."""

    def changed(call: Call) -> Any:
        loaded = call()
        with torch.no_grad():
            for parameter in loaded.parameters():
                change(parameter)
        return loaded

    return changed


def _records(change: Callable[[int, bool], tuple[int, bool]]) -> Change:
    """AOTAutograd's backward graphs have an embedding_dense_backward with other arguments."""

    def backward(graph: Any, example: Any) -> Any:
        for node in graph.graph.nodes:
            if node.target is torch.ops.aten.embedding_dense_backward.default:
                node.args = (*node.args[:3], *change(*node.args[3:]))
        graph.recompile()
        return graph

    return lambda call: call(bw_compiler=backward)


#: For each mode what it calls, and by their names what that does wrong, the family whose laws see it, and how.
_CALLS: tuple[tuple[str, Any, str, dict[str, tuple[str, str, Change]]], ...] = (
    (
        "jit_trace",
        torch.jit,
        "trace",
        {
            "keeps_tokens": ("takes the example's tokens for constants", "lookup", _traces(_kept_tokens)),
            "wraps_tokens": ("counts indices of modules from the end", "lookup", _traces(_held(_wrapped))),
            "doubles_gradients": ("doubles a module's gradient", "gradient", _traces(_held(_doubled))),
        },
    ),
    (
        "jit_script",
        torch.jit,
        "script",
        {
            "loses_padding": ("forgets padding_idx", "padding", _scripts("padding_idx", None)),
            "loses_frequency": ("forgets scale_grad_by_freq", "gradient", _scripts("scale_grad_by_freq", False)),
            "is_dense": ("forgets sparse", "gradient", _scripts("sparse", False)),
        },
    ),
    (
        "jit_saved",
        torch.jit,
        "load",
        {
            "rounds": ("rounds to bfloat16", "lookup", _loads(lambda table: table.copy_(table.bfloat16()))),
            "misses_the_last_row": ("zeroes the last row", "lookup", _loads(lambda table: table[-1:].zero_())),
            "unfreezes": ("lets all parameters learn", "lookup", _loads(lambda table: table.requires_grad_())),
        },
    ),
    (
        "aot",
        aot_autograd,
        "aot_function",
        {
            "loses_padding": ("records no padding row", "padding", _records(lambda padding, scale: (-1, scale))),
            "loses_frequency": ("records no scale", "gradient", _records(lambda padding, scale: (padding, False))),
            "pads_the_first_row": (
                "takes the first row for padding if there is none",
                "gradient",
                _records(lambda padding, scale: (max(padding, 0), scale)),
            ),
        },
    ),
)
for _mode, _owner, _attribute, _faults in _CALLS:
    for _what, (_words, _family, _change) in _faults.items():
        plant = partial(replaced, _owner, _attribute, _change)
        in_mode(_mode, _what, f"torch's {_attribute} {_words}.", plant, _family)
