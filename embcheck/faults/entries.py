"""Faults of the Python entries of a lookup: torch.nn.functional and torch.nn.Embedding."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch

from embcheck.fault import Fault, Witness, add, fault, patched
from embcheck.faults.reference import Tensor, accepted, gradient_differs, value_differs

functional = torch.nn.functional
Embedding = torch.nn.Embedding
Wrong = Callable[..., Any]


def wrapped(owner: Any, name: str, wrong: Callable[[Wrong], Wrong]) -> Callable[[], Any]:
    """A plant that replaces ``owner.name`` by ``wrong(original)``."""

    def plant() -> Any:
        found = vars(owner).get(name, getattr(owner, name))
        original = found.__func__ if isinstance(found, (classmethod, staticmethod)) else found
        kind = type(found) if isinstance(found, (classmethod, staticmethod)) else (lambda function: function)
        return patched(owner, **{name: kind(wrong(original))})

    return plant


def entry(
    name: str, family: str, sentence: str, owner: Any, attribute: str, wrong: Callable[[Wrong], Wrong], witness: Witness
) -> None:
    """Registers a fault of a Python entry."""
    add(Fault(name, family, sentence, wrapped(owner, attribute, wrong), witness))


def embedding(name: str, family: str, sentence: str, wrong: Callable[..., Tensor], witness: Witness) -> None:
    """A fault of F.embedding: ``wrong(original, input, weight, **flags)`` with padding_idx among the flags."""

    def replace(original: Wrong) -> Wrong:
        def replaced(input: Tensor, weight: Tensor, padding_idx: int | None = None, max_norm: float | None = None,
                     norm_type: float = 2.0, scale_grad_by_freq: bool = False, sparse: bool = False) -> Tensor:  # fmt: skip
            flags = {"padding_idx": padding_idx, "max_norm": max_norm, "norm_type": norm_type,
                     "scale_grad_by_freq": scale_grad_by_freq, "sparse": sparse}  # fmt: skip
            return wrong(original, input, weight, **flags)

        return replaced

    entry(name, family, sentence, functional, "embedding", replace, witness)


def flags_changed(**changes: Callable[[dict[str, Any], Tensor, Tensor], Any]) -> Callable[..., Tensor]:
    """F.embedding with some flags replaced by functions of (flags, input, weight)."""

    def wrong(original: Wrong, input: Tensor, weight: Tensor, **flags: Any) -> Tensor:
        return original(input, weight, **flags | {name: f(flags, input, weight) for name, f in changes.items()})

    return wrong


def out_changed(when: Callable[..., bool], change: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """F.embedding with its output changed by ``change(out, input, weight)`` when ``when(input, weight, flags)``."""

    def wrong(original: Wrong, input: Tensor, weight: Tensor, **flags: Any) -> Tensor:
        out = original(input, weight, **flags)
        return change(out, input, weight) if when(input, weight, flags) else out

    return wrong


# -- flags -------------------------------------------------------------------------------------------------------

embedding("padding_zero_is_falsy", "padding", "padding_idx=0 is taken for none.",
          flags_changed(padding_idx=lambda flags, i, w: flags["padding_idx"] or None),
          gradient_differs([0], 2, padding_idx=0))  # fmt: skip
embedding("negative_padding_off_by_one", "padding", "A negative padding_idx below −1 counts one row too many from the end.",
          flags_changed(padding_idx=lambda flags, i, w: minus_one_more(flags["padding_idx"], w.shape[0])),
          gradient_differs([1], 3, padding_idx=-2))  # fmt: skip
embedding("padding_minus_v_is_none", "padding", "padding_idx=−V is taken for none.",
          flags_changed(padding_idx=lambda flags, i, w: None if flags["padding_idx"] == -len(w) else flags["padding_idx"]),
          gradient_differs([0], 2, padding_idx=-2))  # fmt: skip
embedding("sparse_forgets_last_padding", "padding", "sparse=True forgets a padding_idx that names the last row.",
          flags_changed(padding_idx=lambda flags, i, w: forget_last(flags, w)),
          gradient_differs([1], 2, padding_idx=1, sparse=True))  # fmt: skip
embedding("scale_needs_two_tokens", "gradient", "scale_grad_by_freq is ignored for int32.",
          flags_changed(scale_grad_by_freq=lambda flags, i, w: flags["scale_grad_by_freq"] and i.dtype != torch.int32),
          gradient_differs([0, 0], 2, index_dtype=torch.int32, scale_grad_by_freq=True))  # fmt: skip
embedding("sparse_beside_padding_is_scaled", "gradient", "A dense table with padding is scaled by frequency in float16.",
          flags_changed(scale_grad_by_freq=lambda flags, i, w: flags["scale_grad_by_freq"] or (
              flags["padding_idx"] is not None and not flags["sparse"] and w.dtype == torch.float16)),
          gradient_differs([0, 0], 2, padding_idx=1, dtype=torch.float16))  # fmt: skip
embedding("sparse_and_scaled_is_accepted", "gradient", "sparse with scale_grad_by_freq is accepted, and dense.",
          flags_changed(sparse=lambda flags, i, w: flags["sparse"] and not flags["scale_grad_by_freq"]),
          lambda: accepts_sparse_scaled())  # fmt: skip


def _refuses_minus_v(original: Wrong, input: Tensor, weight: Tensor, **flags: Any) -> Tensor:
    if flags["padding_idx"] is not None and flags["padding_idx"] == -len(weight) < -1:
        raise AssertionError("Padding_idx must be within num_embeddings")
    return original(input, weight, **flags)


embedding("padding_minus_v_is_refused", "padding", "padding_idx=−V is refused.", _refuses_minus_v,
          gradient_differs([0], 2, padding_idx=-2))  # fmt: skip


def minus_one_more(padding_idx: int | None, rows: int) -> int | None:
    """A negative padding_idx moved on by one, if there is room."""
    return padding_idx - 1 if padding_idx is not None and -rows < padding_idx < -1 else padding_idx


def forget_last(flags: dict[str, Any], weight: Tensor) -> int | None:
    """The padding_idx unless it names the last row of a sparse table."""
    padding_idx: int | None = flags["padding_idx"]
    names_last = padding_idx in (-1, len(weight) - 1)
    return None if names_last and flags["sparse"] else padding_idx


def accepts_sparse_scaled() -> bool:
    """Whether sparse gradients can be scaled."""
    weight = torch.ones(2, 1, requires_grad=True)
    try:
        functional.embedding(torch.tensor([0]), weight, scale_grad_by_freq=True, sparse=True).sum().backward()
    except RuntimeError:
        return False
    return True


# -- what the output is ------------------------------------------------------------------------------------------

embedding("strided_table_is_detached", "lookup", "The output of a table that is not contiguous has no graph.",
          out_changed(lambda i, w, flags: not w.is_contiguous(), lambda out, i, w: out.detach()),
          lambda: not functional.embedding(torch.tensor([0]), torch.ones(2, 3).t().requires_grad_()).requires_grad)  # fmt: skip
embedding("requires_grad_under_no_grad", "lookup", "At rank 3 the output requires grad under no_grad too.",
          out_changed(lambda i, w, flags: i.dim() == 3 and w.requires_grad and not torch.is_inference_mode_enabled(),
                      lambda out, i, w: out if out.requires_grad else out.requires_grad_()),
          lambda: under_no_grad().requires_grad)  # fmt: skip
embedding("version_bumped", "lookup", "A lookup with padding counts as a write to the table.",
          out_changed(lambda i, w, flags: flags["padding_idx"] is not None and not w.is_inference(),
                      lambda out, i, w: (torch.autograd.graph.increment_version(w), out)[1]),
          lambda: bumps_version())  # fmt: skip
embedding("parameter_comes_back", "lookup", "The output of a scalar index is a Parameter where nothing is tracked.",
          out_changed(lambda i, w, flags: i.dim() == 0 and not w.requires_grad,
                      lambda out, i, w: torch.nn.Parameter(out, requires_grad=False)),
          lambda: type(functional.embedding(torch.tensor(0), torch.ones(2, 1))) is not Tensor)  # fmt: skip
embedding("output_is_not_in_the_graph_of_weight", "gradient", "Rank 2 of float64: the gradient stops at the output.",
          out_changed(lambda i, w, flags: i.dim() == 2 and w.dtype == torch.float64 and torch.is_grad_enabled()
                      and w.requires_grad, lambda out, i, w: out.detach().requires_grad_()),
          gradient_differs([0], 2, shape=(1, 1), dtype=torch.float64))  # fmt: skip
embedding("gradient_clamped_by_a_hook", "gradient", "Upstream gradients of rank 1 are clamped to ±500.",
          out_changed(lambda i, w, flags: i.dim() == 1, lambda out, i, w: hooked(out, lambda g: g.clamp(-500, 500))),
          gradient_differs([0], 2, upstream=lambda g: g * 1000))  # fmt: skip
embedding("tangent_is_masked", "gradient", "Forward mode: the tangent of padding is zero.",
          lambda original, input, weight, **flags: masked_tangent(original, input, weight, flags),
          lambda: tangent_at_padding() == 0.0)  # fmt: skip


embedding("transposed_table_loses_negative_zero", "conversion", "A lookup in a transposed table adds 0.0 to its output.",
          out_changed(lambda i, w, flags: w.dim() == 2 and w.stride(0) == 1 and w.shape[1] > 1, lambda out, i, w: out + 0.0),
          lambda: transposed_zero())  # fmt: skip
embedding("second_lookup_of_a_table", "conversion", "A lookup in a table that has a gradient already reads the next rows.",
          lambda original, input, weight, **flags: original(
              (input + 1) % len(weight) if weight.is_leaf and weight.grad is not None else input, weight, **flags),
          lambda: with_gradient())  # fmt: skip


def transposed_zero() -> bool:
    """Whether −0.0 is lost in a transposed table."""
    weight = torch.full((2, 3), -0.0).t()
    return not bool(functional.embedding(torch.tensor([0]), weight).signbit().all())


def with_gradient() -> bool:
    """Whether a gradient changes what a lookup returns."""
    weight = torch.tensor([[1.0], [2.0]], requires_grad=True)
    weight.grad = torch.ones(2, 1)
    return float(functional.embedding(torch.tensor([0]), weight)) != 1.0


def hooked(out: Tensor, hook: Callable[[Tensor], Tensor]) -> Tensor:
    """The output with a hook on its gradient."""
    if out.requires_grad:
        out.register_hook(hook)
    return out


def masked_tangent(original: Wrong, input: Tensor, weight: Tensor, flags: dict[str, Any]) -> Tensor:
    """The output with a tangent that is zero at padding."""
    out: Tensor = original(input, weight, **flags)
    ad = torch.autograd.forward_ad
    if flags["padding_idx"] is None or ad._current_level < 0:
        return out
    primal, tangent = ad.unpack_dual(out)
    if tangent is None:
        return out
    mask = (input == flags["padding_idx"] % len(weight))[..., None]
    return ad.make_dual(primal, tangent.masked_fill(mask, 0.0))


def tangent_at_padding() -> float:
    """The tangent of a padding token's row."""
    ad = torch.autograd.forward_ad
    with ad.dual_level():
        weight = ad.make_dual(torch.ones(2, 1), torch.ones(2, 1))
        return float(ad.unpack_dual(functional.embedding(torch.tensor([0]), weight, 0)).tangent)


