# law:  A head that is parametrized leaves the embedding that is tied to it with the rows that it had.
# case: PassageCase(what='parametrized', route='halved')
# got:  6 -6 0 6 -2 6 4 -4 …, expected 3 -3 0 3 -1 3 2 -2 … (11 of 12 elements differ)
import sys

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # 1 is for the bug alone, 0 for its end

import torch

torch.set_num_threads(1)
weight = torch.full((28,), torch.nan).as_strided((4, 3), (3, 1), 8).copy_(torch.tensor([[3, -3, 0], [3, -1, 3], [2, -2, 3], [-1, 1, 3]]))
tokens = torch.full((19,), 1515870810).as_strided((3,), (1,), 8).fill_(2)


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


class Halving(torch.nn.Module):
    """Half the original tensor, which is made of a weight as twice of it."""

    def forward(self, original):
        return original / 2

    def right_inverse(self, weight):
        return 2 * weight


def halved(head):
    torch.nn.utils.parametrize.register_parametrization(head, "weight", Halving())


def filled(weight ):
    """A tied model of these numbers."""
    model = flat(weight.shape[0], weight.shape[1], False, None)
    with torch.no_grad():
        model.head.weight.copy_(weight)
    model.head.weight.requires_grad_(True)
    return model


def parametrized(weight):
    model = filled(weight)
    table = next(module for module in model.children() if isinstance(module, torch.nn.Embedding))
    halved(model.head)
    kept = getattr(model.head.parametrizations.weight, "original", None)
    with torch.no_grad():
        rows, product = table(torch.arange(len(weight))).clone(), model.head.weight.clone()
    return {"rows": rows, "original": kept is table.weight}


seen = parametrized(weight=weight)
got, expected, wrong = seen["rows"][0, 0], 3.0, 6.0
got = got.item() if isinstance(got, torch.Tensor) else got
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
