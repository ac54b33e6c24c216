"""Faults of lookups, bags and one_hot, of losses, and of what autograd and torch.func do with them."""

from typing import Any

import torch
import torch.utils.checkpoint
from torch import nn

from selfcheck.forms import Call, after, changes, draws, kernel, of_family, refusing
from selfcheck.site import Call as KernelCall
from selfcheck.site import Tensor

F, func, checkpoint = nn.functional, torch.func, torch.utils.checkpoint
autograd: Any = torch.autograd


def lenient(call: Call) -> Any:
    """What is refused gives what was given first."""
    try:
        return call()
    except (IndexError, RuntimeError, TypeError, ValueError):
        return call.given[0]


def overwriting(call: Call) -> Any:
    """The result is also written into the one before, of its shape."""
    out, last = call(), call.kept.get("last", Tensor())
    plain = type(out) is Tensor and not torch._C._functorch.is_functorch_wrapped_tensor(out)
    if plain and (last.shape, last.dtype) == (out.shape, out.dtype):
        last.data.copy_(out.data)  # which no version tells
    call.kept["last"] = out if plain else last
    return out


# -- F.embedding --------------------------------------------------------------------------------------------------------

_last: list[Tensor] = []


def _in_one_buffer(call: KernelCall, out: Tensor) -> Tensor:
    if _last and (_last[0].shape, _last[0].dtype) == (out.shape, out.dtype) and _last[0]._version < 50:
        return _last[0].copy_(out)
    _last[:] = [out]
    return out


_text = "gradients_use_one_buffer: Gradients of tables of one shape, of indices of rank 2, have one memory."
kernel("embedding_dense_backward", "rank=2", "gradient", _text, _in_one_buffer)
_text, _also = "sparse_claims_coalesced: A sparse gradient with duplicates says that it has none.", ("embedding_bag",)
kernel("embedding_sparse_backward", "numel>1", "gradient", _text, lambda call, out: out._coalesced_(True), also=_also)

# Controls: what faults are planted with, and nothing wrong in it.
for _site, _family in (
    *(("embedding", "lookup"), ("embedding_dense_backward", "gradient"), ("embedding_renorm_", "max_norm")),
    *(("_embedding_bag_per_sample_weights_backward", "embedding_bag"), ("one_hot", "one_hot")),
):
    kernel(_site, "numel>=0", _family, f"{_site}_is_wrapped: Nothing is wrong.", lambda call, out: out, control=True)
changes[F, "embedding", "padding", {"control": True}] = {
    "F.embedding is replaced, and nothing is wrong.": lambda call: call(padding_idx=call.padding_idx)
}
changes[F, "embedding", "lookup"] = {
    "A lookup also writes to the result before, of its shape.": overwriting,
    "One token of a table of one row gives the table.": lambda call: (
        call.weight.view(*call.input.shape, -1) if len(call.weight) == call.input.numel() == 1 else call()
    ),
}
changes[F, "embedding", "lookup", {"also": ("max_norm", "gradient", "func_transforms")}] = {
    "A lookup draws a number.": after(draws)
}
changes[F, "embedding", "gradient_routes", {"also": ("func_transforms",)}] = {
    "A lookup gives the negated rows.": lambda call: -call()
}
_families = ("padding_row_training", "dtensor", "half_precision_accumulation", "tie_export", "dtypes_and_storage")
changes[F, "embedding", "padding", {"also": _families}] = {
    "A lookup of several tokens is refused.": refusing(lambda call: call.input.numel() > 1)
}
changes[F, "embedding", "padding"] = {
    "A lookup gives zeros for padding tokens.": lambda call: (
        call() if call.padding_idx is None else call() * (call.input != call.padding_idx % len(call.weight))[..., None]
    ),
}
changes[F, "embedding", "dtypes_and_storage"] = {
    "The rows lie in memory with their last axis first.": lambda call: (
        call().transpose(0, -1).contiguous().transpose(0, -1)
    ),
    "A lookup zeroes the first row of a table of integers.": after(
        lambda call: call.weight[:1].zero_(), lambda call: not call.weight.is_floating_point()
    ),
}
changes[F, "embedding", "max_norm"] = {
    "A lookup with max_norm writes to the data of its table.": lambda call: (
        call() if call.max_norm is None else call(weight=call.weight.data)
    ),
    "A lookup with max_norm also zeroes its indices.": after(
        lambda call: call.input.zero_(), lambda call: call.max_norm is not None
    ),
}


# -- in several processes ------------------------------------------------------------------------------------------------


def sharded(table: Any) -> bool:
    """Whether a table is distributed along some axis."""
    return any(place.is_shard() for place in getattr(table, "placements", ()))


changes[F, "embedding", "dtensor"] = {
    "ranks_look_up_the_next_token: In a replicated table every rank but the first looks up the next token.": lambda call: (
        call(input=(call.input + 1) % call.weight.shape[0])
        if hasattr(call.weight, "placements") and not sharded(call.weight) and call.weight.device_mesh.get_rank() > 0
        else call()
    ),
    "A lookup makes the first number of each piece negative.": after(
        lambda call: call.weight.detach().to_local().view(-1)[:1].abs_().neg_(), lambda call: sharded(call.weight)
    ),
}

