# law:  The loss of a tied head is the documented one: −log softmax of the target's class, weighted, smoothed, without what is ignored; a mean divides by the weights of what it judges, or by the number of distributions.
# case: Prediction(targets='probability', bias=True, barred=True)
# got:  nan, expected 2.19845 within 3.98e-06
import sys

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # 1 is for the bug alone, 0 for its end

import torch
import contextlib

torch.set_num_threads(1)
weight = torch.full((24,), torch.nan).as_strided((4, 2), (2, 1), 8).copy_(torch.tensor([[1, 2], [2, -1], [1, 0], [0, -2]]))
tokens = torch.full((19,), 1515870810).as_strided((3,), (1,), 8).copy_(torch.tensor([3, 3, 2]))
targets = torch.full((28,), torch.nan).as_strided((3, 4), (4, 1), 8).copy_(torch.tensor([[0.25, 0.125, 0.0, 0.0], [0.375, 0.0, 0.25, 0.0], [0.125, 0.125, 0.375, 0.0]], dtype=torch.float32))
upstream = torch.full((17,), torch.nan).as_strided((), (), 8).copy_(torch.tensor(2))
bias = torch.full((20,), torch.nan).as_strided((4,), (1,), 8).copy_(torch.tensor([-1082130432, 1065353216, 1065353216, -8388608], dtype=torch.int32).view(torch.float32))


def flat(rows, targets):
    """Rows, and their targets or distributions, in one batch."""
    if rows.dim() < 3:
        return rows, targets
    whole = targets.dim() == rows.dim()
    return rows.flatten(0, -2), targets.flatten(0, -2) if whole else targets.flatten()


def shaped(loss, hidden):
    """A loss for each token of those that were made one batch, in the tokens' shape."""
    return loss.reshape(hidden.shape[:-1]) if loss.dim() and hidden.dim() > 2 else loss


def of_logits(hidden, table, bias, targets, loss ):
    """A loss of what the head scores, in one batch."""
    logits, wanted = flat(torch.nn.functional.linear(hidden, table, bias), targets)
    return shaped(loss(logits, wanted), hidden)


def cross_entropy(hidden, table, bias, targets, flags ):
    return of_logits(
        hidden, table, bias, targets, lambda z, t: torch.nn.functional.cross_entropy(z, t, None, **flags)
    )


def plainly():
    return contextlib.nullcontext()


def predicted(flags, weight, tokens, targets, upstream, bias=None):
    table = weight.detach().requires_grad_()
    offset = None if bias is None else bias.detach().requires_grad_()
    hidden = torch.nn.functional.embedding(tokens, table, padding_idx=None)
    hidden.retain_grad()
    with plainly():
        value = cross_entropy(hidden, table, offset, targets, flags)
        value.backward(upstream)
    return {"value": value}


seen = predicted(weight=weight, tokens=tokens, targets=targets, upstream=upstream, bias=bias, flags={'reduction': 'mean'})
got, expected = seen["value"], 2.1984520257938405
got = got.item() if isinstance(got, torch.Tensor) else got
print("got", got, "expected", expected)
sys.exit(0 if abs(got - expected) <= 3.980607600144843e-06 else 1 if got != got else 2)
