# law:  A valid case is accepted: nothing is raised; and torch's settings (grad mode, default dtype, threads …) stay.
# case: PassageCase(route='unflattened_copied')
# got:  raised RuntimeError: Cannot access data pointer of Tensor (e.g. FakeTensor, FunctionalTensor). If you're
# using torch.compile/export/fx, it is likely that we are erroneously tracing
import sys

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # 1 is for the bug alone, 0 for its end

import torch
import copy
import torch.export
import torch.export.unflatten

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


def unflattened_copied(model, tokens):
    return copy.deepcopy(torch.export.unflatten(torch.export.export(model, (tokens,), strict=False)))


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
    other = unflattened_copied(model, tokens)
    # In its order one name may stand before another; what counts is that each is there.
    weights = {name: p for name, p in other.named_parameters(remove_duplicate=False) if name.endswith("weight")}
    parameters = [parameter for _, parameter in other.named_parameters()]
    seen = {"names": sorted(other.state_dict())}
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


try:
    seen = passed(weight=weight, tokens=tokens, upstream=upstream)
except Exception as error:
    if type(error).__name__ != 'RuntimeError' or 'Cannot access data pointer of Tensor (e.g. FakeTensor, FunctionalTensor). If you' not in str(error):
        raise
    print("raised", repr(error), "expected no error")
    sys.exit(1)
print("no error")
