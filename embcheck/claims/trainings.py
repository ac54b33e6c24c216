"""Programs about training, prediction and one-hot vectors.  They import nothing but torch."""

from __future__ import annotations

import io
from typing import Any

import torch

from embcheck.claims.case import experiment
from embcheck.claims.layers import table

Tensor = torch.Tensor


@experiment("backward alone", "backward and step", "frozen")
def stepped(weight: Tensor, indices: Tensor, upstream: Tensor, situation: str) -> dict[str, Any]:
    layer = table(weight.clone(), _freeze=situation == "frozen")
    value = layer(indices)
    if value.requires_grad:
        value.backward(upstream)
    if situation != "backward alone":
        torch.optim.SGD(layer.parameters(), lr=1.0).step()
    return {"after": layer.weight.detach().clone(), "requires_grad": layer.weight.requires_grad}


@experiment("towards the weight", "towards the indices")
def differentiated(weight: Tensor, indices: Tensor, upstream: Tensor, situation: str) -> dict[str, Any]:
    layer = table(weight.clone())
    try:
        if situation == "towards the indices":
            indices.requires_grad_()
        layer(indices).backward(upstream)
        return {"possible": True, "gradient": layer.weight.grad}
    except RuntimeError:
        return {"possible": False}


@experiment(sizes=((5, 3),), shapes=((5,),), dtypes=("float32",), seeds=6, large=True)
def simple_train(weight: Tensor, seed: int) -> dict[str, Any]:
    # Given values in the place of random ones: with a vec that is nearly zero, or long, the loss would not fall, or fall to 0.
    first, vec = weight / 8, torch.tensor([[0.9], [-1.3], [0.4 + seed / 8]])
    loss_fun = torch.nn.MSELoss()
    label = torch.Tensor(5, 1).fill_(3)

    def train(retain_graph: bool) -> tuple[Any, ...]:
        emb = torch.nn.Embedding(5, 3, _weight=first.clone())
        opt = torch.optim.SGD(emb.parameters(), lr=0.015)
        losses = []
        for _ in range(100):
            output = torch.einsum("ik, kj -> ij", emb(torch.tensor([0, 1, 2, 3, 4])), vec)
            loss = loss_fun(output, label)
            losses.append(loss.detach())
            opt.zero_grad()
            loss.backward(retain_graph=retain_graph)
            opt.step()
        return emb, torch.stack(losses)

    emb, losses = train(True)
    file = io.BytesIO()
    torch.save(emb.state_dict(), file)
    file.seek(0)
    fresh = torch.nn.Embedding(5, 3)
    fresh.load_state_dict(torch.load(file, weights_only=True))
    loaded = fresh.weight.detach().clone()
    fresh.eval()
    for _ in range(100):
        torch.einsum("ik, kj -> ij", fresh(torch.tensor([0, 1, 2, 3, 4])), vec)
    return {
        "before": first,
        "vec": vec,
        "trained": emb.weight.detach().clone(),
        "trained_without": train(False)[0].weight.detach().clone(),
        "loaded": loaded,
        "predicted": fresh.weight.detach().clone(),
        "first_loss": loss_fun(first @ vec, label),
        "final_loss": loss_fun(emb.weight.detach() @ vec, label),
        "losses": losses.expand(1, 3, 100),
        "steps": torch.arange(100),
    }


@experiment()
def einsummed(weight: Tensor) -> dict[str, Any]:
    vec = (torch.arange(weight.shape[1]).to(weight.dtype) % 3 - 1)[:, None]
    return {"value": torch.einsum("ik, kj -> ij", weight, vec)}


@experiment("eval()", "still train()", "eval() with max_norm", "no_grad() with max_norm")
def predicted(weight: Tensor, indices: Tensor, situation: str) -> dict[str, Any]:
    limit = 0.5 if "max_norm" in situation else None
    layer = table(weight.clone(), max_norm=limit)
    layer.train("train" in situation)
    with torch.set_grad_enabled("no_grad" not in situation):
        for _ in range(3):
            layer(indices)
    return {"after": layer.weight.detach().clone()}


@experiment("looked up", "not looked up", seeds=3)
def improved(weight: Tensor, situation: str) -> dict[str, Any]:
    layer = table(weight / 1024)
    target = torch.ones(weight.shape[1], dtype=weight.dtype)
    row = 1 if situation == "looked up" else 2
    before = layer.weight.detach()[row].clone()
    trainer = torch.optim.SGD(layer.parameters(), lr=0.25)
    for _ in range(8):
        trainer.zero_grad()
        (layer(torch.tensor([1])) - target).square().sum().backward()
        trainer.step()
    return {"before": before, "after": layer.weight.detach()[row].clone()}


@experiment()
def one_hot_rows(rows: int) -> dict[str, Any]:
    eye = torch.eye(rows)
    differences = (eye[:, None] - eye[None]).square().sum(-1)
    return {"eye": eye, "one_hot": torch.nn.functional.one_hot(torch.arange(rows)), "distances": differences}


@experiment("D below V", "D not below V", dtypes=("float32",))
def dense_or_one_hot(rows: int, width: int, indices: Tensor, situation: str) -> dict[str, Any]:
    rows, width = (rows + width, width) if situation == "D below V" else (rows, rows + width)
    tokens = indices % rows
    one_hot = torch.nn.functional.one_hot(tokens, rows)
    return {"one_hot": one_hot.numel(), "dense": torch.nn.Embedding(rows, width)(tokens).numel()}


@experiment("eye", "after a step")
def fully_connected(weight: Tensor, situation: str) -> dict[str, Any]:
    rows, width = weight.shape
    fc = torch.nn.Linear(rows, width, dtype=weight.dtype)
    with torch.no_grad():
        fc.weight.copy_(weight.T)
        fc.bias.copy_(torch.arange(1, width + 1))
    vocab_vec = torch.eye(rows, dtype=weight.dtype)
    before = fc(vocab_vec)
    if situation == "after a step":
        before.sum().backward()
        torch.optim.SGD(fc.parameters(), lr=1.0).step()
    return {"value": fc(vocab_vec), "shape": list(fc.weight.shape)}


@experiment("bias", "shape of the weight", "first values", "sparse gradient", "NaN in a row that is not looked up",
            sizes=((300, 100), (64, 256)), shapes=((2, 4),), dtypes=("float32",), large=True)  # fmt: skip
def differences(rows: int, width: int, situation: str, seed: int) -> dict[str, Any]:
    torch.manual_seed(seed)
    fc: Any = torch.nn.Linear(rows, width)
    embedding: Any = torch.nn.Embedding(rows, width, sparse=True)
    embedding(torch.tensor([0])).sum().backward()
    fc(torch.eye(rows)[:1]).sum().backward()
    spoiled = torch.ones(rows, width)
    spoiled[-1] = float("nan")
    pairs = {
        "bias": ("bias" in dict(fc.named_parameters()), "bias" in dict(embedding.named_parameters())),
        "shape of the weight": (list(fc.weight.shape), list(embedding.weight.shape)),
        "first values": (round(fc.weight.std().item(), 3), round(embedding.weight.std().item(), 3)),
        "sparse gradient": (fc.weight.grad.is_sparse, embedding.weight.grad.is_sparse),
        "NaN in a row that is not looked up": (
            bool((torch.eye(rows)[:1] @ spoiled).isnan().any()),
            bool(torch.nn.functional.embedding(torch.tensor([0]), spoiled).isnan().any()),
        ),
    }
    return {"linear": pairs[situation][0], "embedding": pairs[situation][1]}