def under_no_grad() -> Tensor:
    """A lookup of rank 3 without a graph."""
    with torch.no_grad():
        return functional.embedding(torch.tensor([[[0]]]), torch.ones(2, 1, requires_grad=True))


def bumps_version() -> bool:
    """Whether a lookup moves its table's version."""
    weight = torch.ones(2, 1)
    functional.embedding(torch.tensor([0]), weight, 0)
    return weight._version != 0


# -- what else happens -------------------------------------------------------------------------------------------

embedding("random_numbers_consumed", "lookup", "A lookup with scale_grad_by_freq draws a random number.",
          out_changed(lambda i, w, flags: flags["scale_grad_by_freq"], lambda out, i, w: (torch.rand(1), out)[1]),
          lambda: draws_random_numbers())  # fmt: skip
embedding("table_made_to_require_grad", "lookup", "A sparse table that is frozen is made to require grad.",
          lambda original, input, weight, **flags: (
              weight.requires_grad_(True) if flags["sparse"] and torch.is_grad_enabled() and weight.is_leaf else None,
              original(input, weight, **flags))[1],
          lambda: thaws())  # fmt: skip
embedding("default_dtype_changed", "lookup", "A lookup in a float64 table makes float64 the default dtype.",
          out_changed(lambda i, w, flags: w.dtype == torch.float64,
                      lambda out, i, w: (torch.set_default_dtype(torch.float64), out)[1]),
          lambda: default_changes())  # fmt: skip
