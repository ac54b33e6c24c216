"""Programs about a table that is tied to an output layer, and about one that is not."""

from typing import Any

import torch

from embcheck.claims.case import experiment
from embcheck.claims.lookups import Seen, Tensor


def pair(rows: int, width: int, tied: bool) -> tuple[Any, Any]:
    embedding, head = torch.nn.Embedding(rows, width), torch.nn.Linear(width, rows)
    if tied:
        embedding.weight = head.weight
    return embedding, head


@experiment("tied", "not tied", sizes=((10, 3), (7, 4), (64, 33)), dtypes=("float32",))
def counted(rows: int, width: int, situation: str) -> Seen:
    model: Any = torch.nn.Sequential(*pair(rows, width, situation == "tied"))
    elements, shapes = sum(each.numel() for each in model.parameters()), [list(layer.weight.shape) for layer in model]
    return {"elements": elements, "shapes": shapes, "one": model[0].weight is model[1].weight}


@experiment("tied", "not tied", sizes=((10, 3), (7, 4), (64, 33)))
def unified(weight: Tensor, indices: Tensor, situation: str) -> Seen:
    embedding, head = pair(weight.shape[0], weight.shape[1], situation == "tied")
    embedding, head = embedding.to(weight.dtype), head.to(weight.dtype)
    if situation == "tied":
        embedding.weight = head.weight
    with torch.no_grad():
        head.weight.copy_(-weight)  # of a tied pair both are then as given
        embedding.weight.copy_(weight)
        head.bias.zero_()
    hidden = torch.ones(1, weight.shape[1], dtype=weight.dtype)
    return {"rows": embedding(indices), "outputs": head.weight[indices], "logits": head(hidden)[0]}


@experiment("tied", "not tied", sizes=((10, 3),), shapes=((2, 3),), dtypes=("float32",), large=True)
def trained_pair(weight: Tensor, indices: Tensor, situation: str) -> Seen:
    embedding, head = pair(10, 3, situation == "tied")
    first = weight / 32
    with torch.no_grad():
        # Adam moves no element by more than 3.2 learning rates in a step: in 400 steps no two that are 3 apart can meet.
        embedding.weight.copy_(first + 3)
        head.weight.copy_(first)
        head.bias.zero_()
    target = torch.nn.functional.one_hot(indices, 10).float()
    optimizer = torch.optim.Adam(torch.nn.ModuleList([embedding, head]).parameters(), lr=0.001)
    equal = []
    for _ in range(400):
        loss = torch.nn.functional.mse_loss(torch.softmax(head(embedding(indices)), -1), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        equal.append(torch.equal(embedding.weight, head.weight))
    same, moved = int((embedding.weight == head.weight).sum()), not torch.equal(first, head.weight)
    return {"always": all(equal), "ever": any(equal), "elements": same, "moved": moved}


def scattered(first: int, *shape: int) -> Tensor:
    """Numbers between 0 and 1 without a pattern, which are the same in every torch: integers are multiplied and shifted."""
    code = torch.arange(first, first + torch.Size(shape).numel())
    for _ in range(2):
        code = ((code >> 16) ^ code) * 0x45D9F3B & 0xFFFFFFFF
    return (((code >> 16) ^ code).double() + 0.5).reshape(shape) / 2**32


def joined(tensors: list[Tensor]) -> Tensor:
    return torch.cat([tensor.detach().reshape(-1) for tensor in tensors])


def learnt(rows: int, width: int, tied: bool, values: list[Tensor], tokens: Tensor, target: Tensor) -> list[Tensor]:
    """What the text's own model makes of these values of its table, its bias and, untied, its head, in a first step: the loss
    with the gradients, and the values after it."""
    model: Any = torch.nn.Sequential(*pair(rows, width, tied)).double()
    own = [model[0].weight, model[1].bias, *([] if tied else [model[1].weight])]
    with torch.no_grad():
        for parameter, value in zip(own, values, strict=True):
            parameter.copy_(value)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.001)
    loss = torch.nn.functional.mse_loss(torch.softmax(model(tokens), -1), target)
    loss.backward()
    numbers = joined([loss, *(parameter.grad for parameter in own)])
    optimizer.step()
    return [numbers, joined(own)]


def of_run(tensors: list[Any], run: int, tied: bool) -> list[Tensor]:
    """Of the heads, biases and untied tables of all runs those of one pair of one run, in the order of `learnt`."""
    head, offset, untied = (tensor[..., run] for tensor in tensors)
    return [head[0], offset[0]] if tied else [untied, offset[1], head[1]]


