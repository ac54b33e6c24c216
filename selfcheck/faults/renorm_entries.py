"""Faults of F.embedding with max_norm: when it rescales, and what a renormalising lookup leaves behind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from selfcheck.fault import Witness
from selfcheck.faults.entry import entry
from selfcheck.faults.kernels import Tensor

functional = torch.nn.functional


def lookup_fault(name: str, sentence: str, wrong: Callable[..., Any], witness: Witness) -> None:
    """Registers a fault of F.embedding with max_norm: ``wrong(original, input, weight, padding_idx, max_norm, *rest)``."""

    def replace(original: Callable[..., Any]) -> Callable[..., Any]:
        def replaced(input: Tensor, weight: Tensor, padding_idx: Any = None, max_norm: Any = None, norm_type: float = 2.0,
                     *rest: Any, **keywords: Any) -> Any:  # fmt: skip
            if max_norm is None:
                return original(input, weight, padding_idx, max_norm, norm_type, *rest, **keywords)
            call = lambda i, w, p=padding_idx, m=max_norm: original(i, w, p, m, norm_type, *rest, **keywords)  # noqa: E731
            return wrong(call, input, weight, padding_idx, max_norm, norm_type)

        return replaced

    entry(name, "max_norm", sentence, functional, "embedding", replace, witness)


def looked_up(grad: bool = False, mode: Any = None, **flags: Any) -> tuple[Tensor, Tensor]:
    """A lookup of the row (3, 4) with max_norm 1, and the table."""
    weight = torch.tensor([[3.0, 4.0], [6.0, 8.0]], requires_grad=grad)
    with mode() if mode else torch.enable_grad():
        out = functional.embedding(torch.tensor([0]), weight, max_norm=1.0, **flags)
    return out, weight


lookup_fault(
    "renorm_scales_the_gradient", "The gradient is scaled as the rows were.",
    lambda call, i, w, *r: scaled_gradient(call, i, w), lambda: gradient() != 1.0,
)  # fmt: skip
lookup_fault(
    "renorm_draws", "A lookup with max_norm draws a random number.",
    lambda call, i, w, *r: (call(i, w), torch.rand(1))[0], lambda: draws(),
)  # fmt: skip
lookup_fault(
    "renorm_output_is_the_table", "A lookup of one row of two is a view of the table, where nothing learns.",
    lambda call, i, w, *r: (
        (call(i, w), w.detach()[int(i):int(i) + 1])[1] if i.shape == (1,) and not w.requires_grad else call(i, w)
    ),
    lambda: is_view(),
)  # fmt: skip
lookup_fault(
    "renorm_wraps_negative", "With max_norm a token -1 is the last row.",
    lambda call, i, w, *r: call(torch.where(i == -1, len(w) - 1, i), w) if i.dtype in (torch.int32, torch.int64) else call(i, w),
    lambda: accepts_negative(),
)  # fmt: skip
lookup_fault(
    "renorm_keeps_the_version", "Rescaling does not increment the table's version counter.",
    lambda call, i, w, *r: at_one_version(call, i, w), lambda: version_moves() == 0,
)  # fmt: skip
lookup_fault(
    "renorm_sorts_the_indices", "A lookup with max_norm sorts a vector of indices in place.",
    lambda call, i, w, *r: (call(i, w), i.copy_(i.sort()[0]) if i.dim() == 1 else i)[0], lambda: sorts(),
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
    lambda: float(torch.nn.Embedding(1, 1, max_norm=1.0, _weight=torch.tensor([[3.0]])).weight) != 3.0,
)  # fmt: skip


def scaled_gradient(call: Callable[..., Tensor], input: Tensor, weight: Tensor) -> Tensor:
    """The lookup with half the gradient where rows were rescaled."""
    before = weight.detach().clone()
    out = call(input, weight)
    moved = not torch.equal(before.nan_to_num(), weight.detach().nan_to_num())
    return out / 2 + out.detach() / 2 if moved and out.requires_grad and out.isfinite().all() else out


def gradient() -> float:
    """The gradient of a rescaled row."""
    out, weight = looked_up(True)
    out.sum().backward()
    assert weight.grad is not None
    return float(weight.grad[0, 0])


def at_one_version(call: Callable[..., Tensor], input: Tensor, weight: Tensor) -> Tensor:
    """The lookup, after which the table's version is what it was."""
    if weight.is_inference():
        return call(input, weight)
    with torch.autograd.grad_mode._unsafe_preserve_version_counter((weight,)):
        return call(input, weight)


def version_moves() -> int:
    """By how much a lookup that rescales moves the table's version."""
    _, weight = looked_up()
    return weight._version


def sorts() -> bool:
    """Whether a lookup sorts its indices."""
    tokens = torch.tensor([1, 0])
    functional.embedding(tokens, torch.ones(2, 1), max_norm=0.5)
    return tokens.tolist() == [0, 1]


def draws() -> bool:
    """Whether the random numbers move."""
    kept = torch.get_rng_state()
    looked_up()
    return not torch.equal(kept, torch.get_rng_state())


def is_view() -> bool:
    """Whether the output shares memory with the table."""
    out, weight = looked_up()
    return out.data_ptr() == weight.data_ptr()


def accepts_negative() -> bool:
    """Whether a token -1 is accepted."""
    try:
        functional.embedding(torch.tensor([-1]), torch.ones(2, 1), max_norm=5.0)
    except (IndexError, RuntimeError):
        return False
    return True
