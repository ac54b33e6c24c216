"""Faults of what is recorded: graphs whose lookups lose a flag or take other tokens, each in one mode only."""

from __future__ import annotations

import contextlib
import operator
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.fx.experimental.proxy_tensor as proxy_tensor

from embcheck.families.lookup.spelling import ENTRIES
from embcheck.modes import decompositions, exports
from embcheck.modes.mode import MODES
from embcheck.subject.collect import load_modes
from selfcheck.fault import Fault, add, patched

Edit = Callable[[torch.fx.Node], None]
Surgery = Callable[[torch.fx.GraphModule], None]

load_modes()

_FUNCTION = ("input", "weight", "padding_idx", "max_norm", "norm_type", "scale_grad_by_freq", "sparse")
_OPERATOR = ("weight", "indices", "padding_idx", "scale_grad_by_freq", "sparse")


def probe(build: Any, tokens: list[int], flags: dict[str, Any], rows: int = 4) -> dict[str, Any]:
    """A lookup in a table of ones, and its gradient."""
    leaf, call = build(torch.ones(rows, 2, requires_grad=True), **flags)
    value = call(torch.tensor(tokens))
    if value.requires_grad:
        value.sum().backward()
    return {"value": value, "grad": leaf.grad}


def seen(mode: str, *tokens: int, rows: int = 4, **flags: Any) -> dict[str, Any] | None:
    """What a mode makes of a lookup; None if it refuses it."""
    given = {"tokens": list(tokens), "flags": flags, "rows": rows}
    try:
        return dict(MODES[mode].function(probe, build=ENTRIES["module"].build, **given))
    except (IndexError, RuntimeError):
        return None


# -- what is done to a graph -------------------------------------------------------------------------------------


def names_of(node: torch.fx.Node) -> tuple[str, ...]:
    """The arguments of a lookup by name, in order; empty for any other node."""
    if node.op != "call_function":
        return ()
    if node.target is torch.nn.functional.embedding:
        return _FUNCTION
    return _OPERATOR if node.target in (torch.embedding, torch.ops.aten.embedding.default) else ()


def with_flag(flag: str, value: Any) -> Edit:
    """Sets a flag of every lookup."""

    def edit(node: torch.fx.Node) -> None:
        position = names_of(node).index(flag)
        if flag in node.kwargs:
            node.kwargs = {**node.kwargs, flag: value}
        elif len(node.args) > position:
            node.args = (*node.args[:position], value, *node.args[position + 1 :])

    return edit


def no_padding(node: torch.fx.Node) -> None:
    """Without padding_idx, which the operator spells -1."""
    with_flag("padding_idx", None if names_of(node) is _FUNCTION else -1)(node)


def wrapped(node: torch.fx.Node) -> None:
    """The tokens modulo the number of rows, as Python counts from the end."""
    within_rows(node, lambda graph, tokens, rows: graph.call_function(torch.remainder, (tokens, rows)))


def clamped(node: torch.fx.Node) -> None:
    """The last row for every token beyond it."""

    def clamp(graph: torch.fx.Graph, tokens: Any, rows: Any) -> torch.fx.Node:
        last = graph.call_function(operator.sub, (rows, 1))
        return graph.call_function(torch.clamp, (tokens,), {"max": last})

    within_rows(node, clamp)


def within_rows(node: torch.fx.Node, change: Callable[[torch.fx.Graph, Any, Any], torch.fx.Node]) -> None:
    """The tokens changed by what is told of them and of the number of rows."""
    names = names_of(node)
    at, table = (0, 1) if names is _FUNCTION else (1, 0)

    def given(position: int) -> Any:
        return node.args[position] if len(node.args) > position else node.kwargs[names[position]]

    with node.graph.inserting_before(node):
        rows = node.graph.call_function(torch.ops.aten.sym_size.int, (given(table), 0))
        tokens = change(node.graph, given(at), rows)
    node.replace_input_with(given(at), tokens)


def operated(edit: Edit) -> Surgery:
    """Applies an edit to every lookup of a graph."""

    def surgery(graph: torch.fx.GraphModule) -> None:
        for node in list(graph.graph.nodes):
            if names_of(node):
                edit(node)
        graph.recompile()

    return surgery


#: What is forgotten or taken, in words; the family whose laws see it; the edit.
EDITS: dict[str, tuple[str, str, Surgery]] = {
    "loses_padding": ("Its lookups forget padding_idx.", "padding", operated(no_padding)),
    "loses_frequency": ("Its lookups forget scale_grad_by_freq.", "gradient",
                        operated(with_flag("scale_grad_by_freq", False))),
    "wraps_tokens": ("Its lookups count negative indices from the end.", "lookup", operated(wrapped)),
}  # fmt: skip


