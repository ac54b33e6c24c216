"""Small programs, one for each of some sites in Python, that tell what damages change: each kind of damage at one site at least."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F


class Pair(nn.Module):
    """A tied pair beside a layer of the same shape, with a padding row and a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(3, 2, padding_idx=1, max_norm=9.0)
        self.head = nn.Linear(2, 3)
        self.head.weight = self.table.weight
        self.other = nn.Linear(2, 3, bias=False)
        self.register_buffer("count", torch.ones(1))
        with torch.no_grad():
            for k, each in enumerate(self.parameters()):
                each.copy_(torch.arange(each.numel()).reshape(each.shape) + k + 0.1)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        rows = self.table(tokens)
        out: torch.Tensor = self.head(rows) + self.other(rows)
        return out


def graded() -> Pair:
    made = Pair()
    made(torch.tensor([0, 1, 2, 2])).sum().backward()
    return made


def state(module: nn.Module, original: nn.Module | None = None) -> list[Any]:
    """All that a damage of modules may change: names, ties, values, gradients, modes, attributes and shared memory."""
    named = dict(module.named_parameters(remove_duplicate=False))
    theirs = {} if original is None else {each.data_ptr() for each in original.parameters()}
    return [
        list(named),
        [[each is other for other in named.values()] for each in named.values()],
        [each.detach().double().tolist() for each in named.values()],
        [(each.requires_grad, str(each.dtype), each.stride(), each.data_ptr() in theirs) for each in named.values()],
        [None if each.grad is None else each.grad.tolist() for each in named.values()],
        [(each.training, getattr(each, "padding_idx", 0), getattr(each, "max_norm", 0)) for each in module.modules()],
        [each.tolist() for each in module.buffers()],
    ]


def copied() -> list[Any]:
    original = graded()
    made = copy.deepcopy(original)
    return [state(made, original), state(original)]


def zeroed() -> list[Any]:
    made = graded()
    identities = [id(each) for each in made.parameters()]
    made.zero_grad(set_to_none=False)
    return [state(made), [id(each) in identities for each in made.parameters()]]


def looked_up() -> list[Any]:
    found: list[Any] = []
    for turn in (1.0, 2.0):
        wide = torch.linspace(0.1, 3, 24, dtype=torch.float64).reshape(4, 6) * turn
        weight = wide[:, 1:4].detach().requires_grad_()
        tokens = torch.tensor([0, 3, 3, 1])
        flags = {"padding_idx": 1, "scale_grad_by_freq": True, "max_norm": 0.5 * turn}
        out = F.embedding(tokens, weight, **flags)  # type: ignore[arg-type]
        (grad,) = torch.autograd.grad(out, weight, torch.ones_like(out))
        found += [out.tolist(), out.stride(), grad.tolist(), weight.tolist()]
    sparse = torch.ones(4, 3, requires_grad=True)
    F.embedding(torch.tensor([0]), sparse, sparse=True).sum().backward()
    return [*found, sparse.grad is not None and sparse.grad.is_sparse]


def multiplied() -> list[Any]:
    found: list[Any] = []
    for turn in (1.0, 2.0):
        wide = torch.linspace(0.1, 3, 24, dtype=torch.float64).reshape(4, 6) * turn
        x, weight = wide[:, :3].detach().requires_grad_(), wide[:3, 3:].detach().requires_grad_()
        out = F.linear(x, weight, torch.ones(3, dtype=torch.float64))
        out.sum().backward()
        found += [out.tolist(), out.stride(), None if x.grad is None else x.grad.tolist()]
        found += [None if weight.grad is None else weight.grad.tolist()]
    return found


def stated() -> list[Any]:
    made = graded()
    given = made.state_dict()
    return [[(name, each.tolist(), each.data_ptr() == dict(made.named_parameters(remove_duplicate=False)).get(
        name, next(made.buffers())).data_ptr(), each.requires_grad) for name, each in given.items()]]  # fmt: skip


def stepped() -> list[Any]:
    found: list[Any] = []
    memory = torch.linspace(0.1, 2, 20, dtype=torch.float64)
    leaves = [nn.Parameter(memory[:6].reshape(3, 2)), nn.Parameter(memory[8:12].clone())]
    flags = {"lr": 0.5, "weight_decay": 0.25, "momentum": 0.5, "dampening": 0.25}
    optimizer = torch.optim.SGD(leaves, foreach=False, **flags)  # type: ignore[arg-type]
    for turn in (1, 2):
        for each in leaves:
            each.grad = torch.full_like(each, turn)
        optimizer.step()
        states = [each.get("momentum_buffer") for each in optimizer.state.values()]
        found += [memory.tolist(), *(each.tolist() for each in leaves), *(each.grad.tolist() for each in leaves)]  # type: ignore[union-attr]
        found += [None if each is None else each.tolist() for each in states]
    return found


def made_leaf() -> list[Any]:
    found: list[Any] = []
    for turn in (1.0, 2.0):
        data = (torch.linspace(0.1, 1, 6, dtype=torch.float64) * turn).reshape(2, 3).t()
        leaf = nn.Parameter(data)
        found += [leaf.tolist(), leaf.stride(), leaf.data_ptr() == data.data_ptr(), leaf.requires_grad, leaf.dtype]
    return found


def reloaded() -> list[Any]:
    leaves = [nn.Parameter(torch.linspace(0.1, 1, 6, dtype=torch.float64).reshape(2, 3)) for _ in range(2)]
    optimizer, other = torch.optim.Adam(leaves), torch.optim.Adam(leaves)
    found: list[Any] = []
    for turn in (1, 2):
        for each in leaves:
            each.grad = each.detach() * turn
        optimizer.step()
        other.load_state_dict(optimizer.state_dict())
        found.append([{name: value.tolist() for name, value in each.items()} for each in other.state.values()])
    return found


def strict(assign: bool) -> list[Any]:
    made, given = Pair(), {name: 2 * each for name, each in Pair().state_dict().items()}
    kept = list(made.parameters())
    made.load_state_dict(given, assign=assign)
    return [state(made), [any(each is other for other in kept) for each in made.parameters()]]


def refused() -> list[Any]:
    try:
        Pair().load_state_dict({})
    except RuntimeError:
        return [True]
    return [False]


#: What shows the damages of a site.
EXAMPLES: dict[str, Callable[[], list[Any]]] = {
    "F.embedding": looked_up,
    "F.linear": multiplied,
    "copy.deepcopy": copied,
    "Module.zero_grad": zeroed,
    "Module.state_dict": stated,
    "Module.load_state_dict": lambda: [*strict(False), *strict(True), *refused()],
    "Module.train": lambda: state(Pair().train(False)),
    "Module.named_parameters": lambda: [
        [name for name, _ in graded().named_parameters(remove_duplicate=same, recurse=deep)]
        for same in (True, False)
        for deep in (True, False)
    ],
    "Parameter.__new__": made_leaf,
    "Embedding.from_pretrained": lambda: state(nn.Embedding.from_pretrained(torch.ones(3, 2))),
    "Embedding.__init__": lambda: state(nn.Embedding(3, 2, _weight=torch.ones(3, 2), _freeze=True)),
    "sgd.plain": stepped,
    "Optimizer.load_state_dict": reloaded,
}
