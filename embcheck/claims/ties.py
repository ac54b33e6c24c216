"""Programs about a table that is tied to an output layer.  They import nothing but torch."""

from __future__ import annotations

from typing import Any

import torch

from embcheck.claims.case import experiment

Tensor = torch.Tensor


def pair(rows: int, width: int, tied: bool) -> tuple[Any, Any]:
    embedding, head = torch.nn.Embedding(rows, width), torch.nn.Linear(width, rows)
    if tied:
        embedding.weight = head.weight
    return embedding, head


@experiment("tied", "not tied", sizes=((10, 3), (7, 4), (64, 33)), dtypes=("float32",))
def counted(rows: int, width: int, situation: str) -> dict[str, Any]:
    model: Any = torch.nn.Sequential(*pair(rows, width, situation == "tied"))
    return {
        "elements": sum(parameter.numel() for parameter in model.parameters()),
        "shapes": [list(model[0].weight.shape), list(model[1].weight.shape)],
        "one": model[0].weight is model[1].weight,
    }


@experiment("tied", "not tied", sizes=((10, 3), (7, 4), (64, 33)))
def unified(weight: Tensor, indices: Tensor, situation: str) -> dict[str, Any]:
    embedding, head = pair(weight.shape[0], weight.shape[1], situation == "tied")
    embedding, head = embedding.to(weight.dtype), head.to(weight.dtype)
    if situation == "tied":
        embedding.weight = head.weight
    with torch.no_grad():
        embedding.weight.copy_(weight)
        head.bias.zero_()
    hidden = torch.ones(1, weight.shape[1], dtype=weight.dtype)
    return {"rows": embedding(indices), "outputs": head.weight[indices], "logits": head(hidden)[0]}


@experiment("tied", "not tied", sizes=((10, 3),), shapes=((2, 3),), dtypes=("float32",), large=True)
def trained_pair(weight: Tensor, indices: Tensor, situation: str) -> dict[str, Any]:
    embedding, head = pair(10, 3, situation == "tied")
    first = weight / 32
    with torch.no_grad():
        # Adam moves no element by more than 3.2 learning rates in a step: in 400 steps no two that are 3 apart can meet.
        embedding.weight.copy_(first + 3)
        head.weight.copy_(first)
        head.bias.zero_()
    target = torch.nn.functional.one_hot(indices, 10).float()
    optimizer = torch.optim.Adam(
        [*{id(p): p for layer in (embedding, head) for p in layer.parameters()}.values()], lr=0.001
    )
    equal = []
    for _ in range(400):
        loss = torch.nn.functional.mse_loss(torch.softmax(head(embedding(indices)), -1), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        equal.append(torch.equal(embedding.weight, head.weight))
    same = embedding.weight == head.weight
    moved = not torch.equal(first, head.weight)
    return {"always": all(equal), "ever": any(equal), "elements": int(same.sum()), "moved": moved}


@experiment("Model_1, embedding", "Model_2, embedding", sizes=((300, 100),), shapes=((1,),), dtypes=("float32",),
            large=True)  # fmt: skip
def first_values_of_pair(rows: int, width: int, situation: str, seed: int) -> dict[str, Any]:
    torch.manual_seed(seed)
    embedding, _ = pair(rows, width, situation.startswith("Model_2"))
    return {"values": embedding.weight}


def scattered(first: int, *shape: int) -> Tensor:
    """Numbers between 0 and 1 without a pattern, which are the same in every torch: integers are multiplied and shifted."""
    code = torch.arange(first, first + torch.Size(shape).numel())
    for _ in range(2):
        code = ((code >> 16) ^ code) * 0x45D9F3B & 0xFFFFFFFF
    return (((code >> 16) ^ code).double() + 0.5).reshape(shape) / 2**32


#: How many runs each situation of the race needs for a clear outcome: the fewer, the farther apart the two pairs are.
RUNS = {
    "as written": 128,
    "as written, but 30×8": 48,
    "same first values": 160,
    "same first values, random targets": 96,
}


@experiment(*RUNS,
            sizes=((10, 3),), shapes=((2, 3),), dtypes=("float64",), large=True)  # fmt: skip
def race(rows: int, width: int, situation: str) -> dict[str, Any]:
    # All runs at once, of the tied pair (0) and the untied one (1): their losses are added, so no gradient meets another's.
    # In float64 a torch that rounds otherwise has the same winners: no loss comes nearer to the threshold than 5e-7 of it.
    runs, tokens, steps = RUNS[situation], 6, 480
    rows, width = (30, 8) if situation.endswith("30×8") else (rows, width)
    apart = 2**24
    weight = (2 * scattered(1, runs, rows, width) - 1) * width**-0.5
    bias = (2 * scattered(apart, runs, rows) - 1) * width**-0.5
    normal = torch.special.ndtri(scattered(2 * apart, runs, rows, width))
    indices = (scattered(3 * apart, runs, tokens) * rows).long()
    labels = (scattered(4 * apart, runs, tokens) * rows).long() if "random targets" in situation else indices
    # The runs lie next to each other, where they are computed several at a time.
    weight, bias, normal, indices = (each.movedim(0, -1).contiguous() for each in (weight, bias, normal, indices))
    target = torch.nn.functional.one_hot(labels, rows).to(weight).movedim(0, -1).contiguous()
    chosen = indices[:, None].expand(2, tokens, width, runs)
    head, offset = torch.stack([weight, weight]).requires_grad_(), torch.stack([bias, bias]).requires_grad_()
    untied = (normal if situation.startswith("as written") else weight).clone().requires_grad_()
    optimizer = torch.optim.Adam([head, offset, untied], lr=0.001, fused=True)
    curves = []
    for _ in range(steps):
        hidden = torch.stack([head[0], untied]).gather(1, chosen)
        products = (hidden[:, :, None] * head[:, None]).sum(3)
        output = torch.softmax(products + offset[:, None], 2)
        loss = (output - target).square().mean((1, 2))
        curves.append(loss.detach())
        optimizer.zero_grad()
        loss.sum().backward()
        optimizer.step()
    curve = torch.stack(curves)  # step × pair × run
    under = curve <= curve[0].amin(0) / 2
    reached = torch.where(under.any(0), under.float().argmax(0), steps)
    spread = torch.tensor([0.1, 0.5, 0.9]).to(weight)
    return {
        "tied": reached[0],
        "untied": reached[1],
        "tied_left": curve[-1, 0],
        "untied_left": curve[-1, 1],
        "curves": torch.quantile(curve[::10], spread, dim=2).permute(2, 0, 1),
        "at": torch.arange(0, steps, 10),
    }