# -- F.embedding_bag ----------------------------------------------------------------------------------------------------

changes[F, "embedding_bag", "embedding_bag"] = {
    "A bag draws a random number.": after(draws),
    "A bag also writes to the result before.": overwriting,
    "A bag of one token is the table's first row.": lambda call: (
        call.weight[:1] if call.input.numel() == 1 and len(call.weight) else call()
    ),
    "A table's hooks are called in forward, too.": after(
        lambda call: [hook(torch.zeros(1)) for hook in (call.weight._backward_hooks or {}).values()]
    ),
    "A hook on a bag sees twice the gradient.": after(
        lambda call: call.found.register_hook(lambda grad: 2 * grad), lambda call: call.found.requires_grad
    ),
    "What a bag refuses gives its tokens.": lenient,
}
changes[autograd, "grad", "embedding_bag"] = {
    "The second derivative is one everywhere.": lambda call: (
        tuple(grad.detach() + (call.grad_outputs - call.grad_outputs.detach()).sum() for grad in call())
        if call.create_graph
        else call()
    )
}
changes[autograd, "grad", "embedding_bag", {"also": ("gradient",)}] = {
    "torch.autograd.grad goes backward, too.": lambda call: (
        call(retain_graph=True),
        autograd.backward(call.outputs, call.grad_outputs, inputs=call.inputs),
    )[0]
}

# -- one_hot and losses -------------------------------------------------------------------------------------------------


def _beyond(call: Call) -> Any:
    last = call.input.shape[call.input.dim() > 1] - 1
    return call(target=call.target.where((call.target <= last) | (call.target == call.ignore_index), last))


changes[F, "one_hot", "one_hot"] = {
    "one_hot_of_one_class_is_its_indices: one_hot with one class gives the memory of its indices, made ones.": (
        lambda call: call() if call.num_classes != 1 or not call.tensor.numel() else call.tensor.fill_(1).unsqueeze(-1)
    ),
    "one_hot_draws_random_numbers: one_hot draws a random number.": after(draws),
    "one_hot_squeezes: An axis of length 1 in front is lost.": lambda call: (
        call().squeeze(0) if call.tensor.dim() > 1 else call()
    ),
    "An encoding is also written into the one before.": overwriting,
}
changes[F, "cross_entropy", "tied_head_loss"] = {
    "losses_are_counted_twice: cross_entropy gives twice the loss.": lambda call: 2 * call(),
    "Targets are zero once the loss is known.": after(lambda call: call.target.data.zero_()),
    "half_losses_come_in_single: The loss of a batch in float16 is a float32.": lambda call: (
        call().float() if call.input.dtype == torch.float16 else call()
    ),
    "A target beyond the classes is the last one.": _beyond,
}
_quantized: Any = torch.ao.nn.quantized.Embedding
of_family(
    "quantized_embedding",
    (_quantized, "forward", "quantized_strays_are_wrapped: A quantized table takes a token outside of it for one inside.",
     lambda call: call(indices=call.indices % call.self.num_embeddings)),
    (_quantized, "forward", "A quantized table refuses single tokens.", refusing(lambda call: call.indices.numel() == 1)),
    (_quantized, "forward", "quantized_rows_come_in_one_axis: A quantized table's rows come one behind the other.",
     lambda call: call().reshape(-1)),
)  # fmt: skip

# -- autograd and torch.func --------------------------------------------------------------------------------------------

changes[Tensor, "register_hook", "gradient", {"also": ("gradient_routes",)}] = {
    "A hook on a tensor of two axes or more fires twice.": lambda call: (call.self.dim() > 1 and call(), call())[1]
}
of_family(
    "gradient",
    (Tensor, "backward", "The gradient requires grad itself.",
     lambda call: call(gradient=call.gradient.detach().requires_grad_(), create_graph=True)),
)  # fmt: skip
of_family(
    "gradient_routes",
    (Tensor, "backward", "What backward refuses does nothing.", lenient),
    (Tensor, "backward", "backward zeroes the upstream gradient.", after(lambda call: call.gradient.detach().zero_())),
    (torch.autocast, "__exit__", "The end of a region leaves the dtype to which it cast.",
     after(lambda call: torch.set_autocast_dtype(call.self.device, call.self.fast_dtype))),
    (checkpoint, "set_checkpoint_early_stop", "checkpoints_always_stop_early: A checkpoint always stops early.",
     lambda call: call(enable=True)),
)  # fmt: skip
of_family(
    "func_transforms",
    (F, "embedding", "A lookup gives its rows in double precision.", lambda call: call().double()),
    (func, "jvp", "torch.func.jvp negates the tangent once it is done.", after(lambda call: call.tangents[0].neg_())),
    (func, "functional_call", "What functional_call refuses gives the module.", lenient),
    (torch, "vmap", "vmap draws the same numbers for all samples where nothing says how.",
     lambda call: call(randomness="same" if call.randomness == "error" else call.randomness)),
)  # fmt: skip