#: What shows without a graph, too.
FORWARD: dict[str, tuple[str, str, Surgery]] = {
    "wraps_tokens": EDITS["wraps_tokens"],
    "clamps_tokens": ("Its lookups take the last row for a token beyond it.", "lookup", operated(clamped)),
    "loses_max_norm": ("Its lookups forget max_norm.", "max_norm", operated(with_flag("max_norm", None))),
}  # fmt: skip


# -- where graphs are made ---------------------------------------------------------------------------------------


def forget_graphs() -> None:
    """What was compiled before must not serve after."""
    torch._dynamo.reset()
    exports.KEPT.clear()
    decompositions.CORE.clear()


def after(owner: Any, name: str, only: Callable[[dict[str, Any]], bool] = lambda keywords: True) -> Any:
    """A place: the graph, or the program, that a function returns."""

    @contextlib.contextmanager
    def place(surgery: Surgery) -> Iterator[None]:
        made = getattr(owner, name)

        def spoiled(*given: Any, **keywords: Any) -> Any:
            found = made(*given, **keywords)
            if only(keywords):
                surgery(getattr(found, "graph_module", found))
            return found

        with patched(owner, **{name: spoiled}):
            yield

    return place


def traced_by_make_fx(tracing_mode: str) -> Any:
    """A place: what make_fx traces in one of its modes."""

    @contextlib.contextmanager
    def place(surgery: Surgery) -> Iterator[None]:
        make_fx = proxy_tensor.make_fx

        def spoiled(function: Any, *given: Any, **keywords: Any) -> Any:
            trace = make_fx(function, *given, **keywords)

            def tracing(*example: Any) -> Any:
                graph = trace(*example)
                if keywords.get("tracing_mode", "real") == tracing_mode:
                    surgery(graph)
                return graph

            return tracing

        with patched(proxy_tensor, make_fx=spoiled):
            yield

    return place


def compiled_by(backend: str) -> Any:
    """A place: the graphs that dynamo hands to a backend."""

    @contextlib.contextmanager
    def place(surgery: Surgery) -> Iterator[None]:
        lookup_backend = torch._dynamo.lookup_backend

        def spoiled(name: Any) -> Any:
            compiler = lookup_backend(name)
            if name != backend:
                return compiler

            def compile_spoiled(graph: Any, example: Any) -> Any:
                surgery(graph)
                return compiler(graph, example)

            return compile_spoiled

        with patched(torch._dynamo, lookup_backend=spoiled):
            yield

    return place


@contextlib.contextmanager
def handed_over(surgery: Surgery) -> Iterator[None]:
    """A place: every graph that dynamo has recorded."""
    from torch._dynamo.output_graph import OutputGraph

    call = OutputGraph.call_user_compiler

    def spoiled(self: Any, graph: Any, *given: Any, **keywords: Any) -> Any:
        surgery(graph)
        return call(self, graph, *given, **keywords)

    with patched(OutputGraph, call_user_compiler=spoiled):
        yield


#: Where each mode's graphs are made.
PLACES: dict[str, Any] = {
    "fx": after(torch.fx, "symbolic_trace"),
    "make_fx": traced_by_make_fx("real"),
    "make_fx_fake": traced_by_make_fx("fake"),
    "make_fx_symbolic": traced_by_make_fx("symbolic"),
    "export": after(torch.export, "export", lambda keywords: not keywords.get("strict")),
    "export_strict": after(torch.export, "export", lambda keywords: bool(keywords.get("strict"))),
    "export_decomposed": after(torch.export.ExportedProgram, "run_decompositions"),
    "export_saved": after(torch.export, "load"),
    "compile_eager": handed_over,
    "compile_guarded": handed_over,
    "aot_eager": compiled_by("aot_eager"),
    "aot_decomposed": compiled_by("aot_eager_decomp_partition"),
    "inductor": compiled_by("inductor"),
    "inductor_static": compiled_by("inductor"),
    "compile_no_grad": handed_over,
    "aot_no_grad": compiled_by("aot_eager"),
    "inductor_no_grad": compiled_by("inductor"),
}


def edits(mode: str) -> dict[str, tuple[str, str, Surgery]]:
    """What can be done to a mode's graphs."""
    return EDITS if MODES[mode].grad else FORWARD


def _plant(mode: str, edit: str) -> None:
    sentence, family, surgery = edits(mode)[edit]

    @contextlib.contextmanager
    def plant() -> Iterator[None]:
        with PLACES[mode](surgery):
            forget_graphs()
            try:
                yield
            finally:
                forget_graphs()

    words = f"What {mode} records is not what runs: {sentence[0].lower()}{sentence[1:]}"
    applies = MODES[mode].lacking
    add(
        Fault(
            f"{mode}_{edit}",
            family,
            words,
            plant,
            applies=lambda: applies() is None,
            modes=(mode,),
        )
    )


for _mode in PLACES:
    for _edit in edits(_mode):
        _plant(_mode, _edit)