#: How many runs each situation of the race needs for a clear outcome: the fewer, the farther apart the two pairs are.
RUNS = {
    "as written": 128,
    "as written, but 30×8": 48,
    "same first values": 160,
    "same first values, random targets": 96,
}
#: The tokens of the text: what torch.randint(0, 10, (2, 3)) gives after torch.manual_seed(0).
TOKENS = [4, 9, 3, 0, 3, 9]
#: Runs, and whether tied, in which the text's own models are beside what is computed for all runs at once.
BESIDE = [(0, True), (0, False), (1, True), (1, False)]


def size_of(situation: str, rows: int, width: int) -> tuple[int, int]:
    """The size of the table in a situation of the race, by default the text's own."""
    return (30, 8) if situation.endswith("30×8") else (rows, width)


@experiment(*RUNS, sizes=((10, 3),), shapes=((2, 3),), dtypes=("float64",), large=True)
def race(rows: int, width: int, situation: str) -> Seen:
    # All runs at once, of the tied pair (0) and the untied one (1): their losses are added, so no gradient meets another's.
    # In float64 a torch that rounds otherwise has the same winners: no loss comes nearer to the threshold than 5e-7 of it.
    runs, tokens, steps = RUNS[situation], 6, 480
    rows, width = size_of(situation, rows, width)
    apart = 2**24
    weight = (2 * scattered(1, runs, rows, width) - 1) * width**-0.5
    bias = (2 * scattered(apart, runs, rows) - 1) * width**-0.5
    normal = torch.special.ndtri(scattered(2 * apart, runs, rows, width))
    drawn = (scattered(3 * apart, runs, tokens) * rows).long()
    indices = torch.tensor(TOKENS).expand(runs, tokens) if situation == "as written" else drawn
    labels = (scattered(4 * apart, runs, tokens) * rows).long() if "random targets" in situation else indices
    # The runs lie next to each other, where they are computed several at a time.
    weight, bias, normal, indices = (each.movedim(0, -1).contiguous() for each in (weight, bias, normal, indices))
    target = torch.nn.functional.one_hot(labels, rows).to(weight).movedim(0, -1).contiguous()
    chosen = indices[:, None].expand(2, tokens, width, runs)
    head, offset = torch.stack([weight, weight]).requires_grad_(), torch.stack([bias, bias]).requires_grad_()
    untied = (normal if situation.startswith("as written") else weight).clone().requires_grad_()
    trained = [head, offset, untied]
    optimizer = torch.optim.Adam(trained, lr=0.001, fused=True)
    curves, models, at_once, stepped = [], [], [], []
    for step in range(steps):
        hidden = torch.stack([head[0], untied]).gather(1, chosen)
        products = (hidden[:, :, None] * head[:, None]).sum(3)
        output = torch.softmax(products + offset[:, None], 2)
        loss = (output - target).square().mean((1, 2))
        curves.append(loss.detach())
        optimizer.zero_grad()
        loss.sum().backward()
        for run, tied in BESIDE if step % 160 == 0 else []:
            models.append(learnt(rows, width, tied, of_run(trained, run, tied), indices[:, run], target[..., run]))
            gradients = of_run([each.grad for each in trained], run, tied)
            at_once.append(joined([loss[1 - tied, run], *gradients]))
        optimizer.step()
        stepped += [joined(of_run(trained, run, tied)) for run, tied in BESIDE if step == 0]
    curve = torch.stack(curves)  # step × pair × run
    under = curve <= curve[0].amin(0) / 2
    reached = torch.where(under.any(0), under.float().argmax(0), steps)
    spread = torch.tensor([0.1, 0.5, 0.9]).to(weight)
    bands, at = torch.quantile(curve[::10], spread, dim=2).permute(2, 0, 1), torch.arange(0, steps, 10)
    seen: Seen = {"models": torch.cat([numbers for numbers, _ in models]), "at_once": torch.cat(at_once)}
    seen |= {"models_stepped": torch.cat([after for _, after in models[: len(BESIDE)]]), "stepped": torch.cat(stepped)}
    seen |= {"tied_left": curve[-1, 0], "untied_left": curve[-1, 1], "curves": bands, "at": at}
    return {"tied": reached[0], "untied": reached[1], **seen}
