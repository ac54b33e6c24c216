"""Faults of max_norm: which rows are rescaled, to what, and what else happens."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch

from embcheck.fault import dispatched, fault
from embcheck.faults.kernels import Tensor

#: Whether the control is planted, which no result tells.
_planted = [False]

Scale = Callable[[Tensor, Tensor, float, float], None]


def rescale(weight: Tensor, tokens: Tensor, max_norm: float, norm_type: float) -> None:
    """What embedding_renorm_ does, row after row."""
    for token in tokens.tolist():
        row = weight[token]
        norm = float(row.norm(norm_type)) if row.numel() else 0.0
        if norm > max_norm:
            row.mul_(max_norm / (norm + 1e-7))


def kernel(change: Scale, *, repeated: bool = False) -> Callable[..., Tensor]:
    """embedding_renorm_ with ``change`` on the tokens, each once unless ``repeated``."""

    def renorm(weight: Tensor, indices: Tensor, max_norm: float, norm_type: float) -> Tensor:
        if indices.dtype not in (torch.int32, torch.int64):
            raise RuntimeError("Expected indices of type Long or Int")
        tokens = indices.reshape(-1).long()
        change(weight, tokens if repeated else tokens.unique(), max_norm, norm_type)
        return weight

    return renorm


def table() -> Tensor:
    """(3, 4), (6, 8), (0, 5), (0.5, 0)."""
    return torch.tensor([[3.0, 4.0], [6.0, 8.0], [0.0, 5.0], [0.5, 0.0]])


def after(tokens: list[int], max_norm: float = 1.0, norm_type: float = 2.0) -> list[list[float]]:
    """The table after a lookup."""
    weight = table()
    torch.nn.functional.embedding(torch.tensor(tokens), weight, max_norm=max_norm, norm_type=norm_type)
    return [[round(x, 2) for x in row] for row in weight.tolist()]


@fault("renorm", lambda: _planted[0] and after([0])[0] == [0.6, 0.8], control=True)
def renorm_by_other_operators() -> Iterator[None]:
    """embedding_renorm_ written with other operators, without a fault."""
    _planted[0] = True
    try:
        with dispatched({"embedding_renorm_": kernel(rescale)}):
            yield
    finally:
        _planted[0] = False


@fault("renorm", lambda: after([0])[1] != [6.0, 8.0])
def renorm_of_all_rows() -> Iterator[None]:
    """Every row over max_norm is rescaled, looked up or not."""

    def change(weight: Tensor, tokens: Tensor, max_norm: float, norm_type: float) -> None:
        rescale(weight, torch.arange(len(weight)) if tokens.numel() else tokens, max_norm, norm_type)

    with dispatched({"embedding_renorm_": kernel(change)}):
        yield


@fault("renorm", lambda: after([3])[3] != [0.5, 0.0])
def renorm_of_smaller_rows() -> Iterator[None]:
    """Rows below max_norm are made longer."""

    def change(weight: Tensor, tokens: Tensor, max_norm: float, norm_type: float) -> None:
        for token in tokens.tolist():
            norm = float(weight[token].norm(norm_type))
            if norm:
                weight[token].mul_(max_norm / (norm + 1e-7))

    with dispatched({"embedding_renorm_": kernel(change)}):
        yield


@fault("renorm", lambda: after([0], norm_type=1.0)[0] == [0.6, 0.8])
def renorm_always_euclidean() -> Iterator[None]:
    """norm_type is ignored."""
    with dispatched({"embedding_renorm_": kernel(lambda w, t, m, p: rescale(w, t, m, 2.0))}):
        yield


@fault("renorm", lambda: after([0], norm_type=float("inf"))[0] == [0.6, 0.8])
def renorm_infinity_is_two() -> Iterator[None]:
    """norm_type=inf is taken for 2."""
    with dispatched(
        {"embedding_renorm_": kernel(lambda w, t, m, p: rescale(w, t, m, 2.0 if p == float("inf") else p))}
    ):
        yield


@fault("renorm", lambda: after([0], 0.0)[0] == [3.0, 4.0])
def renorm_zero_is_falsy() -> Iterator[None]:
    """max_norm=0 rescales nothing."""
    with dispatched({"embedding_renorm_": kernel(lambda w, t, m, p: rescale(w, t, m, p) if m else None)}):
        yield


@fault("renorm", lambda: after([0, 0])[0] != [0.6, 0.8])
def renorm_of_each_token() -> Iterator[None]:
    """A row is rescaled by its first norm as often as it comes."""

    def change(weight: Tensor, tokens: Tensor, max_norm: float, norm_type: float) -> None:
        norms = [float(weight[token].norm(norm_type)) for token in tokens.tolist()]
        for token, norm in zip(tokens.tolist(), norms, strict=True):
            if norm > max_norm:
                weight[token].mul_(max_norm / (norm + 1e-7))

    with dispatched({"embedding_renorm_": kernel(change, repeated=True)}):
        yield


@fault("renorm", lambda: after([0, 1, 2])[2] == [0.0, 5.0])
def renorm_forgets_the_last_token() -> Iterator[None]:
    """The largest of three or more tokens is left out."""
    with dispatched({"embedding_renorm_": kernel(lambda w, t, m, p: rescale(w, t[:-1] if len(t) > 2 else t, m, p))}):
        yield


@fault("renorm", lambda: after([2], 4.97)[2] == [0.0, 5.0])
def renorm_has_a_tolerance() -> Iterator[None]:
    """Rows up to one per cent over max_norm are left alone."""

    def change(weight: Tensor, tokens: Tensor, max_norm: float, norm_type: float) -> None:
        over = [token for token in tokens.tolist() if float(weight[token].norm(norm_type)) > max_norm * 1.01]
        rescale(weight, torch.tensor(over, dtype=torch.int64), max_norm, norm_type)

    with dispatched({"embedding_renorm_": kernel(change)}):
        yield


@fault("renorm", lambda: after([0])[0][0] < 0.6)
def renorm_falls_short() -> Iterator[None]:
    """Rows are rescaled to 0.99·max_norm."""

    def change(weight: Tensor, tokens: Tensor, max_norm: float, norm_type: float) -> None:
        for token in tokens.tolist():
            norm = float(weight[token].norm(norm_type)) if weight.shape[1] else 0.0
            if norm > max_norm:
                weight[token].mul_(0.99 * max_norm / (norm + 1e-7))

    with dispatched({"embedding_renorm_": kernel(change)}):
        yield
