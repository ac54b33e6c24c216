"""Small programs, one for each of some sites in Python, that tell what damages of the site change."""

from __future__ import annotations

import copy
import io
import pickle
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


def loaded() -> list[Any]:
    file = io.BytesIO(pickle.dumps(graded()))
    return [state(pickle.loads(file.getvalue()))]


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


def scheduled() -> list[Any]:
    groups = [{"params": [nn.Parameter(torch.ones(1))], "lr": rate} for rate in (0.3, 0.7)]
    optimizer = torch.optim.SGD(groups)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.3)
    found = []
    for _ in range(3):
        optimizer.step()
        scheduler.step()
        found += scheduler.get_last_lr()
    return [found]


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


def stepping(name: str, **flags: Any) -> Callable[[], list[Any]]:
    """Two steps of an optimizer."""

    def work() -> list[Any]:
        leaf = nn.Parameter(torch.linspace(-1, 2, 6, dtype=torch.float64).reshape(2, 3))
        optimizer = getattr(torch.optim, name)([leaf], foreach=False, **flags)
        found: list[Any] = []
        for turn in (4, 1):
            leaf.grad = torch.linspace(0.1, 1, 6, dtype=torch.float64).reshape(2, 3) * turn
            optimizer.step()
            found.append(leaf.tolist())
        return found

    return work


def filling(name: str, *given: Any, **named: Any) -> Callable[[], list[Any]]:
    """A tensor that is filled from a seed."""

    def work() -> list[Any]:
        torch.manual_seed(0)
        return [getattr(nn.init, name)(torch.empty(4, 3), *given, **named).tolist()]

    return work


def pooled() -> list[Any]:
    weight = torch.arange(12.0).reshape(4, 3)
    flags = {"mode": "sum", "include_last_offset": True, "per_sample_weights": torch.tensor([1.0, 2, 3])}
    return [F.embedding_bag(torch.tensor([0, 3, 1]), weight, torch.tensor([0, 1, 3]), **flags).tolist()]  # type: ignore[arg-type]


def lost() -> list[Any]:
    scores = torch.linspace(0, 1, 12).reshape(4, 3).exp()
    return [F.cross_entropy(scores, torch.tensor([0, 2, 1, 1]), ignore_index=1, label_smoothing=0.2).tolist()]


def clipped() -> list[Any]:
    made = graded()
    nn.utils.clip_grad_value_(made.parameters(), 0.5)
    return state(made)


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


def derived() -> list[Any]:
    return [torch.func.grad(lambda x, y: (x * x * y).sum(), 0)(torch.ones(2), torch.full((2,), 3.0)).tolist()]


def called() -> list[Any]:
    made = Pair()
    given = {"head.weight": torch.zeros(3, 2)}
    return [torch.func.functional_call(made, given, (torch.tensor([0, 2]),)).tolist()]


def averaged(buffers: bool) -> list[Any]:
    made = torch.optim.swa_utils.AveragedModel(Pair(), use_buffers=buffers)
    other = Pair()
    for _ in range(2):
        next(other.buffers()).add_(1)
        made.update_parameters(other)
    return [next(made.module.buffers()).tolist()]


#: What shows the damages of a site.
EXAMPLES: dict[str, Callable[[], list[Any]]] = {
    "F.embedding": looked_up,
    "F.embedding_bag": pooled,
    "F.linear": multiplied,
    "F.cross_entropy": lost,
    "copy.deepcopy": copied,
    "pickle.loads": loaded,
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
    "adam.plain": stepping("Adam", lr=0.5, amsgrad=True, eps=0.1, weight_decay=0.5, betas=(0.5, 0.5)),
    "rmsprop.plain": stepping("RMSprop", centered=True, momentum=0.5, alpha=0.5),
    "adadelta.plain": stepping("Adadelta", rho=0.5),
    "asgd.plain": stepping("ASGD", lambd=0.5, alpha=0.5, t0=0),
    "adagrad.plain": stepping("Adagrad", lr_decay=0.5),
    "nadam.plain": stepping("NAdam", momentum_decay=0.5),
    "StepLR.get_lr": scheduled,
    "Optimizer.load_state_dict": reloaded,
    "nn.init.trunc_normal_": filling("trunc_normal_", 0.5, 2.0, -3.0, 1.0),
    "nn.init.normal_": filling("normal_", 2),
    "nn.init.constant_": filling("constant_", 3.0),
    "nn.init.kaiming_uniform_": filling("kaiming_uniform_", 2.0, nonlinearity="leaky_relu"),
    "nn.init.sparse_": filling("sparse_", 0.25),
    "nn.init.xavier_uniform_": filling("xavier_uniform_", 2.0),
    "nn.utils.clip_grad_value_": clipped,
    "func.grad": derived,
    "func.functional_call": called,
    "AveragedModel.__init__": lambda: [averaged(False), averaged(True)],
}
