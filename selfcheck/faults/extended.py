"""Faults of tables elsewhere, distributed and quantized, and of losses over tied heads."""

from typing import Any

import torch
import torch.ao.nn.quantized
from torch import nn

from selfcheck.forms import Call, after, afterwards, changes, instead, refusing
from selfcheck.site import Tensor

F = nn.functional
quantized: Any = torch.ao.nn.quantized

# -- several processes --------------------------------------------------------------------------------------------------


def sharded(table: Any) -> list[int]:
    """The axes along which a table is distributed."""
    return [place.dim for place in getattr(table, "placements", ()) if place.is_shard()]


@instead(F, "embedding", "dtensor")
def ranks_look_up_the_next_token(call: Call) -> Any:
    """In a replicated table every rank but the first looks up the next token."""
    replicated = hasattr(call.weight, "placements") and not sharded(call.weight)
    behind = replicated and call.weight.device_mesh.get_rank() > 0
    return call(input=(call.input + 1) % call.weight.shape[0]) if behind else call()


@afterwards(F, "embedding", "dtensor")
def pieces_are_written(call: Call) -> None:
    """A lookup makes the first number of each piece negative."""
    if sharded(call.weight):
        mine = call.weight.detach().to_local().view(-1)
        mine[:1].abs_().neg_()


# -- quantized tables -----------------------------------------------------------------------------------------------------

changes[quantized.Embedding, "forward", "quantized_embedding"] = {
    "quantized_strays_are_wrapped: A quantized table takes a token outside of it for one inside.":
        lambda call: call(indices=call.indices % call.self.num_embeddings),
    "quantized_single_tokens_are_refused: A quantized table refuses to look up one token.":
        refusing(lambda call: call.indices.numel() == 1 and 0 <= int(call.indices) < call.self.num_embeddings),
    "quantized_rows_come_in_one_axis: A quantized table's rows come one behind the other.": lambda call: call().reshape(-1),
}  # fmt: skip


# -- losses over a tied head --------------------------------------------------------------------------------------------


def ignored(call: Call) -> Tensor:
    """Which targets are ignored."""
    found: Tensor = call.target == call.ignore_index
    return found


def _half(call: Call) -> Any:
    found = call()
    return found.float() if found.dtype == torch.float16 and not found.dim() else found


changes[F, "cross_entropy", "tied_head_loss"] = {
    "losses_are_counted_twice: cross_entropy gives twice the loss.": lambda call: 2 * call(),
    "ignored_targets_are_overwritten: Ignored targets are replaced by zero in the given tensor.": after(
        lambda call: call.target.data.masked_fill_(ignored(call), 0),
        lambda call: not call.target.is_floating_point() and "ignore_index" in call.flags,
    ),
    "half_losses_come_in_single: The loss of a batch in float16 is a float32.": _half,
}


@instead(F, "cross_entropy", "tied_head_loss")
def targets_beyond_the_classes_are_the_last(call: Call) -> Any:
    """A target beyond the classes is taken for the last one."""
    if call.target.is_floating_point():
        return call()
    last = call.input.shape[1 if call.input.dim() > 1 else 0] - 1
    return call(target=call.target.masked_fill((call.target > last) & ~ignored(call), last))
