"""Faults of F.embedding with max_norm: when it rescales, and what a renormalising lookup leaves behind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from embcheck.fault import Witness
from embcheck.faults.entry import entry
from embcheck.faults.kernels import Tensor

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

    entry(name, "renorm", sentence, functional, "embedding", replace, witness)


def looked_up(grad: bool = False, mode: Any = None, **flags: Any) -> tuple[Tensor, Tensor]:
    """A lookup of the row (3, 4) with max_norm 1, and the table."""
    weight = torch.tensor([[3.0, 4.0], [6.0, 8.0]], requires_grad=grad)
    with mode() if mode else torch.enable_grad():
        out = functional.embedding(torch.tensor([0]), weight, max_norm=1.0, **flags)
    return out, weight


def restored(call: Callable[..., Tensor], input: Tensor, weight: Tensor, *rest: Any) -> Tensor:
    """The lookup in the rescaled table, which is then put back."""
    kept = weight.detach().clone()
    out = call(input, weight)
    with torch.no_grad():
        weight.copy_(kept)
    return out


lookup_fault(
    "renorm_spares_frozen_tables", "A table that does not learn is left alone.",
    lambda call, i, w, *r: call(i, w) if w.requires_grad else call(i, w, m=None), lambda: float(looked_up()[1][0, 0]) == 3.0,
)  # fmt: skip
lookup_fault(
    "renorm_spares_no_grad", "Under no_grad nothing is rescaled.",
    lambda call, i, w, *r: call(i, w) if torch.is_grad_enabled() else call(i, w, m=None),
    lambda: float(looked_up(mode=torch.no_grad)[1][0, 0]) == 3.0,
)  # fmt: skip
lookup_fault(
    "renorm_of_a_copy", "With int32 tokens a copy of the table is rescaled.",
    lambda call, i, w, *r: call(i, w.clone()) if i.dtype == torch.int32 else call(i, w), lambda: in_int32() == 3.0,
)  # fmt: skip
lookup_fault(
    "renorm_after_the_lookup", "At rank 2 the rows are looked up before they are rescaled.",
    lambda call, i, w, *r: (call(i, w, m=None), call(i, w))[0] if i.dim() == 2 else call(i, w), lambda: at_rank_two() == 3.0,
)  # fmt: skip
lookup_fault(
    "renorm_is_put_back", "After a scalar lookup the table is put back as it was.",
    lambda call, i, w, *r: restored(call, i, w) if i.dim() == 0 else call(i, w), lambda: by_scalar() == 3.0,
)  # fmt: skip
lookup_fault(
    "renorm_makes_a_graph", "A rescaled table does not require grad any more.",
    lambda call, i, w, *r: (call(i, w), w.requires_grad_(False) if w.is_leaf and torch.is_grad_enabled() else w)[0],
    lambda: not looked_up(True)[1].requires_grad,
)  # fmt: skip
lookup_fault(
    "renorm_detaches_padding", "With padding_idx the output has no graph.",
    lambda call, i, w, p, *r: call(i, w).detach() if p is not None else call(i, w),
    lambda: not looked_up(True, padding_idx=1)[0].requires_grad,
)  # fmt: skip
lookup_fault(
    "renorm_scales_the_gradient", "The gradient is scaled as the rows were.",
    lambda call, i, w, *r: scaled_gradient(call, i, w), lambda: gradient() != 1.0,
)  # fmt: skip
lookup_fault(
    "renorm_hides_its_write", "The table's version stands still.",
    lambda call, i, w, *r: unversioned(call, i, w), lambda: looked_up()[1]._version == 0,
)  # fmt: skip
lookup_fault(
    "renorm_draws", "A lookup with max_norm draws a random number.",
    lambda call, i, w, *r: (call(i, w), torch.rand(1))[0], lambda: draws(),
)  # fmt: skip
lookup_fault(
    "renorm_sorts_tokens", "A lookup with max_norm sorts its tokens.",
    lambda call, i, w, *r: (call(i, w), i.copy_(i.reshape(-1).sort().values.reshape(i.shape)))[0], lambda: sorts(),
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
    "renorm_of_nothing", "An empty lookup rescales the first row.",
    lambda call, i, w, *r: (call(i, w), call(torch.tensor([0]), w))[0] if not i.numel() and len(w) else call(i, w),
    lambda: by_empty() != 3.0,
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
    "renorm_at_construction", "renorm", "A table that is given with max_norm is rescaled before any lookup.",
    torch.nn.Embedding, "__init__", made_smaller,
    lambda: float(torch.nn.Embedding(1, 1, max_norm=1.0, _weight=torch.tensor([[3.0]])).weight) != 3.0,
)  # fmt: skip


def in_int32() -> float:
    """The first element after a lookup with int32."""
    weight = torch.tensor([[3.0, 4.0]])
    functional.embedding(torch.tensor([0], dtype=torch.int32), weight, max_norm=1.0)
    return float(weight[0, 0])


def by_empty() -> float:
    """The first element after an empty lookup."""
    weight = torch.tensor([[3.0, 4.0]])
    functional.embedding(torch.zeros(0, dtype=torch.int64), weight, max_norm=1.0)
    return float(weight[0, 0])


def at_rank_two() -> float:
    """What a lookup of rank 2 finds."""
    return float(functional.embedding(torch.tensor([[0]]), torch.tensor([[3.0, 4.0]]), max_norm=1.0)[0, 0, 0])


def by_scalar() -> float:
    """The first element after a scalar lookup."""
    weight = torch.tensor([[3.0, 4.0]])
    functional.embedding(torch.tensor(0), weight, max_norm=1.0)
    return float(weight[0, 0])


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


def unversioned(call: Callable[..., Tensor], input: Tensor, weight: Tensor) -> Tensor:
    """The lookup, which writes behind autograd's back."""
    if weight.is_inference() or weight.requires_grad:
        return call(input, weight)
    return call(input, weight.data)


def draws() -> bool:
    """Whether the random numbers move."""
    kept = torch.get_rng_state()
    looked_up()
    return not torch.equal(kept, torch.get_rng_state())


def sorts() -> bool:
    """Whether tokens move."""
    indices = torch.tensor([1, 0])
    functional.embedding(indices, torch.ones(2, 1), max_norm=5.0)
    return indices.tolist() != [1, 0]


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
