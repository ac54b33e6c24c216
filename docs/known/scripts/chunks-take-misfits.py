# law:  A target outside the classes, weights or targets of another number, a smoothing outside 0 … 1, targets of fractions and an unknown reduction are refused.
# case: Prediction(call='chunked', mistake='targets_more')
# got:  accepted, expected IndexError or RuntimeError or ValueError or AssertionError
import sys

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # 1 is for the bug alone, 0 for its end

import torch
import contextlib

torch.set_num_threads(1)
weight = torch.full((24,), torch.nan).as_strided((4, 2), (2, 1), 8).copy_(torch.tensor([[1, 2], [2, -1], [1, 0], [0, -2]]))
tokens = torch.full((19,), 1515870810).as_strided((3,), (1,), 8).copy_(torch.tensor([3, 3, 2]))
targets = torch.full((20,), 1515870810).as_strided((4,), (1,), 8).copy_(torch.tensor([1, 2, 3, 0]))
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
    return {}


try:
    seen = predicted(weight=weight, tokens=tokens, targets=targets, upstream=upstream, flags={'reduction': 'mean'})
except (IndexError, RuntimeError, ValueError, AssertionError) as error:
    print("raised, as it should:", repr(error))
    sys.exit(0)
print("no error, expected IndexError or RuntimeError or ValueError or AssertionError")
sys.exit(1)
