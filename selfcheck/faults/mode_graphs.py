"""Faults that live in one mode each, of modes that record: what is recorded, or decomposed to, is not what runs."""

import itertools
from contextlib import AbstractContextManager
from functools import partial
from typing import Any
from unittest import mock

import torch
import torch.export
import torch.fx.experimental.proxy_tensor as proxy_tensor

from selfcheck.faults import modes
from selfcheck.forms import Call, replaced

_DENSE = torch.ops.aten.embedding_dense_backward.default
_LOOKUPS = (torch.nn.functional.embedding, torch.embedding, torch.ops.aten.embedding.default, _DENSE)

# -- graphs -------------------------------------------------------------------------------------------------------------


def _edit(graph: Any, spoil: modes.Spoil) -> Any:
    """A graph, or the program of one, in which what each lookup or its backward gives is spoiled."""
    module: torch.fx.GraphModule = getattr(graph, "graph_module", graph)
    for node in [each for each in module.graph.nodes if each.op == "call_function" and each.target in _LOOKUPS]:
        with module.graph.inserting_after(node):
            spoiled = module.graph.call_function(spoil, (node,))
        node.replace_all_uses_with(spoiled, delete_user_cb=lambda user, spoiled=spoiled: user is not spoiled)
    module.recompile()
    return graph


def _returned(call: Call, spoil: modes.Spoil, strict: bool | None = None) -> Any:
    return _edit(call(), spoil) if strict in (None, bool(call.flags.get("strict"))) else call()


def _traced(call: Call, spoil: modes.Spoil, mode: str) -> Any:
    trace, asked = call(), call.flags.get("tracing_mode", "real") == mode
    return lambda *example: _edit(trace(*example), spoil) if asked else trace(*example)


def _compiled(call: Call, spoil: modes.Spoil, backend: str) -> Any:
    compiler = call()
    return (lambda graph, example: compiler(_edit(graph, spoil), example)) if call.given[0] == backend else compiler


def _handed_over(call: Call, spoil: modes.Spoil) -> Any:
    _edit(call.given[1], spoil)
    return call()


def _of_the_backward(call: Call, spoil: modes.Spoil) -> Any:
    return call(bw_compiler=lambda graph, example: _edit(graph, spoil))


_DYNAMO = "torch._dynamo"
#: The modes, where their graphs are made, and how a graph is had there.
_PLACES: tuple[tuple[Any, ...], ...] = (
    ("fx", torch.fx, "symbolic_trace", _returned),
    ("jit_trace", torch.jit, "trace", modes.made),
    ("jit_script", torch.jit, "script", modes.made),
    ("make_fx", proxy_tensor, "make_fx", partial(_traced, mode="real")),
    ("make_fx_fake", proxy_tensor, "make_fx", partial(_traced, mode="fake")),
    ("make_fx_symbolic", proxy_tensor, "make_fx", partial(_traced, mode="symbolic")),
    ("export", torch.export, "export", partial(_returned, strict=False)),
    ("export_strict", torch.export, "export", partial(_returned, strict=True)),
    ("export_decomposed", torch.export.ExportedProgram, "run_decompositions", _returned),
    ("export_saved", torch.export, "load", _returned),
    ("compile_eager compile_no_grad", "torch._dynamo.output_graph:OutputGraph", "call_user_compiler", _handed_over),
    ("aot_eager aot_no_grad", _DYNAMO, "lookup_backend", partial(_compiled, backend="aot_eager")),
    ("aot_decomposed", _DYNAMO, "lookup_backend", partial(_compiled, backend="aot_eager_decomp_partition")),
    ("inductor inductor_static inductor_no_grad", _DYNAMO, "lookup_backend", partial(_compiled, backend="inductor")),
    ("aot", "torch._functorch.aot_autograd", "aot_function", _of_the_backward, *modes.BELOW_AUTOGRAD),
)
for _place in _PLACES:
    modes.in_modes(*_place)


# -- decompositions -----------------------------------------------------------------------------------------------------


def _entry(mode: str, spoil: modes.Spoil) -> AbstractContextManager[None]:
    """The table that a mode takes its decompositions from, with a wrong entry for the dense backward."""
    from torch._inductor.decomposition import decompositions as of_inductor

    def wrong(table: Any) -> dict[Any, Any]:
        right = table[_DENSE]
        return {_DENSE: lambda *given: spoil(right(*given))}

    if mode == "core_decompositions":
        return replaced(torch._decomp, "core_aten_decompositions", lambda call: dict(call()) | wrong(call()))
    table: Any = torch._decomp.decomposition_table if mode == "decompositions" else of_inductor
    return mock.patch.dict(table, wrong(table))


for _mode, _spoil in itertools.product(
    ("decompositions", "core_decompositions", "inductor_decompositions"), modes.BELOW_AUTOGRAD
):
    _sentence = f"{_spoil.__doc__} So does embedding_dense_backward as {_mode} has it."
    modes.in_mode(_mode, _spoil.__name__, _sentence, partial(_entry, _mode, _spoil))
