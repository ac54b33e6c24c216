"""Transforms of functions of several tables and modules, at small numbers, whose results are known beforehand."""

from typing import Any

import torch

from embcheck.families.lr_scheduler.programs import raises

Tensor = torch.Tensor


def linearized_in_both() -> bool:
    """Whether linearize of the rows of two tables moves with each."""
    tokens, table = torch.tensor([1, 0]), torch.tensor([[1.0], [2.0]])

    def rows(words: Tensor, places: Tensor) -> Tensor:
        look = torch.nn.functional.embedding
        return look(tokens, words) + 2 * look(tokens, places)

    _, push = torch.func.linearize(rows, table, table)
    moved: Tensor = push(4 * table, 8 * table)
    return moved.tolist() == [[40.0], [20.0]]


def writes_to_given() -> bool:
    """Whether a buffer that a forward pass assigns is so in the dictionary that functional_call is given, and not in the module."""

    class Counting(torch.nn.Module):
        count: Tensor

        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("count", torch.zeros(()))

        def forward(self) -> None:
            self.count = self.count + 1

    module, given = Counting(), {"count": torch.ones(())}
    torch.func.functional_call(module, given, ())
    return (float(given["count"]), float(module.count)) == (2.0, 0.0)


def takes_keywords() -> bool:
    """Whether functional_call heeds keywords beside one tensor and beside a tuple, and a table under a parametrization."""
    tokens, table = torch.tensor([[2, 1, 0]]), torch.tensor([[1.0], [-2.0], [4.0]])
    bag, weights = torch.nn.EmbeddingBag(3, 1, mode="sum", _weight=-table), torch.tensor([[3.0, 5.0, 7.0]])
    torch.nn.utils.parametrize.register_parametrization(bag, "weight", torch.nn.ReLU())
    found, leaf = list[list[float]](), table.clone().requires_grad_()
    for args in (tokens, (tokens,)):
        given, named = {"parametrizations.weight.original": leaf}, {"per_sample_weights": weights}
        total = torch.func.functional_call(bag, given, args, named).sum()
        found.append(
            [float(total.detach()), *torch.autograd.grad(total, leaf, materialize_grads=True)[0].flatten().tolist()]
        )
    return found == 2 * [[3 * 4.0 + 7 * 1.0, 7.0, 0.0, 3.0]]


def refused_to_draw() -> bool:
    """Whether vmap raises where random numbers are drawn and nothing says how."""
    drop = torch.vmap(lambda row: torch.nn.functional.dropout(row, 0.5))
    return raises(RuntimeError, lambda: drop(torch.ones(2, 4)))


def rule_is_told_of_samples() -> bool:
    """Whether a Function's own vmap is told how many samples there are and where they lie: it looks all up in the shared table."""
    told: list[Any] = []

    class Looked(torch.autograd.Function):
        @staticmethod
        def forward(tokens: Tensor, table: Tensor) -> Tensor:
            return torch.nn.functional.embedding(tokens, table)

        @staticmethod
        def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
            pass

        @staticmethod
        def vmap(info: Any, in_dims: Any, tokens: Tensor, table: Tensor) -> Any:
            told.append((info.batch_size, info.randomness, in_dims))
            return call(tokens, table), 0

    call: Any = Looked.apply
    samples = torch.tensor([[2], [0], [1]])
    rows = torch.vmap(call, (0, None), randomness="same")(samples, torch.tensor([[4.0], [5.0], [6.0]]))
    return rows.tolist() == [[[6.0]], [[4.0]], [[5.0]]] and told == [(3, "same", (0, None))]
