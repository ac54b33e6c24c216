"""Programs: a tensor is filled by torch.nn.init, or a linear layer by itself.

They import nothing but torch, for their source is what a counterexample's script shows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from embcheck.core.registry import into
from embcheck.families.construction.seeding import seeded

Tensor = torch.Tensor
#: Fills a tensor, with a generator or with torch's own.
Fill = Callable[[Tensor, Any], Any]
FILLS: dict[str, Fill] = {}


def filled(fill: Fill, own_generator: bool, trains: bool, detached: bool, seed: int, weight: Tensor) -> dict[str, Any]:
    import warnings

    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        if not weight.numel():
            warnings.simplefilter("ignore")  # filling nothing warns
        seeded(seed)
        generator = torch.Generator().manual_seed(seed) if own_generator else None
        target = torch.nn.Parameter(weight, requires_grad=trains)
        gradient = target.grad = torch.ones_like(target) if trains else None
        part = target.detach()[...] if detached else target
        mark = (target.data_ptr(), target.stride(), target.dtype)
        version, state = target._version, torch.get_rng_state()
        returned = fill(part, generator)
        kept = (target.data_ptr(), target.stride(), target.dtype) == mark
        values = target.detach().clone()
        undisturbed = torch.equal(torch.get_rng_state(), state)
        fill(part, generator)
        following = target.detach().clone()
        seeded(seed)
        if generator is not None:
            generator.manual_seed(seed)
        fill(part, generator)
        again = target.detach().clone()
    return {
        "values": values,
        "following": following,
        "again": again,
        "returned": returned is part,
        "placed": kept,
        "counted": target._version > version or not weight.numel(),
        "rooted": target.is_leaf and target.requires_grad == trains,
        "graded": target.grad is gradient and (gradient is None or bool((gradient == 1).all())),
        "undisturbed": undisturbed,
    }


def gained(names: tuple[tuple[Any, ...], ...]) -> dict[str, Any]:
    gains = [torch.nn.init.calculate_gain(*arguments) for arguments in names]
    refused = []
    for wrong in (("unknown",), ("leaky_relu", "0.1"), ("leaky_relu", True)):
        try:
            torch.nn.init.calculate_gain(*wrong)
        except ValueError:
            refused.append(wrong[0])
    return {"gains": torch.tensor([float(gain) for gain in gains], dtype=torch.float64), "refused": refused}


_fill = into(FILLS)


@_fill
def uniform(t: Tensor, g: Any) -> Any:
    return torch.nn.init.uniform_(t, generator=g)


@_fill
def uniform_wide(t: Tensor, g: Any) -> Any:
    return torch.nn.init.uniform_(t, -3.0, 1.0, generator=g)


@_fill
def uniform_to_zero(t: Tensor, g: Any) -> Any:
    return torch.nn.init.uniform_(t, a=-2.0, b=0.0, generator=g)


@_fill
def normal(t: Tensor, g: Any) -> Any:
    return torch.nn.init.normal_(t, generator=g)


@_fill
def normal_moved(t: Tensor, g: Any) -> Any:
    return torch.nn.init.normal_(t, mean=-2.0, std=0.5, generator=g)


@_fill
def normal_fixed(t: Tensor, g: Any) -> Any:
    return torch.nn.init.normal_(t, 0.75, 0.0, generator=g)


@_fill
def constant_zero(t: Tensor, g: Any) -> Any:
    return torch.nn.init.constant_(t, 0)


@_fill
def constant_negative(t: Tensor, g: Any) -> Any:
    return torch.nn.init.constant_(t, val=-2.5)


@_fill
def ones(t: Tensor, g: Any) -> Any:
    return torch.nn.init.ones_(t)


@_fill
def zeros(t: Tensor, g: Any) -> Any:
    return torch.nn.init.zeros_(t)


@_fill
def eye(t: Tensor, g: Any) -> Any:
    return torch.nn.init.eye_(t)


@_fill
def dirac(t: Tensor, g: Any) -> Any:
    return torch.nn.init.dirac_(t)


@_fill
def dirac_of_two(t: Tensor, g: Any) -> Any:
    return torch.nn.init.dirac_(t, groups=2)


@_fill
def xavier_uniform(t: Tensor, g: Any) -> Any:
    return torch.nn.init.xavier_uniform_(t, generator=g)


@_fill
def xavier_uniform_wide(t: Tensor, g: Any) -> Any:
    return torch.nn.init.xavier_uniform_(t, 4.0, g)


@_fill
def xavier_uniform_zero(t: Tensor, g: Any) -> Any:
    return torch.nn.init.xavier_uniform_(t, gain=0.0, generator=g)


@_fill
def xavier_normal(t: Tensor, g: Any) -> Any:
    return torch.nn.init.xavier_normal_(t, generator=g)


@_fill
def xavier_normal_wide(t: Tensor, g: Any) -> Any:
    return torch.nn.init.xavier_normal_(t, gain=4.0, generator=g)


@_fill
def kaiming_uniform(t: Tensor, g: Any) -> Any:
    return torch.nn.init.kaiming_uniform_(t, generator=g)


@_fill
def kaiming_uniform_steep(t: Tensor, g: Any) -> Any:
    return torch.nn.init.kaiming_uniform_(t, a=3.0, mode="fan_out", generator=g)


@_fill
def kaiming_uniform_tanh(t: Tensor, g: Any) -> Any:
    return torch.nn.init.kaiming_uniform_(t, mode="fan_out", nonlinearity="tanh", generator=g)


@_fill
def kaiming_uniform_linear(t: Tensor, g: Any) -> Any:
    return torch.nn.init.kaiming_uniform_(t, 2.0, "fan_in", "linear", g)


@_fill
def kaiming_normal(t: Tensor, g: Any) -> Any:
    return torch.nn.init.kaiming_normal_(t, generator=g)


@_fill
def kaiming_normal_steep(t: Tensor, g: Any) -> Any:
    return torch.nn.init.kaiming_normal_(t, a=3.0, generator=g)


@_fill
def kaiming_normal_selu(t: Tensor, g: Any) -> Any:
    return torch.nn.init.kaiming_normal_(t, mode="fan_out", nonlinearity="selu", generator=g)


@_fill
def kaiming_normal_relu(t: Tensor, g: Any) -> Any:
    return torch.nn.init.kaiming_normal_(t, 5.0, "fan_out", "relu", g)


@_fill
def truncated(t: Tensor, g: Any) -> Any:
    return torch.nn.init.trunc_normal_(t, generator=g)


@_fill
def truncated_narrow(t: Tensor, g: Any) -> Any:
    return torch.nn.init.trunc_normal_(t, mean=0.25, std=1.0, a=-0.5, b=0.75, generator=g)


@_fill
def truncated_beside(t: Tensor, g: Any) -> Any:
    return torch.nn.init.trunc_normal_(t, 1.5, 1.0, -0.5, 0.5, g)


@_fill
def truncated_moved(t: Tensor, g: Any) -> Any:
    return torch.nn.init.trunc_normal_(t, 1.0, 0.5, -1.0, 3.0, g)


@_fill
def orthogonal(t: Tensor, g: Any) -> Any:
    return torch.nn.init.orthogonal_(t, generator=g)


@_fill
def orthogonal_wide(t: Tensor, g: Any) -> Any:
    return torch.nn.init.orthogonal_(t, gain=3.0, generator=g)


@_fill
def sparse_half(t: Tensor, g: Any) -> Any:
    return torch.nn.init.sparse_(t, sparsity=0.5, generator=g)


@_fill
def sparse_tenth(t: Tensor, g: Any) -> Any:
    return torch.nn.init.sparse_(t, 0.1, 2.0, g)


@_fill
def linear_weight(t: Tensor, g: Any) -> Any:
    layer = torch.nn.Linear(t.shape[1], t.shape[0], dtype=t.dtype)
    with torch.no_grad():
        return t.copy_(layer.weight)


@_fill
def linear_bias(t: Tensor, g: Any) -> Any:
    layer = torch.nn.Linear(4, t.numel(), dtype=t.dtype)
    with torch.no_grad():
        return t.copy_(layer.bias.reshape(t.shape))


@_fill
def linear_reset(t: Tensor, g: Any) -> Any:
    layer = torch.nn.Linear(t.shape[1], t.shape[0], bias=False, dtype=t.dtype)
    torch.nn.init.ones_(layer.weight)
    layer.reset_parameters()
    with torch.no_grad():
        return t.copy_(layer.weight)


@_fill
def embedding(t: Tensor, g: Any) -> Any:
    layer = torch.nn.Embedding(t.shape[0], t.shape[1], dtype=t.dtype)
    with torch.no_grad():
        return t.copy_(layer.weight)


@_fill
def truncated_fine(t: Tensor, g: Any) -> Any:
    return torch.nn.init.trunc_normal_(t, 0.125, 0.0625, 0.0625, 0.1875, g)


@_fill
def orthogonal_firsts(t: Tensor, g: Any) -> Any:
    """The first elements of as many unit vectors."""
    firsts = [torch.nn.init.orthogonal_(torch.empty(2, 1), generator=g)[0, 0] for _ in range(t.numel())]
    with torch.no_grad():
        return t.copy_(torch.stack(firsts).reshape(t.shape)) if firsts else t
