# law:  The loss of a tied head is the documented one: −log softmax of the target's class, weighted, smoothed, without what is ignored; a mean divides by the weights of what it judges, or by the number of distributions.
# case: Prediction(num_embeddings=33, embedding_dim=6, shape=(17,), label_smoothing=0.25, scale=4, dtype='float16', seed=9)
# got:  inf, expected 200.493 within 7.04
import sys

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # 1 is for the bug alone, 0 for its end

import torch
import contextlib

torch.set_num_threads(1)
weight = torch.full((214,), torch.nan, dtype=torch.float16).as_strided((33, 6), (6, 1), 8).copy_(torch.tensor([[-4, 0, -4, 0, -4, 0], [-8, 4, -4, 8, 4, -8], [8, 0, 0, -8, 8, 8], [-4, 0, -8, -8, 4, -4], [0, -4, 0, 0, -4, -4], [0, 0, -8, 0, 4, -8], [-4, -4, -8, 8, 8, 8], [4, 8, 0, 0, -4, 8], [0, 8, 8, 8, 4, 8], [4, 4, 0, -4, 4, 8], [8, -4, 4, 4, 8, -8], [8, -8, 8, -4, -8, -4], [-4, -4, 4, -4, 4, -4], [-8, 0, -8, 4, 4, -8], [4, 8, -8, -4, 8, -8], [-4, -8, 8, -8, 0, 4], [0, -8, 0, -4, 8, 8], [-8, -8, 0, -4, 0, -4], [0, -8, 8, -4, 4, -4], [4, 0, 4, 4, -8, 4], [8, 0, 4, 4, -4, 0], [-8, 0, 0, -4, -4, 0], [4, -8, -8, 4, 0, 4], [0, 8, 0, 8, 4, 0], [8, -4, -4, 4, -8, -8], [4, 8, -8, 0, -8, 8], [-8, -8, 8, 8, 4, -8], [8, -8, 0, 0, 0, -4], [4, -8, 4, 4, 8, 0], [-4, 4, -4, -8, -8, 4], [8, -8, 4, -8, 8, 4], [-8, -4, 0, -8, 0, 0], [0, 8, -8, 0, 8, -4]]))
tokens = torch.full((33,), 1515870810).as_strided((17,), (1,), 8).copy_(torch.tensor([24, 19, 10, 29, 31, 10, 23, 26, 31, 25, 25, 17, 13, 19, 5, 23, 27]))
targets = torch.full((33,), 1515870810).as_strided((17,), (1,), 8).copy_(torch.tensor([32, 31, 2, 22, 3, 21, 24, 2, 26, 9, 0, 28, 13, 32, 31, 4, 7]))
upstream = torch.full((17,), torch.nan, dtype=torch.float16).as_strided((), (), 8).copy_(torch.tensor(2))


def flat(rows, targets):
    """Rows, and their targets or distributions, in one batch."""
    if rows.dim() < 3:
        return rows, targets
    whole = targets.dim() == rows.dim()
    return rows.flatten(0, -2), targets.flatten(0, -2) if whole else targets.flatten()


def shaped(loss, hidden):
    """A loss for each token of those that were made one batch, in the tokens' shape."""
    return loss.reshape(hidden.shape[:-1]) if loss.dim() and hidden.dim() > 2 else loss


def of_logits(hidden, table, targets, loss ):
    """A loss of what the head scores, in one batch."""
    logits, wanted = flat(torch.nn.functional.linear(hidden, table, None), targets)
    return shaped(loss(logits, wanted), hidden)


def cross_entropy(hidden, table, targets, flags ):
    return of_logits(
        hidden, table, targets, lambda z, t: torch.nn.functional.cross_entropy(z, t, None, **flags)
    )


def plainly():
    return contextlib.nullcontext()


def predicted(flags, weight, tokens, targets, upstream):
    table = weight.detach().requires_grad_()
    hidden = torch.nn.functional.embedding(tokens, table, padding_idx=None)
    hidden.retain_grad()
    with plainly():
        value = cross_entropy(hidden, table, targets, flags)
        value.backward(upstream)
    return {"value": value}


seen = predicted(weight=weight, tokens=tokens, targets=targets, upstream=upstream, flags={'reduction': 'mean', 'label_smoothing': 0.25})
got, expected, wrong = seen["value"], 200.49308663205835, float("inf")
got = got.item() if isinstance(got, torch.Tensor) else got
print("got", got, "expected", expected)
sys.exit(0 if abs(got - expected) <= 7.0416216171277295 else 1 if got == wrong else 2)
