# law:  An ensemble of tied models by stack_module_state, vmap and functional_call gives what each of its models gives.
# case: PassageCase(what='ensemble', route='meta')
# got:  5.60519e-45 0 0 0 0 0 1.68156e-44 0 …, expected 12 17 17 5 12 17 17 5 … (36 of 36 elements differ)
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


def filled(weight ):
    """A tied model of these numbers."""
    model = flat(weight.shape[0], weight.shape[1], False, None)
    with torch.no_grad():
        model.head.weight.copy_(weight)
    model.head.weight.requires_grad_(True)
    return model


def stacked(weight, tokens):
    import copy

    models = [filled(factor * weight) for factor in (1, -2, 3)]
    params, buffers = torch.func.stack_module_state(models)
    base = copy.deepcopy(models[0]).to('meta')

    def call(p, b):
        return torch.func.functional_call(base, (p, b), (tokens,))

    # What nobody writes must not be what an earlier call has left in memory.
    spoiled = [torch.full((len(models), len(tokens), len(weight)), torch.nan) for _ in range(16)]
    del spoiled
    with torch.no_grad():
        value = torch.func.vmap(call)(params, buffers)
    return {"value": value.clone()}


seen = stacked(weight=weight, tokens=tokens)
got, expected, wrong = seen["value"][0, 0, 0], 12.0, 5.605193857299268e-45
got = got.item() if isinstance(got, torch.Tensor) else got
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1)  # what is wrong is memory that nobody wrote: it holds anything