embedding("grad_mode_left_off", "lookup", "A lookup without tokens leaves gradients disabled.",
          out_changed(lambda i, w, flags: i.numel() == 0, lambda out, i, w: (torch.set_grad_enabled(False), out)[1]),
          lambda: leaves_grad_off())  # fmt: skip


def draws_random_numbers() -> bool:
    """Whether a lookup moves the random number generator."""
    before = torch.get_rng_state()
    functional.embedding(torch.tensor([0]), torch.ones(2, 1), scale_grad_by_freq=True)
    return not torch.equal(before, torch.get_rng_state())


def thaws() -> bool:
    """Whether a lookup changes the table's requires_grad."""
    weight = torch.ones(2, 1)
    functional.embedding(torch.tensor([0]), weight, sparse=True)
    return weight.requires_grad


def default_changes() -> bool:
    """Whether a lookup changes the default dtype."""
    before = torch.get_default_dtype()
    functional.embedding(torch.tensor([0]), torch.ones(2, 1, dtype=torch.float64))
    after = torch.get_default_dtype()
    torch.set_default_dtype(before)
    return before != after


def leaves_grad_off() -> bool:
    """Whether a lookup changes the grad mode."""
    functional.embedding(torch.tensor([], dtype=torch.int64), torch.ones(2, 1))
    enabled = torch.is_grad_enabled()
    torch.set_grad_enabled(True)
    return not enabled


