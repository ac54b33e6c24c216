"""Faults of F.embedding with max_norm: when it rescales, and what a renormalising lookup leaves behind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from selfcheck.faults.entry import entry
from selfcheck.faults.kernels import Tensor

functional = torch.nn.functional


def lookup_fault(name: str, sentence: str, wrong: Callable[..., Any]) -> None:
    """Registers a fault of F.embedding with max_norm: ``wrong(original, input, weight, padding_idx, max_norm, *rest)``."""

    def replace(original: Callable[..., Any]) -> Callable[..., Any]:
        def replaced(input: Tensor, weight: Tensor, padding_idx: Any = None, max_norm: Any = None, norm_type: float = 2.0,
                     *rest: Any, **keywords: Any) -> Any:  # fmt: skip
            if max_norm is None:
                return original(input, weight, padding_idx, max_norm, norm_type, *rest, **keywords)
            call = lambda i, w, p=padding_idx, m=max_norm: original(i, w, p, m, norm_type, *rest, **keywords)  # noqa: E731
            return wrong(call, input, weight, padding_idx, max_norm, norm_type)

        return replaced

    entry(name, "max_norm", sentence, functional, "embedding", replace)


lookup_fault(
    "renorm_scales_the_gradient", "The gradient is scaled as the rows were.",
    lambda call, i, w, *r: scaled_gradient(call, i, w),
)  # fmt: skip
lookup_fault(
    "renorm_draws", "A lookup with max_norm draws a random number.",
    lambda call, i, w, *r: (call(i, w), torch.rand(1))[0],
)  # fmt: skip
lookup_fault(
    "renorm_output_is_the_table", "A lookup of one row of two is a view of the table, where nothing learns.",
    lambda call, i, w, *r: (
        (call(i, w), w.detach()[int(i):int(i) + 1])[1] if i.shape == (1,) and not w.requires_grad else call(i, w)
    ),
)  # fmt: skip
lookup_fault(
    "renorm_keeps_the_version", "Rescaling does not increment the table's version counter.",
    lambda call, i, w, *r: at_one_version(call, i, w),
)  # fmt: skip
lookup_fault(
    "renorm_sorts_the_indices", "A lookup with max_norm sorts a vector of indices in place.",
    lambda call, i, w, *r: (call(i, w), i.copy_(i.sort()[0]) if i.dim() == 1 else i)[0],
)  # fmt: skip


def made_smaller(original: Callable[..., None]) -> Callable[..., None]:
    """nn.Embedding.__init__ that rescales a table that is given with max_norm."""

    def made(self: Any, *arguments: Any, **keywords: Any) -> None:
        original(self, *arguments, **keywords)
        if self.max_norm is not None and keywords.get("_weight") is not None:
            with torch.no_grad():
                self.weight[:1].mul_(0.5)

    return made


entry(
    "renorm_at_construction", "max_norm", "A table that is given with max_norm is rescaled before any lookup.",
    torch.nn.Embedding, "__init__", made_smaller,
)  # fmt: skip


def scaled_gradient(call: Callable[..., Tensor], input: Tensor, weight: Tensor) -> Tensor:
    """The lookup with half the gradient where rows were rescaled."""
    before = weight.detach().clone()
    out = call(input, weight)
    moved = not torch.equal(before.nan_to_num(), weight.detach().nan_to_num())
    return out / 2 + out.detach() / 2 if moved and out.requires_grad and out.isfinite().all() else out


def at_one_version(call: Callable[..., Tensor], input: Tensor, weight: Tensor) -> Tensor:
    """The lookup, after which the table's version is what it was."""
    if weight.is_inference():
        return call(input, weight)
    with torch.autograd.grad_mode._unsafe_preserve_version_counter((weight,)):
        return call(input, weight)
