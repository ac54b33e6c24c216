# law:  A weight that is tied is one Parameter after the passage: it is counted once, and stands under all of its names.
# case: PassageCase(route='made_without_initialisation')
# got:  2, expected 1
import sys

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # 1 is for the bug alone, 0 for its end

import torch

torch.set_num_threads(1)
weight = torch.full((28,), torch.nan).as_strided((4, 3), (3, 1), 8).copy_(torch.tensor([[3, -3, 0], [3, -1, 3], [2, -2, 3], [-1, 1, 3]]))
tokens = torch.full((19,), 1515870810).as_strided((3,), (1,), 8).fill_(2)
upstream = torch.full((28,), torch.nan).as_strided((3, 4), (4, 1), 8).copy_(torch.tensor([[0, 2, -1, -1], [2, -2, -1, 0], [1, 0, 1, 0]]))


class Flat(torch.nn.Module):
    """An embedding, and a head with its weight."""

    def __init__(self, rows, width, biased, padding, device=None):
        super().__init__()
        self.embedding = torch.nn.Embedding(rows, width, padding, device=device)
        self.head = torch.nn.Linear(width, rows, biased, device=device)
        self.head.weight = self.embedding.weight

    def forward(self, tokens):  # type: ignore[no-untyped-def]
        return self.head(self.embedding(tokens))


def flat(*sizes):
    return Flat(*sizes)


def made_without_initialisation(model):
    rows, width = model.head.weight.shape
    padding = next(module.padding_idx for module in model.children() if isinstance(module, torch.nn.Embedding))
    biased = model.head.bias is not None
    other = torch.nn.utils.skip_init(type(model), rows, width, biased, padding, device="cpu")
    for name, parameter in other.named_parameters():  # of a weight there is one, unless the tie is lost
        parameter.requires_grad_(name.endswith("bias") or model.head.weight.requires_grad)
    other.load_state_dict(model.state_dict())
    return other


def filled(weight ):
    """A tied model of these numbers."""
    model = flat(weight.shape[0], weight.shape[1], False, None)
    with torch.no_grad():
        model.head.weight.copy_(weight)
    model.head.weight.requires_grad_(True)
    return model


def passed(weight, tokens, upstream):
    model = filled(weight)
    checkpoint = {'' + name: 2 * value for name, value in model.state_dict().items()}
    other = made_without_initialisation(model)
    # In its order one name may stand before another; what counts is that each is there.
    weights = {name: p for name, p in other.named_parameters(remove_duplicate=False) if name.endswith("weight")}
    parameters = [parameter for _, parameter in other.named_parameters()]
    seen = {"names": sorted(other.state_dict()), "count": len(parameters)}
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
        other(tokens).clone()
        model(tokens).clone()
    try:
        other.load_state_dict(checkpoint)
        with torch.no_grad():
            other(tokens).clone()
    except RuntimeError as error:
        str(error).splitlines()[-1].strip()
    return seen


seen = passed(weight=weight, tokens=tokens, upstream=upstream)
got, expected, wrong = seen["count"], 1, 2
got = got.item() if isinstance(got, torch.Tensor) else got
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
