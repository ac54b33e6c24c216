"""Faults that live in one mode each, of modes that record graphs: what they record, or decompose it to, is not what runs."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any

import torch
import torch.export
import torch.fx.experimental.proxy_tensor as proxy_tensor

from embcheck.modes import decompositions, exports
from embcheck.modes.mode import MODES
from selfcheck.faults.modes import in_mode
from selfcheck.forms import Call, Change, replaced

Graph, Node = torch.fx.Graph, torch.fx.Node

# -- what is done to the lookups of a graph -----------------------------------------------------------------------------

_FUNCTION = ("input", "weight", "padding_idx", "max_norm", "norm_type", "scale_grad_by_freq", "sparse")
_OPERATOR = ("weight", "indices", "padding_idx", "scale_grad_by_freq", "sparse")


def _names(node: Node) -> tuple[str, ...]:
    """The arguments of a lookup by name, in order; empty for any other node."""
    if node.op != "call_function":
        return ()
    if node.target is torch.nn.functional.embedding:
        return _FUNCTION
    return _OPERATOR if node.target in (torch.embedding, torch.ops.aten.embedding.default) else ()


def _set(node: Node, flag: str, value: Any) -> None:
    position = _names(node).index(flag)
    if flag in node.kwargs:
        node.kwargs = {**node.kwargs, flag: value}
    elif len(node.args) > position:
        node.args = (*node.args[:position], value, *node.args[position + 1 :])


def _no_padding(node: Node) -> None:
    _set(node, "padding_idx", None if _names(node) is _FUNCTION else -1)


def _wrapped(graph: Graph, tokens: Any, rows: Any) -> Node:
    return graph.call_function(torch.remainder, (tokens, rows))


def _clamped(graph: Graph, tokens: Any, rows: Any) -> Node:
    return graph.call_function(torch.clamp, (tokens,), {"max": graph.call_function(operator.sub, (rows, 1))})


def _other_tokens(node: Node, change: Callable[[Graph, Any, Any], Node]) -> None:
    """The tokens changed by what is told of them and of the number of rows."""
    names = _names(node)
    given = {name: node.args[at] if len(node.args) > at else node.kwargs.get(name) for at, name in enumerate(names)}
    tokens: Any = given[names[0] if names is _FUNCTION else names[1]]
    with node.graph.inserting_before(node):
        rows = node.graph.call_function(torch.ops.aten.sym_size.int, (given["weight"], 0))
        changed = change(node.graph, tokens, rows)
    node.replace_input_with(tokens, changed)


Edit = Callable[[Node], None]


def _operated(edit: Edit, graph: torch.fx.GraphModule) -> None:
    """Applies an edit to every lookup of a graph."""
    for node in list(graph.graph.nodes):
        if _names(node):
            edit(node)
    graph.recompile()


#: What is forgotten or taken; the family whose laws see it, whether it shows without a graph, too, and the edit.
_EDITS: dict[str, tuple[str, str, bool | None, Edit]] = {
    "loses_padding": ("forget padding_idx", "padding", False, _no_padding),
    "loses_frequency": (
        "forget scale_grad_by_freq",
        "gradient",
        False,
        partial(_set, flag="scale_grad_by_freq", value=False),
    ),
    "wraps_tokens": ("count negative indices from the end", "lookup", None, partial(_other_tokens, change=_wrapped)),
    "clamps_tokens": (
        "take the last row for a token beyond it",
        "lookup",
        True,
        partial(_other_tokens, change=_clamped),
    ),
    "loses_max_norm": ("forget max_norm", "max_norm", True, partial(_set, flag="max_norm", value=None)),
}

# -- where graphs are made ----------------------------------------------------------------------------------------------

Surgery = Callable[[Any], None]


def _returned(call: Call, surgery: Surgery, strict: bool | None = None) -> Any:
    """The graph, or the program, that a function returns."""
    found = call()
    if strict in (None, bool(call.flags.get("strict"))):
        surgery(getattr(found, "graph_module", found))
    return found


def _traced(call: Call, surgery: Surgery, mode: str) -> Any:
    """What make_fx traces in one of its modes."""
    trace = call()

    def tracing(*example: Any) -> Any:
        graph = trace(*example)
        if call.flags.get("tracing_mode", "real") == mode:
            surgery(graph)
        return graph

    return tracing


def _compiled(call: Call, surgery: Surgery, backend: str) -> Any:
    """The graphs that dynamo hands to a backend."""
    compiler = call()

    def compiling(graph: Any, example: Any) -> Any:
        surgery(graph)
        return compiler(graph, example)

    return compiling if call.given[0] == backend else compiler


def _handed_over(call: Call, surgery: Surgery) -> Any:
    """Every graph that dynamo has recorded."""
    surgery(call.given[1])
    return call()


def _dynamo() -> Any:
    from torch._dynamo.output_graph import OutputGraph

    return OutputGraph


def _places() -> dict[str, tuple[Callable[[], Any], str, Callable[..., Any]]]:
    """For each mode where its graphs are made: an owner, its attribute, and how the graph is had there."""
    found: dict[str, tuple[Callable[[], Any], str, Callable[..., Any]]] = {
        "fx": (lambda: torch.fx, "symbolic_trace", _returned),
        "export": (lambda: torch.export, "export", partial(_returned, strict=False)),
        "export_strict": (lambda: torch.export, "export", partial(_returned, strict=True)),
        "export_decomposed": (lambda: torch.export.ExportedProgram, "run_decompositions", _returned),
        "export_saved": (lambda: torch.export, "load", _returned),
    }
    for mode, kind in (("make_fx", "real"), ("make_fx_fake", "fake"), ("make_fx_symbolic", "symbolic")):
        found[mode] = (lambda: proxy_tensor, "make_fx", partial(_traced, mode=kind))
    for mode in ("compile_eager", "compile_guarded", "compile_no_grad"):
        found[mode] = (_dynamo, "call_user_compiler", _handed_over)
    for mode, backend in (
        ("aot_eager", "aot_eager"),
        ("aot_decomposed", "aot_eager_decomp_partition"),
        ("aot_no_grad", "aot_eager"),
        ("inductor", "inductor"),
        ("inductor_static", "inductor"),
        ("inductor_no_grad", "inductor"),
    ):
        found[mode] = (lambda: torch._dynamo, "lookup_backend", partial(_compiled, backend=backend))
    return found


def _forget() -> None:
    """What was compiled before must not serve after; inductor copies its table of decompositions once."""
    torch._dynamo.reset()
    exports.KEPT.clear()
    decompositions.CORE.clear()
    from torch._inductor import decomposition

    copy: Any = getattr(decomposition, "fast_random_decomps", None)
    if hasattr(copy, "cache_clear"):
        copy.cache_clear()


@contextmanager
def _anew(planted: Callable[[], AbstractContextManager[None]]) -> Iterator[None]:
    with planted():
        _forget()
        yield
    _forget()


def _edited(place: tuple[Callable[[], Any], str, Callable[..., Any]], edit: Edit) -> AbstractContextManager[None]:
    owner, attribute, how = place
    return replaced(owner(), attribute, partial(how, surgery=partial(_operated, edit)))


for _mode, _place in _places().items():
    for _what, (_words, _family, _without_grad, _edit) in _EDITS.items():
        if _without_grad in (None, not MODES[_mode].grad):
            _sentence = f"What {_mode} records is not what runs: its lookups {_words}."
            in_mode(_mode, _what, _sentence, partial(_anew, partial(_edited, _place, _edit)), _family)


# -- decompositions -----------------------------------------------------------------------------------------------------

Decomposition = Callable[..., Any]
_DENSE = torch.ops.aten.embedding_dense_backward.default


def _one_row_once(dense: Decomposition, grad: Any, indices: Any, rows: int, padding: int, scale: bool) -> Any:
    right = dense(grad, indices, rows, padding, scale)
    return grad.reshape(-1, grad.shape[-1])[:1] if rows == 1 and indices.numel() > 1 else right


#: What a wrong entry does, the family that sees it, and what it makes of the right one and its arguments.
_ENTRIES: dict[str, tuple[str, str, Decomposition]] = {
    "ignores_padding": (
        "ignores padding_idx",
        "padding",
        lambda dense, grad, indices, rows, padding, scale: dense(grad, indices, rows, -1, scale),
    ),
    "ignores_frequency": (
        "ignores scale_grad_by_freq",
        "gradient",
        lambda dense, grad, indices, rows, padding, scale: dense(grad, indices, rows, padding, False),
    ),
    "pads_the_last_row": (
        "takes the last row for padding where there is none",
        "gradient",
        lambda dense, grad, indices, rows, padding, scale: dense(grad, indices, rows, padding % max(rows, 1), scale),
    ),
    "adds_nothing_up_in_one_row": ("takes the first token alone if there is one row", "gradient", _one_row_once),
}


@contextmanager
def _entry(mode: str, wrong: Decomposition) -> Iterator[None]:
    """The table that a mode takes its decompositions from, with a wrong entry for the dense backward."""
    if mode == "core_decompositions":
        change: Change = lambda call: (table := dict(call())) | {_DENSE: partial(wrong, table.get(_DENSE))}  # noqa: E731
        with replaced(torch._decomp, "core_aten_decompositions", change):
            yield
        return
    from torch._inductor.decomposition import decompositions as of_inductor

    table: Any = torch._decomp.decomposition_table if mode == "decompositions" else of_inductor
    before = table[_DENSE]
    table[_DENSE] = partial(wrong, before)
    try:
        yield
    finally:
        table[_DENSE] = before


for _mode in ("decompositions", "core_decompositions", "inductor_decompositions"):
    for _what, (_words, _family, _wrong) in _ENTRIES.items():
        _sentence = f"The decomposition of embedding_dense_backward, as {_mode} has it, {_words}."
        in_mode(_mode, _what, _sentence, partial(_anew, partial(_entry, _mode, _wrong)), _family)
