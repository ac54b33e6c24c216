# law:  After a step of SGD the outputs are those of the tied model, and the weight is the same under all of its names.
# case: PassageCase(route='scripted_copied')
# got:  12 17 17 5 12 17 17 5 …, expected -33.75 18.5 58.25 33.75 -33.75 18.5 58.25 33.75 … (12 of 12 elements
# differ)
from __future__ import annotations

import sys

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # 1 is for the bug alone, 0 for its end

import torch
import copy

torch.set_num_threads(1)
weight = torch.full((28,), torch.nan).as_strided((4, 3), (3, 1), 8).copy_(torch.tensor([[3, -3, 0], [3, -1, 3], [2, -2, 3], [-1, 1, 3]]))
tokens = torch.full((19,), 1515870810).as_strided((3,), (1,), 8).fill_(2)
upstream = torch.full((28,), torch.nan).as_strided((3, 4), (4, 1), 8).copy_(torch.tensor([[0, 2, -1, -1], [2, -2, -1, 0], [1, 0, 1, 0]]))


class Flat(torch.nn.Module):
    """An embedding, and a head with its weight."""

    def __init__(self, rows: int, width: int, biased: bool, padding: int | None, device: Any = None) -> None:
        super().__init__()
        self.embedding = torch.nn.Embedding(rows, width, padding, device=device)
        self.head = torch.nn.Linear(width, rows, biased, device=device)
        self.head.weight = self.embedding.weight

    def forward(self, tokens):  # type: ignore[no-untyped-def]
        return self.head(self.embedding(tokens))


def flat(*sizes: Any) -> Module:
    return Flat(*sizes)


def scripted_copied(model: Module) -> Module:
    return copy.deepcopy(torch.jit.script(model))


def filled(weight: Tensor ) -> Module:
    """A tied model of these numbers."""
    model = flat(weight.shape[0], weight.shape[1], False, None)
    with torch.no_grad():
        model.head.weight.copy_(weight)
    model.head.weight.requires_grad_(True)
    return model


def passed(weight: Tensor, tokens: Tensor, upstream: Tensor) -> dict[str, Any]:
    model = filled(weight)
    checkpoint = {'' + name: 2 * value for name, value in model.state_dict().items()}
    other = scripted_copied(model)
    # In its order one name may stand before another; what counts is that each is there.
    weights = {name: p for name, p in other.named_parameters(remove_duplicate=False) if name.endswith("weight")}
    parameters = [parameter for _, parameter in other.named_parameters()]
    seen: dict[str, Any] = {
        "names": sorted(other.state_dict()),
        "listed": sorted(name for name, _ in other.named_parameters(remove_duplicate=False)),
        "count": len(parameters),
        "objects": len({id(parameter) for parameter in weights.values()}),
        "leaves": all(parameter.is_leaf for parameter in parameters),
        "trains": sorted({(name.endswith("weight"), p.requires_grad) for name, p in other.named_parameters()}),
    }
    value = other(tokens)
    if value.requires_grad:
        value.backward(upstream)
    total = torch.zeros_like(weight)
    for parameter in {id(parameter): parameter for parameter in weights.values()}.values():
        if parameter.is_leaf and parameter.grad is not None:
            total += parameter.grad
    if all(parameter.is_leaf for parameter in parameters):
        torch.optim.SGD(other.parameters(), lr=0.5).step()
    with torch.no_grad():
        seen["stepped"] = other(tokens).clone()
        model(tokens).clone()
    try:
        other.load_state_dict(checkpoint)
        with torch.no_grad():
            other(tokens).clone()
    except RuntimeError as error:
        str(error).splitlines()[-1].strip()
    return seen


seen = passed(weight=weight, tokens=tokens, upstream=upstream)
got, expected, wrong = seen["stepped"][0, 0], -33.75, 12.0
got = got.item() if isinstance(got, torch.Tensor) else got
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if abs(got - wrong) <= 0.04575 else 2)
