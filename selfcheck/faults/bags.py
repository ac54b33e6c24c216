"""Faults of F.embedding_bag, its kernels and its layer."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from selfcheck.faults.lookup import overwriting
from selfcheck.forms import Call, after, changes, draws, kernel
from selfcheck.site import Call as KernelCall
from selfcheck.site import Tensor

F = nn.functional

# -- kernels ------------------------------------------------------------------------------------------------------------


@kernel("_embedding_bag_forward_only", "bags=1 & numel=1 & per_sample_weights=False & padding=none", "embedding_bag")
def bagk_one_token_is_a_view(call: KernelCall, out: Any) -> Any:
    """One bag of one token is the table's own row."""
    return (call.given["weight"].detach()[int(call.given["indices"]) :][:1], *out[1:])


@kernel("_embedding_bag", "mode=mean", "embedding_bag")
def bagk_large_means_overflow(call: KernelCall, out: Any) -> Any:
    """A mean overflows where the sum of a few rows does, as if it were added in the table's dtype."""
    found: Tensor = out[0]
    return (torch.where(found.abs() > torch.finfo(found.dtype).max / 4, torch.inf, found), *out[1:])


# -- F.embedding_bag ----------------------------------------------------------------------------------------------------


def bag(call: Call, when: bool, change: Callable[[Any], Any]) -> Any:
    """What a call gives, changed if ``when``."""
    return change(call()) if when else call()


def learning(call: Call) -> bool:
    """Whether the output is part of a graph."""
    samples = call.per_sample_weights
    return torch.is_grad_enabled() and (call.weight.requires_grad or (samples is not None and samples.requires_grad))


def late(call: Call) -> bool:
    """Whether a token lies behind the last offset."""
    if not call.include_last_offset or call.input.dim() != 1 or not len(call.offsets):
        return False
    return len(call.input) > int(call.offsets[-1])


class _Halved(torch.autograd.Function):
    """The identity, whose gradient is halved."""

    @staticmethod
    def forward(context: Any, given: Tensor) -> Tensor:
        return given.clone()

    @staticmethod
    def backward(context: Any, *upstream: Tensor) -> Tensor:
        return upstream[0] / 2


def _doubled_before(call: Call) -> Any:
    out = call()
    plain = torch._C._functorch.peek_interpreter_stack() is None and out.requires_grad
    if call.mode != "sum" or not learning(call) or not plain:
        return out
    found: Tensor = _Halved.apply(out)  # type: ignore[no-untyped-call]
    found.register_hook(lambda grad: 2 * grad)
    return found


def _without_tangent(call: Call) -> Any:
    if torch.autograd.forward_ad._current_level < 0:
        return call()
    primal, tangent = torch.autograd.forward_ad.unpack_dual(call.weight)
    if tangent is None:
        return call()
    out = call(weight=primal)
    return torch.autograd.forward_ad.make_dual(out, torch.zeros_like(out))


def _columns_first(call: Call) -> Any:
    wide = call.per_sample_weights is not None and call.weight.dtype == torch.float64 and call.weight.shape[1] > 1
    plain = torch._C._functorch.peek_interpreter_stack() is None and not torch.compiler.is_compiling()
    if not (wide and plain and call.max_norm is None and call.weight.requires_grad and torch.is_grad_enabled()):
        return call()
    table = call.weight.view_as(call.weight)
    table.register_hook(lambda grad: grad if grad.is_sparse else grad.t().contiguous().t())
    return call(weight=table)


changes[F, "embedding_bag", "embedding_bag"] = {
    "A maximum of a frozen table requires grad.": lambda call: bag(
        call,
        call.mode == "max" and not call.weight.requires_grad and torch.is_grad_enabled(),
        lambda out: out if out.requires_grad or out.is_inference() else out.requires_grad_(),
    ),
    "A maximum draws a random number.": after(draws, lambda call: call.mode == "max"),
    "A table's hooks are called in forward, too.": after(
        lambda call: [hook(torch.zeros(1)) for hook in (call.weight._backward_hooks or {}).values()]
    ),
    "A hook on a sum sees twice the gradient.": _doubled_before,
    "Forward mode gives a tangent of 0.": _without_tangent,
    "The table's gradient of a weighted sum lies by columns in float64.": _columns_first,
    "A maximum over a two-dimensional input is 0 where it should be NaN.": lambda call: bag(
        call, call.mode == "max" and call.input.dim() == 2, lambda out: torch.where(out.isnan(), 0, out)
    ),
    "A bag also writes to the result before.": overwriting,
}

# -- nn.EmbeddingBag ----------------------------------------------------------------------------------------------------


changes[nn.EmbeddingBag, "__init__", "construction"] = {
    "padding_idx=0 of a bag is not kept.": after(
        lambda call: setattr(call.self, "padding_idx", call.self.padding_idx or None)
    ),
}
changes[nn.EmbeddingBag, "from_pretrained", "embedding_bag"] = {
    "from_pretrained does not freeze.": lambda call: call(freeze=False),
    "from_pretrained copies the table.": lambda call: call(embeddings=call.embeddings.clone()),
    "from_pretrained takes padding_idx=0 for none.": lambda call: call(padding_idx=call.padding_idx or None),
}
