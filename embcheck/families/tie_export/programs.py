"""Programs: tied models go through a route that preserves a module, get a parametrized head, or are stacked to an ensemble."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.utils.parametrize

from embcheck.core.registry import named
from embcheck.families.tie_preservation.programs import Module, Tensor

# Their forward has no annotations: those that are text (postponed) fx writes into its code as they are.


class Flat(torch.nn.Module):
    """An embedding, and a head with its weight."""

    def __init__(self, rows: int, width: int, biased: bool, padding: int | None, device: Any = None) -> None:
        super().__init__()
        self.embedding = torch.nn.Embedding(rows, width, padding, device=device)
        self.head = torch.nn.Linear(width, rows, biased, device=device)
        self.head.weight = self.embedding.weight

    def forward(self, tokens):  # type: ignore[no-untyped-def]
        return self.head(self.embedding(tokens))


class HeadFirst(Flat):
    """The same, with the head's name first."""

    def __init__(self, rows: int, width: int, biased: bool, padding: int | None, device: Any = None) -> None:
        super().__init__(rows, width, biased, padding, device)
        embedding = self.embedding
        del self.embedding
        self.embedding = embedding


class Shared(torch.nn.Module):
    """One embedding under two names, which are both used, and a head with its weight."""

    def __init__(self, *sizes: Any) -> None:
        super().__init__()
        flat = Flat(*sizes)
        self.source = self.target = flat.embedding
        self.head = flat.head

    def forward(self, tokens):  # type: ignore[no-untyped-def]
        return self.head(self.source(tokens) + self.target(tokens))


STRUCTURES: dict[str, Callable[..., Module]] = named(
    {
        "flat": lambda *sizes: Flat(*sizes),
        "head_first": lambda *sizes: HeadFirst(*sizes),
        "shared": lambda *sizes: Shared(*sizes),
    }
)

#: What a tied model is made of beside its numbers: its structure, its padding row, and whether its weight is frozen.
Built = tuple[Callable[..., Module], int | None, bool]


def filled(built: Built, weight: Tensor, bias: Tensor | None) -> Module:
    """A tied model of these numbers."""
    structure, padding, frozen = built
    model = structure(weight.shape[0], weight.shape[1], bias is not None, padding)
    with torch.no_grad():
        model.head.weight.data = weight.clone()  # which lies as that does
        if bias is not None:
            model.head.bias.copy_(bias)
    model.head.weight.requires_grad_(not frozen)
    return model


def blank(model: Module, device: str) -> Module:
    """Another model of that kind, which nobody has filled, on a device."""
    rows, width = model.head.weight.shape
    padding = next(module.padding_idx for module in model.children() if isinstance(module, torch.nn.Embedding))
    other = type(model)(rows, width, model.head.bias is not None, padding, device)
    other.head.weight.requires_grad_(model.head.weight.requires_grad)
    return other


def passed(
    built: Built,
    passage: Callable[..., Module],
    prefix: str,
    weight: Tensor,
    tokens: Tensor,
    upstream: Tensor,
    bias: Tensor | None = None,
) -> dict[str, Any]:
    model = filled(built, weight, bias)
    checkpoint = {prefix + name: 2 * value for name, value in model.state_dict().items()}
    before = list(model.parameters())
    other = passage(model, tokens)
    # In its order one name may stand before another; what counts is that each is there.
    weights = {name: p for name, p in other.named_parameters(remove_duplicate=False) if name.endswith("weight")}
    parameters = list(other.parameters())
    seen: dict[str, Any] = {
        "names": sorted(other.state_dict()),
        "listed": sorted(name for name, _ in other.named_parameters(remove_duplicate=False)),
        "count": len(parameters),
        "objects": len(set(weights.values())),
        "leaves": all(parameter.is_leaf for parameter in parameters),
        "trains": sorted({(name.endswith("weight"), p.requires_grad) for name, p in other.named_parameters()}),
    }
    value = other(tokens)
    seen["value"] = value.detach().clone()
    if value.requires_grad:
        value.backward(upstream)
    gradients = [p.grad for p in set(weights.values()) if p.is_leaf and p.grad is not None]
    seen["gradient"] = sum(gradients, torch.zeros_like(weight))
    # A route may give another module that holds the same Parameters, which then learn in both.
    seen["strayed"] = sum(p.grad is not None for p in {*before} - {*parameters} if p.is_leaf)
    if seen["leaves"]:
        # Parameters may share memory: see `embcheck.families.tie_preservation.programs`.
        torch.optim.SGD(other.parameters(), lr=0.5, foreach=False).step()
    with torch.no_grad():
        seen["stepped"] = other(tokens).clone()
        seen["left"] = model(tokens).clone()
        seen["weights"] = torch.stack([p.detach().clone() for p in weights.values()])
    try:
        other.load_state_dict(checkpoint)
        seen["refusal"] = ""
        with torch.no_grad():
            seen["restored"] = other(tokens).clone()
    except RuntimeError as error:
        seen["refusal"] = str(error).splitlines()[-1].strip()
    return seen


class Doubling(torch.nn.Module):
    """A parametrization: twice the original tensor."""

    def forward(self, original: Tensor) -> Tensor:
        return 2 * original


class Halving(torch.nn.Module):
    """Half the original tensor, which is made of a weight as twice of it."""

    def forward(self, original: Tensor) -> Tensor:
        return original / 2

    def right_inverse(self, weight: Tensor) -> Tensor:
        return 2 * weight


def registered(head: Module, parametrization: Module) -> None:
    torch.nn.utils.parametrize.register_parametrization(head, "weight", parametrization)


PARAMETRIZATIONS: dict[str, Callable[[Module], Any]] = named(
    {
        "doubled": lambda head: registered(head, Doubling()),
        "halved": lambda head: registered(head, Halving()),
        "orthogonal": lambda head: torch.nn.utils.parametrizations.orthogonal(head),
        "normed": lambda head: torch.nn.utils.parametrizations.weight_norm(head),
        "normed_spectrally": lambda head: torch.nn.utils.parametrizations.spectral_norm(head),
    }
)


def parametrized(
    built: Built, parametrization: Callable[[Module], Any], weight: Tensor, tokens: Tensor, bias: Tensor | None = None
) -> dict[str, Any]:
    model = filled(built, weight, bias)
    table = next(module for module in model.children() if isinstance(module, torch.nn.Embedding))
    parametrization(model.head)
    kept = getattr(model.head.parametrizations.weight, "original", None)
    with torch.no_grad():
        rows, product = table(torch.arange(len(weight))).clone(), model.head.weight.clone()
    return {"rows": rows, "product": product, "original": kept is table.weight}


def stacked(built: Built, device: str, weight: Tensor, tokens: Tensor, bias: Tensor | None = None) -> dict[str, Any]:
    import copy

    models = [filled(built, factor * weight, bias) for factor in (1, -2, 3)]
    params, buffers = torch.func.stack_module_state(models)
    base = copy.deepcopy(models[0]).to("meta" if device == "meta" else weight.device)

    def call(p: dict[str, Tensor], b: dict[str, Tensor]) -> Any:
        return torch.func.functional_call(base, (p, b), (tokens,))

    # What nobody writes must not be what an earlier call has left in memory.
    spoiled = [torch.full((len(models), len(tokens), len(weight)), torch.nan) for _ in range(16)]
    del spoiled
    with torch.no_grad():
        value = torch.func.vmap(call)(params, buffers)
    return {"place": value.device.type, "value": value.clone()}
