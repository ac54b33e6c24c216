# law:  The table's gradient is dZᵀ H from the head plus dZ W at the rows that were looked up, with dZ = g (softmax(Z) Σ A − A).
# case: Prediction(call='chunked', ignored='all')
# got:  nan nan nan nan nan nan nan nan, expected 0 0 0 0 0 0 0 0 (8 of 8 elements differ)
import sys

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # 1 is for the bug alone, 0 for its end

import torch
import contextlib

torch.set_num_threads(1)
weight = torch.full((24,), torch.nan).as_strided((4, 2), (2, 1), 8).copy_(torch.tensor([[1, 2], [2, -1], [1, 0], [0, -2]]))
tokens = torch.full((19,), 1515870810).as_strided((3,), (1,), 8).copy_(torch.tensor([3, 3, 2]))
targets = torch.full((19,), 1515870810).as_strided((3,), (1,), 8).fill_(-100)
upstream = torch.full((17,), torch.nan).as_strided((), (), 8).copy_(torch.tensor(2))


def flat(rows, targets):
    """Rows, and their targets or distributions, in one batch."""
    if rows.dim() < 3:
        return rows, targets
    whole = targets.dim() == rows.dim()
    return rows.flatten(0, -2), targets.flatten(0, -2) if whole else targets.flatten()


def shaped(loss, hidden):
    """A loss for each token of those that were made one batch, in the tokens' shape."""
    return loss.reshape(hidden.shape[:-1]) if loss.dim() and hidden.dim() > 2 else loss


def of_linear(hidden, table, targets, flags ):
    """The loss that scores by itself."""
    rows, wanted = flat(hidden, targets)
    judge = torch.nn.functional
    return shaped(
        judge.linear_cross_entropy(rows, table, wanted, linear_bias=None, weight=None, **flags), hidden
    )


def chunked(hidden, table, targets, flags ):
    """Two tokens at a time."""
    modules = torch.nn
    options = modules.LinearCrossEntropyOptions(batch_chunk_size=2)
    return of_linear(hidden, table, targets, flags | {"options": options})


def plainly():
    return contextlib.nullcontext()


def predicted(flags, weight, tokens, targets, upstream):
    table = weight.detach().requires_grad_()
    hidden = torch.nn.functional.embedding(tokens, table, padding_idx=None)
    hidden.retain_grad()
    with plainly():
        value = chunked(hidden, table, targets, flags)
        value.backward(upstream)
    return {"weight_grad": table.grad}


seen = predicted(weight=weight, tokens=tokens, targets=targets, upstream=upstream, flags={'reduction': 'mean'})
got, expected = seen["weight_grad"][0, 0], 0.0
got = got.item() if isinstance(got, torch.Tensor) else got
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got != got else 2)