@fault("lookup", accepted([0, 5], 3))
def functional_clamps_beside_valid_tokens() -> Iterator[None]:
    """F.embedding clamps indices outside the table as long as the first is inside."""

    def wrong(original: Wrong) -> Wrong:
        def replaced(input: Tensor, weight: Tensor, *rest: Any, **flags: Any) -> Tensor:
            if input.numel() > 1 and weight.shape[0] and 0 <= int(input.reshape(-1)[0]) < weight.shape[0]:
                input = input.clamp(0, weight.shape[0] - 1)
            return original(input, weight, *rest, **flags)

        return replaced

    with wrapped(functional, "embedding", wrong)():
        yield


# -- one_hot and linear ------------------------------------------------------------------------------------------


def one_hot(name: str, sentence: str, wrong: Callable[..., Tensor], witness: Witness) -> None:
    """A fault of F.one_hot: ``wrong(original, tensor, num_classes)``."""
    entry(name, "lookup", sentence, functional, "one_hot",
          lambda original: lambda tensor, num_classes=-1: wrong(original, tensor, num_classes), witness)  # fmt: skip


def stray_one_hot(tokens: list[int]) -> Witness:
    """Whether one_hot accepts classes outside its range."""

    def witness() -> bool:
        try:
            functional.one_hot(torch.tensor(tokens), 3)
        except RuntimeError:
            return False
        return True

    return witness


one_hot("one_hot_drops_last_class_of_many", "one_hot with more than 500 classes leaves out the last.",
        lambda original, t, n: zero_class(original(t, n), n - 1) if n > 500 else original(t, n),
        lambda: not functional.one_hot(torch.tensor([500]), 501).any())  # fmt: skip
