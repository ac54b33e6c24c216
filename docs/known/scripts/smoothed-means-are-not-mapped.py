# law:  A valid case is accepted: nothing is raised; and torch's settings (grad mode, default dtype, threads …) stay.
# case: Prediction(shape=(2, 3), call='mapped_batches', weighted=True, label_smoothing=0.25)
# got:  raised RuntimeError: vmap: Attempted to vmap over `mask` in torch.masked_select(self, mask) We cannot
# support this because for each batch this would return a differently shaped Tens
import sys

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # 1 is for the bug alone, 0 for its end

import torch
import contextlib

torch.set_num_threads(1)
weight = torch.full((24,), torch.nan).as_strided((4, 2), (2, 1), 8).copy_(torch.tensor([[1, 2], [2, -1], [1, 0], [0, -2]]))
tokens = torch.full((22,), 1515870810).as_strided((2, 3), (3, 1), 8).copy_(torch.tensor([[3, 3, 2], [0, 0, 2]]))
targets = torch.full((22,), 1515870810).as_strided((2, 3), (3, 1), 8).copy_(torch.tensor([[1, 2, 3], [1, 2, 3]]))
upstream = torch.full((17,), torch.nan).as_strided((), (), 8).copy_(torch.tensor(2))
class_weights = torch.full((20,), torch.nan).as_strided((4,), (1,), 8).copy_(torch.tensor([1.0, 2.0, 0.0, 0.5], dtype=torch.float32))


def mapped_batches(hidden, table, targets, class_weights, flags ):
    """What lies along the first axis for itself, by vmap; the sum of those losses."""
    logits = torch.nn.functional.linear(hidden, table, None)
    whole = targets.dim() == logits.dim()
    rows, wanted = logits.flatten(1, -2), targets.flatten(1, -2) if whole else targets.flatten(1)
    each = torch.vmap(lambda row, target: torch.nn.functional.cross_entropy(row, target, class_weights, **flags))
    found = each(rows, wanted)
    return found.reshape(hidden.shape[:-1]) if flags["reduction"] == "none" else found.sum()


def plainly():
    return contextlib.nullcontext()


def predicted(flags, weight, tokens, targets, upstream, class_weights=None):
    table = weight.detach().requires_grad_()
    hidden = torch.nn.functional.embedding(tokens, table, padding_idx=None)
    hidden.retain_grad()
    with plainly():
        value = mapped_batches(hidden, table, targets, class_weights, flags)
        value.backward(upstream)
    return {}


try:
    seen = predicted(weight=weight, tokens=tokens, targets=targets, upstream=upstream, class_weights=class_weights, flags={'reduction': 'mean', 'label_smoothing': 0.25})
except Exception as error:
    if type(error).__name__ != 'RuntimeError' or 'Attempted to vmap over `mask` in torch.masked_select(self, mask) We cannot suppo' not in str(error):
        raise
    print("raised", repr(error), "expected no error")
    sys.exit(1)
print("no error")
