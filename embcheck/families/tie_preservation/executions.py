"""Operations that execute a model with tied weights otherwise, or show it to a compiler: nothing may happen to the tie."""

from __future__ import annotations

import io
from typing import Any

import torch
import torch.export

from embcheck.families.tie_preservation import effects
from embcheck.families.tie_preservation.operations import Entry, Module, chained


def same_result(got: object, expected: object) -> None:
    """Raises if one and the same model gives other results when it is executed otherwise."""
    if not torch.equal(got, expected):  # type: ignore[arg-type]
        raise AssertionError("another result than eager's")


def same_parameters(other: Module, chain: Module) -> None:
    if [id(p) for p in other.parameters()] != [id(p) for p in chain.parameters()]:
        raise AssertionError("the graph or the compiled model has other Parameters")


def same_count(what: str, other: Module, chain: Module) -> None:
    counts = len(list(other.parameters())), len(list(chain.parameters()))
    if counts[0] != counts[1]:
        raise AssertionError(f"the {what} has {counts[0]} parameters, the model {counts[1]}")


def traced_symbolically(model: Module, embedding: Module, head: Module) -> Module:
    chain, tokens = chained(embedding, head)
    graph = torch.fx.symbolic_trace(chain)
    same_parameters(graph, chain)
    same_result(graph(tokens), chain(tokens))
    return model


def vmapped(model: Module, embedding: Module, head: Module) -> Module:
    chain, tokens = chained(embedding, head)
    stacked = {name: value.detach().unsqueeze(0) for name, value in chain.named_parameters()}
    torch.func.vmap(lambda values: torch.func.functional_call(chain, values, (tokens,)))(stacked)
    return model


def compiled(model: Module, embedding: Module, head: Module) -> Module:
    torch._dynamo.reset()
    chain, tokens = chained(embedding, head)
    whole: Module = torch.compile(chain, backend="eager")
    same_result(whole(tokens), chain(tokens))
    others: list[Any] = [whole, torch.compile(chain, dynamic=True), torch.compile(chain, dynamic=False)]
    for other in others:  # of which two are never called
        same_parameters(other, chain)
    before = embedding.weight
    embedding.weight = torch.nn.Parameter(torch.ones_like(before), before.requires_grad)
    same_result(whole(tokens), chain(tokens))
    embedding.weight = before
    same_result(whole(tokens), chain(tokens))
    return model


def compiled_ahead(model: Module, embedding: Module, head: Module) -> Module:
    torch._dynamo.reset()
    chain, tokens = chained(embedding, head)
    same_result(torch.compile(chain, backend="aot_eager")(tokens), chain(tokens))
    return model


def exported(model: Module, embedding: Module, head: Module) -> Module:
    chain, tokens = chained(embedding, head)
    program = torch.export.export(chain, (tokens,))
    if sorted(program.state_dict) != sorted(chain.state_dict()):
        raise AssertionError(f"the exported program has the names {sorted(program.state_dict)}")
    module = program.module()
    same_result(module(tokens), chain(tokens))
    same_count("exported module", module, chain)
    places = {name: value.data_ptr() for name, value in chain.state_dict().items()}
    kept = {name: program.state_dict[name].data_ptr() for name in places}
    if len(set(kept.values())) > len(set(places.values())):
        raise AssertionError("the exported program has copies of what is one memory")
    return model


def exported_for_any(model: Module, embedding: Module, head: Module) -> Module:
    chain = torch.nn.Sequential(embedding, head)
    shapes = ({0: torch.export.Dim("tokens", min=2, max=64)},)
    program = torch.export.export(chain, (torch.zeros(3, dtype=torch.int64),), dynamic_shapes=shapes)
    for count in (3, 5, 2):
        tokens = torch.zeros(count, dtype=torch.int64)
        same_result(program.module()(tokens), chain(tokens))
    return model


def exported_and_loaded(model: Module, embedding: Module, head: Module) -> Module:
    chain, tokens = chained(embedding, head)
    memory = io.BytesIO()
    torch.export.save(torch.export.export(chain, (tokens,), strict=False), memory)
    memory.seek(0)
    loaded = torch.export.load(memory).module()
    same_result(loaded(tokens), chain(tokens))
    same_count("loaded program", loaded, chain)
    return model


EXECUTING: dict[str, Entry] = {
    "traced_symbolically": Entry(traced_symbolically),
    "vmapped": Entry(vmapped),
    "compiled": Entry(compiled, slow=True),
    "compiled_ahead": Entry(compiled_ahead, slow=True),
    "exported": Entry(exported, effects.is_exported, slow=True),
    "exported_for_any": Entry(exported_for_any, effects.is_exported, slow=True),
    "exported_and_loaded": Entry(exported_and_loaded, effects.is_loaded, slow=True),
}
