"""Programs: a model with a tied head is trained by several processes, in copies or in pieces."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from embcheck.families.dtensor.programs import on_ranks, whole

Tensor = torch.Tensor
#: A torch module; its attributes are modules and tensors, which a checker can't tell apart.
Module = Any
#: Of a model, a mesh and further flags: the model that is called.
Spread = Callable[[Module, Any, dict[str, Any]], Module]


def model_of(table: Tensor, other: Tensor, head: str, flags: dict[str, Any], unused: str) -> Module:
    class Model(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            rows, width = table.shape
            self.words = torch.nn.Embedding(rows, width, _weight=table.clone(), **flags)
            if unused:
                self.extra = torch.nn.Embedding(rows, width, _weight=other.clone(), sparse=unused == "sparse")
            if head:
                self.head = torch.nn.Linear(width, rows, bias=False, dtype=table.dtype)
                self.head.weight = self.words.weight if head == "tied" else torch.nn.Parameter(other.clone())

        def forward(self, tokens: Tensor) -> Any:
            found = self.words(tokens)
            return self.head(found) if head else found

    return Model()


def data_parallel(model: Module, mesh: Any, flags: dict[str, Any]) -> Module:
    return torch.nn.parallel.DistributedDataParallel(model, **flags)


def fully_sharded(model: Module, mesh: Any, flags: dict[str, Any]) -> Module:
    from torch.distributed.fsdp import fully_shard

    return fully_shard(model, mesh=mesh)


def distributed(model: Module, mesh: Any, flags: dict[str, Any]) -> Module:
    from torch.distributed.tensor import Replicate, distribute_module, distribute_tensor

    def given(module: Any, inputs: Any, mesh: Any) -> Any:
        return distribute_tensor(inputs[0], mesh, [Replicate()])

    def taken(module: Any, value: Any, mesh: Any) -> Any:
        return value.full_tensor()

    return distribute_module(model, mesh, input_fn=given, output_fn=taken)


def parallelized(model: Module, mesh: Any, flags: dict[str, Any]) -> Module:
    from torch.distributed.tensor import Replicate
    from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module

    styles: dict[str, Any] = {"words": RowwiseParallel(input_layouts=Replicate(), output_layouts=Replicate())}
    if hasattr(model, "head"):
        styles["head"] = ColwiseParallel(output_layouts=Replicate())
    return parallelize_module(model, mesh, styles)


def restored(model: Module, mesh: Any, flags: dict[str, Any]) -> Module:
    """Each rank has a model without memory, tied as that was which is saved, and loads it."""
    import copy

    from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict, set_model_state_dict

    saved = copy.deepcopy(get_model_state_dict(model))
    empty: dict[int, Any] = {}
    for module in model.modules():
        for name, held in module.named_parameters(recurse=False):
            bare = torch.nn.Parameter(torch.empty_like(held, device="meta"))
            module.register_parameter(name, empty.setdefault(id(held), bare))
    set_model_state_dict(model, saved, options=StateDictOptions(full_state_dict=True))
    return model


def parallel(
    spread: Spread,
    ranks: int,
    parts: dict[str, Any],
    further: dict[str, Any],
    steps: int,
    table: Tensor,
    other: Tensor,
    tokens: Tensor,
    upstream: Tensor,
) -> dict[str, Any]:
    def work() -> dict[str, Any]:
        from torch.distributed.device_mesh import init_device_mesh

        model = model_of(table, other, **parts)
        call = spread(model, init_device_mesh("cpu", (ranks,)), further)

        def tied() -> bool:
            return parts["head"] == "tied" and model.words.weight is model.head.weight

        ties, counts = [tied()], [len(list(call.parameters()))]
        optimizer = torch.optim.SGD(call.parameters(), lr=0.5)
        values = []
        for _ in range(steps):
            optimizer.zero_grad()
            value = call(tokens)
            value.backward(upstream)
            optimizer.step()
            values.append(whole(value.detach()))
        ties.append(tied())
        counts.append(len(list(call.parameters())))
        weights = [model.words.weight, *([model.head.weight] if parts["head"] else [])]
        learnt = torch.stack([whole(weight.detach()) for weight in weights])
        return {"values": torch.stack(values), "learnt": learnt, "ties": ties, "counts": counts}

    answers = on_ranks(ranks, work)
    found: dict[str, Any] = {name: torch.stack([seen[name] for seen in answers]) for name in ("values", "learnt")}
    return found | {name: [seen[name] for seen in answers] for name in ("ties", "counts")}


SPREAD: dict[str, Spread] = {
    spread.__name__: spread for spread in (data_parallel, fully_sharded, distributed, parallelized, restored)
}
