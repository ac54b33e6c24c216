# law:  The loss of a tied head is the documented one: −log softmax of the target's class, weighted, smoothed, without what is ignored; a mean divides by the weights of what it judges, or by the number of distributions.
# case: Prediction(call='chunked', ignored='some', poisoned=True)
# got:  nan, expected 4.14322 within 7.52e-06
import sys

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # 1 is for the bug alone, 0 for its end

import torch
import contextlib

torch.set_num_threads(1)
weight = torch.full((24,), torch.nan).as_strided((4, 2), (2, 1), 8).copy_(torch.tensor([[1, 2], [2, -1], [1, 0], [0, -2]]))
tokens = torch.full((19,), 1515870810).as_strided((3,), (1,), 8).copy_(torch.tensor([3, 3, 2]))
targets = torch.full((19,), 1515870810).as_strided((3,), (1,), 8).copy_(torch.tensor([-100, 2, -100]))
upstream = torch.full((17,), torch.nan).as_strided((), (), 8).copy_(torch.tensor(2))
mask = torch.full((19,), torch.nan).as_strided((3, 1), (1, 1), 8).copy_(torch.tensor([[2143289344], [1065353216], [2143289344]], dtype=torch.int32).view(torch.float32))


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


def predicted(flags, weight, tokens, targets, upstream, mask=None):
    table = weight.detach().requires_grad_()
    hidden = torch.nn.functional.embedding(tokens, table, padding_idx=None)
    hidden.retain_grad()
    with plainly():
        value = chunked(hidden if mask is None else hidden * mask, table, targets, flags)
        value.backward(upstream)
    return {"value": value}


seen = predicted(weight=weight, tokens=tokens, targets=targets, upstream=upstream, mask=mask, flags={'reduction': 'mean'})
got, expected = seen["value"], 4.143222369708898
got = got.item() if isinstance(got, torch.Tensor) else got
print("got", got, "expected", expected)
sys.exit(0 if abs(got - expected) <= 7.519644864208577e-06 else 1 if got != got else 2)
