# law:  A valid case is accepted: nothing is raised; and torch's settings (grad mode, default dtype, threads …) stay.
# case: Prediction(call='in_pieces', reduction='sum', ignored='some', weighted=True)
# got:  raised RuntimeError: index -100 is out of bounds for dimension 1 with size 4
import sys

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # 1 is for the bug alone, 0 for its end

import torch
import torch.distributed.device_mesh

torch.set_num_threads(1)
weight = torch.full((24,), torch.nan).as_strided((4, 2), (2, 1), 8).copy_(torch.tensor([[1, 2], [2, -1], [1, 0], [0, -2]]))
tokens = torch.full((19,), 1515870810).as_strided((3,), (1,), 8).copy_(torch.tensor([3, 3, 2]))
targets = torch.full((19,), 1515870810).as_strided((3,), (1,), 8).copy_(torch.tensor([-100, 2, -100]))
upstream = torch.full((17,), torch.nan).as_strided((), (), 8).copy_(torch.tensor(2))
class_weights = torch.full((20,), torch.nan).as_strided((4,), (1,), 8).copy_(torch.tensor([1.0, 2.0, 0.0, 0.5], dtype=torch.float32))


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


def in_pieces(hidden, table, targets, class_weights, flags ):
    """The classes are in pieces, of which this process has them all."""
    from torch.distributed.tensor import DTensor, Shard

    if not torch.distributed.is_initialized():
        store = torch.distributed.HashStore()  # type: ignore[attr-defined]
        torch.distributed.init_process_group("gloo", rank=0, world_size=1, store=store)
    mesh = torch.distributed.device_mesh.init_device_mesh("cpu", (1,))

    def loss(logits, wanted):
        spread = DTensor.from_local(logits, mesh, [Shard(logits.dim() - 1)])
        found = torch.nn.functional.cross_entropy(spread, wanted, class_weights, **flags)
        return found.full_tensor()

    return of_logits(hidden, table, targets, loss)


def in_parallel():
    """Losses of logits whose classes are in pieces are computed in pieces."""
    from torch.distributed.tensor.parallel import loss_parallel

    return loss_parallel()


def predicted(flags, weight, tokens, targets, upstream, class_weights=None):
    table = weight.detach().requires_grad_()
    hidden = torch.nn.functional.embedding(tokens, table, padding_idx=None)
    hidden.retain_grad()
    with in_parallel():
        value = in_pieces(hidden, table, targets, class_weights, flags)
        value.backward(upstream)
    return {}


try:
    seen = predicted(weight=weight, tokens=tokens, targets=targets, upstream=upstream, class_weights=class_weights, flags={'reduction': 'sum'})
except Exception as error:
    if type(error).__name__ != 'RuntimeError' or 'index -100 is out of bounds for dimension 1 with size 4' not in str(error):
        raise
    print("raised", repr(error), "expected no error")
    sys.exit(1)
print("no error")
