"""Operations that execute a model with tied weights otherwise, or show it to a compiler: nothing may happen to the tie.

They import nothing but torch, for their source is what a counterexample's script shows.
"""

from __future__ import annotations

import io
from typing import Any

import torch
import torch.export

from embcheck.families.tie_preservation import effects
from embcheck.families.tie_preservation.operations import Module, does


def same_result(got: object, expected: object) -> None:
    """Raises if one and the same model gives other results when it is executed otherwise."""
    if not torch.equal(got, expected):  # type: ignore[arg-type]
        raise AssertionError("another result than eager's")


@does(effects.unchanged)
def traced_symbolically(model: Module, embedding: Module, head: Module) -> Module:
    chain = torch.nn.Sequential(embedding, head)
    graph = torch.fx.symbolic_trace(chain)
    if [id(p) for p in graph.parameters()] != [id(p) for p in chain.parameters()]:
        raise AssertionError("the graph has other Parameters")
    same_result(graph(torch.zeros(2, dtype=torch.int64)), chain(torch.zeros(2, dtype=torch.int64)))
    return model


@does(effects.unchanged)
def vmapped(model: Module, embedding: Module, head: Module) -> Module:
    chain = torch.nn.Sequential(embedding, head)
    stacked = {name: value.detach().unsqueeze(0) for name, value in chain.named_parameters()}
    tokens = torch.zeros(2, dtype=torch.int64)
    torch.func.vmap(lambda values: torch.func.functional_call(chain, values, (tokens,)))(stacked)
    return model


@does(effects.unchanged, slow=True)
def compiled(model: Module, embedding: Module, head: Module) -> Module:
    torch._dynamo.reset()
    chain = torch.nn.Sequential(embedding, head)
    tokens = torch.zeros(2, dtype=torch.int64)
    whole: Module = torch.compile(chain, backend="eager")
    same_result(whole(tokens), chain(tokens))
    others: list[Any] = [whole, torch.compile(chain, dynamic=True), torch.compile(chain, dynamic=False)]
    for other in others:  # of which two are never called
        if [id(p) for p in other.parameters()] != [id(p) for p in chain.parameters()]:
            raise AssertionError("the compiled model has other Parameters")
    before = embedding.weight
    embedding.weight = torch.nn.Parameter(torch.ones_like(before), before.requires_grad)
    same_result(whole(tokens), chain(tokens))
    embedding.weight = before
    same_result(whole(tokens), chain(tokens))
    return model


@does(effects.unchanged, slow=True)
def compiled_ahead(model: Module, embedding: Module, head: Module) -> Module:
    torch._dynamo.reset()
    chain = torch.nn.Sequential(embedding, head)
    tokens = torch.zeros(2, dtype=torch.int64)
    same_result(torch.compile(chain, backend="aot_eager")(tokens), chain(tokens))
    return model


@does(effects.is_exported, slow=True)
def exported(model: Module, embedding: Module, head: Module) -> Module:
    chain = torch.nn.Sequential(embedding, head)
    tokens = torch.zeros(2, dtype=torch.int64)
    program = torch.export.export(chain, (tokens,))
    if sorted(program.state_dict) != sorted(chain.state_dict()):
        raise AssertionError(f"the exported program has the names {sorted(program.state_dict)}")
    module = program.module()
    same_result(module(tokens), chain(tokens))
    counts = len(list(module.parameters())), len(list(chain.parameters()))
    if counts[0] != counts[1]:
        raise AssertionError(f"the exported module has {counts[0]} parameters, the model {counts[1]}")
    places = {name: value.data_ptr() for name, value in chain.state_dict().items()}
    kept = {name: program.state_dict[name].data_ptr() for name in places}
    if len(set(kept.values())) > len(set(places.values())):
        raise AssertionError("the exported program has copies of what is one memory")
    return model


@does(effects.is_exported, slow=True)
def exported_for_any(model: Module, embedding: Module, head: Module) -> Module:
    chain = torch.nn.Sequential(embedding, head)
    shapes = ({0: torch.export.Dim("tokens", min=2, max=64)},)
    program = torch.export.export(chain, (torch.zeros(3, dtype=torch.int64),), dynamic_shapes=shapes)
    for count in (3, 5, 2):
        tokens = torch.zeros(count, dtype=torch.int64)
        same_result(program.module()(tokens), chain(tokens))
    return model


@does(effects.is_loaded, slow=True)
def exported_and_loaded(model: Module, embedding: Module, head: Module) -> Module:
    chain = torch.nn.Sequential(embedding, head)
    tokens = torch.zeros(2, dtype=torch.int64)
    memory = io.BytesIO()
    torch.export.save(torch.export.export(chain, (tokens,), strict=False), memory)
    memory.seek(0)
    loaded = torch.export.load(memory).module()
    same_result(loaded(tokens), chain(tokens))
    counts = len(list(loaded.parameters())), len(list(chain.parameters()))
    if counts[0] != counts[1]:
        raise AssertionError(f"the loaded program has {counts[0]} parameters, the model {counts[1]}")
    return model
