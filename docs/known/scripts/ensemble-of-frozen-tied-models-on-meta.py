# law:  A valid case is accepted: nothing is raised; and torch's settings (grad mode, default dtype, threads …) stay.
# case: PassageCase(what='ensemble', route='meta', bias=True, frozen=True)
# got:  raised RuntimeError: Tensor on device meta is not on the expected device cpu!
import sys

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # 1 is for the bug alone, 0 for its end

import torch

torch.set_num_threads(1)
weight = torch.full((28,), torch.nan).as_strided((4, 3), (3, 1), 8).copy_(torch.tensor([[3, -3, 0], [3, -1, 3], [2, -2, 3], [-1, 1, 3]]))
tokens = torch.full((19,), 1515870810).as_strided((3,), (1,), 8).fill_(2)
bias = torch.full((20,), torch.nan).as_strided((4,), (1,), 8).copy_(torch.tensor([1, 2, 3, 4]))


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


def filled(weight, bias ):
    """A tied model of these numbers."""
    model = flat(weight.shape[0], weight.shape[1], bias is not None, None)
    with torch.no_grad():
        model.head.weight.copy_(weight)
        if bias is not None:
            model.head.bias.copy_(bias)
    model.head.weight.requires_grad_(False)
    return model


def stacked(weight, tokens, bias=None):
    import copy

    models = [filled(factor * weight, bias) for factor in (1, -2, 3)]
    params, buffers = torch.func.stack_module_state(models)
    base = copy.deepcopy(models[0]).to('meta')

    def call(p, b):
        return torch.func.functional_call(base, (p, b), (tokens,))

    # What nobody writes must not be what an earlier call has left in memory.
    spoiled = [torch.full((len(models), len(tokens), len(weight)), torch.nan) for _ in range(16)]
    del spoiled
    with torch.no_grad():
        value = torch.func.vmap(call)(params, buffers)
    return {}


try:
    seen = stacked(weight=weight, tokens=tokens, bias=bias)
except Exception as error:
    if type(error).__name__ != 'RuntimeError' or 'Tensor on device meta is not on the expected device cpu!' not in str(error):
        raise
    print("raised", repr(error), "expected no error")
    sys.exit(1)
print("no error")