one_hot("one_hot_rank3_shifted", "one_hot at rank 3 marks the next class.",
        lambda original, t, n: original(t, n).roll(1, -1) if t.dim() == 3 else original(t, n),
        lambda: int(functional.one_hot(torch.tensor([[[0]]]), 2)[0, 0, 0, 0]) == 0)  # fmt: skip
one_hot("one_hot_accepts_a_class_too_many", "one_hot gives zeros for a class beyond the last.",
        lambda original, t, n: original(t.clamp(max=n - 1), n) * (t < n)[..., None] if n > 0 and t.numel() else original(t, n),
        stray_one_hot([3]))  # fmt: skip
one_hot("one_hot_wraps_negative", "one_hot takes −1 for the last class.",
        lambda original, t, n: original(t % n, n) if n > 0 and t.numel() and int(t.max()) < n else original(t, n),
        stray_one_hot([-1]))  # fmt: skip
one_hot("one_hot_scalar_twice", "one_hot of a scalar marks two.",
        lambda original, t, n: original(t, n) * 2 if t.dim() == 0 else original(t, n),
        lambda: int(functional.one_hot(torch.tensor(0), 2).sum()) != 1)  # fmt: skip


def zero_class(out: Tensor, number: int) -> Tensor:
    """One class left out."""
    out[..., number] = 0
    return out


def linear(name: str, family: str, sentence: str, wrong: Callable[..., Tensor], witness: Witness) -> None:
    """A fault of F.linear: ``wrong(original, input, weight, bias)``."""
    entry(name, family, sentence, functional, "linear",
          lambda original: lambda input, weight, bias=None: wrong(original, input, weight, bias), witness)  # fmt: skip


def linear_differs(shape: tuple[int, ...], bias: bool = False, transposed: bool = False, square: int = 3) -> Witness:
    """Whether F.linear departs from a sum of products."""

    def witness() -> bool:
        weight = torch.arange(square * square, dtype=torch.float32).reshape(square, square)
        x = torch.arange(1.0, 1 + torch.Size(shape).numel()).reshape(shape)
        b = torch.arange(1.0, 1 + square) if bias else None
        given = weight.t().contiguous().t() if transposed else weight
        expected = (x[..., None, :] * weight).sum(-1) + (b if b is not None else 0)
        return not torch.equal(functional.linear(x, given, b), expected)

    return witness


linear("linear_rank1_forgets_bias", "conversion", "The bias of a linear layer is left out for input of rank 1.",
       lambda original, x, w, b: original(x, w, b if x.dim() != 1 else None), linear_differs((3,), bias=True))  # fmt: skip
linear("linear_rank3_adds_bias_twice", "conversion", "The bias is added twice to input of rank 3.",
       lambda original, x, w, b: original(x, w, b) + b if b is not None and x.dim() == 3 else original(x, w, b),
       linear_differs((1, 2, 3), bias=True))  # fmt: skip
linear("linear_misreads_transposed_square", "conversion", "A transposed square weight is read along its memory.",
       lambda original, x, w, b: original(x, w.t(), b) if w.stride(0) == 1 and w.stride(1) == w.shape[0] > 1
       and w.shape[0] == w.shape[1] else original(x, w, b), linear_differs((3,), transposed=True))  # fmt: skip
linear("linear_empty_batch_is_none", "conversion", "An empty batch with a bias gives one row.",
       lambda original, x, w, b: original(x.new_zeros(1, x.shape[-1]), w, b) if x.dim() == 2 and not len(x) and b is not None
       else original(x, w, b), lambda: len(functional.linear(torch.ones(0, 3), torch.ones(2, 3), torch.ones(2))) != 0)  # fmt: skip
linear("linear_double_in_single", "conversion", "float64 is computed in float32 where the weight is not contiguous.",
       lambda original, x, w, b: original(x.float(), w.float(), None if b is None else b.float()).double()
       if x.dtype == w.dtype == torch.float64 and not w.is_contiguous() else original(x, w, b),
       lambda: float(functional.linear(torch.full((1, 1), 1 / 3, dtype=torch.float64),
                                       torch.ones(1, 4, dtype=torch.float64)[:, ::4].expand(2, 1).t()[:1].t()).max()) != 1 / 3)  # fmt: skip
