# law:  A valid case is accepted: nothing is raised; and torch's settings (grad mode, default dtype, threads …) stay.
# case: Prediction(embedding_dim=0, call='chunked_by_default')
# got:  raised ZeroDivisionError: integer division or modulo by zero
import sys

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # 1 is for the bug alone, 0 for its end

import torch
import contextlib

torch.set_num_threads(1)
weight = torch.full((17,), torch.nan).as_strided((4, 0), (1, 1), 8)
tokens = torch.full((19,), 1515870810).as_strided((3,), (1,), 8).copy_(torch.tensor([3, 3, 2]))
targets = torch.full((19,), 1515870810).as_strided((3,), (1,), 8).copy_(torch.tensor([1, 2, 3]))
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


def chunked_by_default(hidden, table, targets, flags ):
    modules = torch.nn
    options = modules.LinearCrossEntropyOptions()
    return of_linear(hidden, table, targets, flags | {"options": options})


def plainly():
    return contextlib.nullcontext()


def predicted(flags, weight, tokens, targets, upstream):
    table = weight.detach().requires_grad_()
    hidden = torch.nn.functional.embedding(tokens, table, padding_idx=None)
    hidden.retain_grad()
    with plainly():
        value = chunked_by_default(hidden, table, targets, flags)
        value.backward(upstream)
    return {}


try:
    seen = predicted(weight=weight, tokens=tokens, targets=targets, upstream=upstream, flags={'reduction': 'mean'})
except Exception as error:
    if type(error).__name__ != 'ZeroDivisionError' or 'integer division or modulo by zero' not in str(error):
        raise
    print("raised", repr(error), "expected no error")
    sys.exit(1)
print("no error")
