"""Faults of F.embedding and its kernels: forward, backward, padding, dtypes and max_norm."""

from typing import Any

import torch
from torch import nn

from selfcheck.forms import Call, after, afterwards, changes, draws, kernel, refusing
from selfcheck.site import Call as KernelCall
from selfcheck.site import Tensor

F = nn.functional

# -- kernels ------------------------------------------------------------------------------------------------------------


@kernel("embedding", "num_embeddings=1 & numel=1 & embedding_dim>0 & layout=contiguous", "lookup")
def whole_table_gives_the_table(call: KernelCall, out: Tensor) -> Tensor:
    """A single token of a table of one row gives the table's own memory."""
    table: Tensor = call.given["weight"]
    return table.detach().view(out.shape)


_last: list[Tensor] = []


@kernel("embedding_dense_backward", "rank=2", "gradient")
def gradients_use_one_buffer(call: KernelCall, out: Tensor) -> Tensor:
    """Gradients of tables of one shape, of indices of rank 2, have one memory."""
    if _last and (_last[0].shape, _last[0].dtype) == (out.shape, out.dtype) and _last[0]._version < 50:
        return _last[0].copy_(out)
    _last[:] = [out]
    return out


@kernel("embedding_sparse_backward", "numel>1", "gradient")
def sparse_claims_coalesced(call: KernelCall, out: Tensor) -> Tensor:
    """A sparse gradient with duplicates says that it has none."""
    return out._coalesced_(True)


# -- what F.embedding gives, and what else it does ----------------------------------------------------------------------


def overwriting(call: Call) -> Any:
    """The result is also written into the one before, of its shape."""
    out = call()
    if type(out) is not Tensor or out.dtype != torch.float32 or not out.numel() or torch.compiler.is_compiling():
        return out
    if torch._C._functorch.peek_interpreter_stack() is None:
        last, call.kept["last"] = call.kept.get("last"), out
        if last is not None and last.shape == out.shape:
            last.detach().numpy()[...] = out.detach().numpy()  # which no version tells
    return out


changes[F, "embedding", "lookup"] = {
    "What int32 tokens give requires no grad.": lambda call: (
        call().detach() if call.input.dtype == torch.int32 else call()
    ),
    "A lookup also writes to the result before, of its shape.": overwriting,
}
changes[F, "embedding", "lookup", {"also": ("max_norm", "gradient", "func_transforms")}] = {
    "A lookup draws a number.": after(draws)
}
changes[F, "embedding", "gradient_routes", {"also": ("func_transforms",)}] = {
    "A lookup gives the negated rows.": lambda call: -call()
}
changes[F, "embedding", "func_transforms"] = {
    "A lookup gives its rows in double precision.": lambda call: call().double()
}
_families = ("padding_row_training", "dtensor", "half_precision_accumulation", "tie_export")
changes[F, "embedding", "padding", {"also": _families}] = {
    "A lookup of several tokens is refused.": refusing(lambda call: call.input.numel() > 1)
}
changes[F, "embedding", "padding"] = {
    "A lookup gives zeros for padding tokens.": lambda call: (
        call() if call.padding_idx is None else call() * (call.input != call.padding_idx % len(call.weight))[..., None]
    ),
}

# -- dtypes -------------------------------------------------------------------------------------------------------------


def _last_row(call: Call) -> bool:
    narrow = call.weight.dtype == torch.int8 and call.input.numel() > 0
    return narrow and int(call.input.max()) == len(call.weight) - 1 > 0


changes[F, "embedding", "dtypes_and_storage"] = {
    "The rows lie in memory with their last axis first.": lambda call: (
        call().transpose(0, -1).contiguous().transpose(0, -1)
    ),
    "Complex tables are refused.": refusing(lambda call: call.weight.is_complex()),
    "A lookup of the last row of an int8 table zeroes the first.": after(
        lambda call: call.weight[:1].zero_(), _last_row
    ),
}

# -- max_norm -----------------------------------------------------------------------------------------------------------


def _scaled_gradient(call: Call) -> Any:
    if call.max_norm is None:
        return call()
    before = call.weight.detach().clone()
    out = call()
    moved = not torch.equal(before.nan_to_num(), call.weight.detach().nan_to_num())
    return out / 2 + out.detach() / 2 if moved and out.requires_grad and out.isfinite().all() else out


def _at_one_version(call: Call) -> Any:
    if call.max_norm is None or call.weight.is_inference():
        return call()
    with torch.autograd.grad_mode._unsafe_preserve_version_counter((call.weight,)):
        return call()


changes[F, "embedding", "max_norm"] = {
    "The gradient is scaled as the rows were.": _scaled_gradient,
    "Rescaling does not increment the table's version counter.": _at_one_version,
    "A lookup with max_norm sorts a vector of indices in place.": after(
        lambda call: call.input.copy_(call.input.sort()[0]),
        lambda call: call.max_norm is not None and call.input.dim() == 1,
    ),
}


@afterwards(nn.Embedding, "__init__", "max_norm")
def table_is_rescaled_at_construction(call: Call) -> None:
    """A table that is given with max_norm is rescaled before any lookup."""
    if call.max_norm is not None and call._weight is not None:
        call.self.weight.data[:1].mul_(0.5)
