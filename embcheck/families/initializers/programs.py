"""Programs: a tensor is filled by torch.nn.init, or a linear layer by itself."""

from collections.abc import Callable
from typing import Any

import torch

from embcheck.core.registry import named
from embcheck.families.lookup.programs import Tensor, seeded

#: Fills a tensor, with a generator or with torch's own.
Fill = Callable[..., Any]


def filled(
    fill: Fill,
    call: tuple[Any, ...],
    sampler: tuple[Any, ...] | None,
    own_generator: bool,
    trains: bool,
    seed: int,
    repeats: int,
    weight: Tensor,
) -> dict[str, Any]:
    import warnings

    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        if not weight.numel():
            warnings.simplefilter("ignore")  # filling nothing warns
        seeded(seed)
        generator = torch.Generator().manual_seed(seed) if own_generator else None
        target = torch.nn.Parameter(weight, requires_grad=trains)
        gradient = target.grad = torch.ones_like(target) if trains else None
        mark = (target.data_ptr(), target.stride(), target.dtype)
        version, state, before = target._version, torch.get_rng_state(), target.detach().clone()

        layers = []

        def fill_again() -> Tensor:
            target.detach().copy_(before)
            layers.append(described(fill(target, generator, *call)))
            return target.detach().clone()

        returned = fill(target, generator, *call)
        kept = (target.data_ptr(), target.stride(), target.dtype) == mark
        values = target.detach().clone()
        undisturbed = torch.equal(torch.get_rng_state(), state)
        following = fill_again()
        seeded(seed)
        if generator is not None:
            generator.manual_seed(seed)
        again, following_again = fill_again(), fill_again()
        drawn = None
        if sampler is not None:
            seeded(seed)
            if generator is not None:
                generator.manual_seed(seed)
            drawn = getattr(target.detach(), sampler[0])(*sampler[1:], generator=generator).clone()
        if isinstance(returned, torch.nn.Module):
            seeded(seed)
            drawn = documented(returned, call[0]).reshape(target.shape)
        repeated = [fill_again().flatten() for _ in range(repeats)]
        rows = torch.nn.Parameter(torch.full((2, *target.shape), 7.0, dtype=target.dtype))
        fill(rows[0], generator, *call)
    return {
        "values": values,
        "following": following,
        "again": again,
        "following_again": following_again,
        "drawn": drawn,
        "repeated": torch.stack(repeated) if repeated else None,
        "rows": rows.detach(),
        "returned": returned is target or isinstance(returned, torch.nn.Module),
        "placed": kept,
        "counted": target._version > version or not weight.numel(),
        "rooted": target.is_leaf and target.requires_grad == trains,
        "graded": target.grad is gradient and (gradient is None or bool((gradient == 1).all())),
        "undisturbed": undisturbed,
        "layers": [described(returned), *layers],
    }


def fill_by(t: Tensor, g: Any, function: str, arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
    given = [g if value == "generator" else value for value in arguments]
    flags = {name: g if value == "generator" else value for name, value in named.items()}
    return getattr(torch.nn.init, function)(t, *given, **flags)


def copied(t: Tensor, layer: Any, name: str = "weight") -> Any:
    """Fills a tensor with what a new layer drew; the layer."""
    with torch.no_grad():
        t.copy_(getattr(layer, name).reshape(t.shape))
    return layer


def described(layer: Any) -> list[Any]:
    """What a new layer is like: nothing to be told of a tensor."""
    if isinstance(layer, Tensor):
        return []
    found = [(name, tuple(each.shape), str(each.dtype).removeprefix("torch."), each.requires_grad and each.is_leaf,
              each.is_contiguous()) for name, each in layer.named_parameters() if type(each) is torch.nn.Parameter]  # fmt: skip
    return [*found, layer.training]


def documented(layer: Any, fill: str) -> Tensor:
    """What a layer's documentation says that it draws, by the functions of torch.nn.init."""
    weight = torch.empty(layer.weight.shape, dtype=layer.weight.dtype)
    if isinstance(layer, torch.nn.Embedding):
        return torch.nn.init.normal_(weight)
    torch.nn.init.kaiming_uniform_(weight, a=5**0.5)
    bound = 1 / layer.in_features**0.5
    return weight if fill != "linear_bias" else torch.nn.init.uniform_(weight.new_empty(len(weight)), -bound, bound)


def linear(t: Tensor, bias: bool = True) -> Any:
    return torch.nn.Linear(t.shape[1], t.shape[0], bias, dtype=t.dtype)


#: Those that are no functions of torch.nn.init.
OTHERS: dict[str, Fill] = named(
    {
        "linear_weight": lambda t, g, *call: copied(t, linear(t)),
        "linear_without_bias": lambda t, g, *call: copied(t, linear(t, bias=False)),
        "linear_bias": lambda t, g, *call: copied(t, torch.nn.Linear(4, t.numel(), dtype=t.dtype), "bias"),
        "embedding": lambda t, g, *call: copied(t, torch.nn.Embedding(t.shape[0], t.shape[1], dtype=t.dtype)),
    },
    "fill_by_",
)
