# law:  A target outside the classes, weights or targets of another number, a smoothing outside 0 … 1, targets of fractions and an unknown reduction are refused.
# case: Prediction(call='in_pieces', mistake='target_beyond')
# got:  accepted, expected IndexError or RuntimeError or ValueError or AssertionError
import sys

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # 1 is for the bug alone, 0 for its end

import torch
import torch.distributed.device_mesh

torch.set_num_threads(1)
weight = torch.full((24,), torch.nan).as_strided((4, 2), (2, 1), 8).copy_(torch.tensor([[1, 2], [2, -1], [1, 0], [0, -2]]))
tokens = torch.full((19,), 1515870810).as_strided((3,), (1,), 8).copy_(torch.tensor([3, 3, 2]))
targets = torch.full((19,), 1515870810).as_strided((3,), (1,), 8).copy_(torch.tensor([1, 2, 4]))
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


def of_logits(hidden, table, targets, loss ):
    """A loss of what the head scores, in one batch."""
    logits, wanted = flat(torch.nn.functional.linear(hidden, table, None), targets)
    return shaped(loss(logits, wanted), hidden)


def in_pieces(hidden, table, targets, flags ):
    """The classes are in pieces, of which this process has them all."""
    from torch.distributed.tensor import DTensor, Shard

    if not torch.distributed.is_initialized():
        store = torch.distributed.HashStore()  # type: ignore[attr-defined]
        torch.distributed.init_process_group("gloo", rank=0, world_size=1, store=store)
    mesh = torch.distributed.device_mesh.init_device_mesh("cpu", (1,))

    def loss(logits, wanted):
        spread = DTensor.from_local(logits, mesh, [Shard(logits.dim() - 1)])
        found = torch.nn.functional.cross_entropy(spread, wanted, None, **flags)
        return found.full_tensor()

    return of_logits(hidden, table, targets, loss)


def in_parallel():
    """Losses of logits whose classes are in pieces are computed in pieces."""
    from torch.distributed.tensor.parallel import loss_parallel

    return loss_parallel()


def predicted(flags, weight, tokens, targets, upstream):
    table = weight.detach().requires_grad_()
    hidden = torch.nn.functional.embedding(tokens, table, padding_idx=None)
    hidden.retain_grad()
    with in_parallel():
        value = in_pieces(hidden, table, targets, flags)
        value.backward(upstream)
    return {}


try:
    seen = predicted(weight=weight, tokens=tokens, targets=targets, upstream=upstream, flags={'reduction': 'mean'})
except (IndexError, RuntimeError, ValueError, AssertionError) as error:
    print("raised, as it should:", repr(error))
    sys.exit(0)
print("no error, expected IndexError or RuntimeError or ValueError or AssertionError")
sys.exit(1)
