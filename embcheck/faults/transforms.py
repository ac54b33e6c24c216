"""Faults of transforms: torch.func, vmap, forward mode and torch.autograd.functional."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from embcheck.fault import Witness
from embcheck.faults.entry import Wrong, embedding, entry, functional, out_changed
from embcheck.faults.kernels import Tensor

forward_ad = torch.autograd.forward_ad
bfloat16, half, double = torch.bfloat16, torch.float16, torch.float64
Change = Callable[[Any, tuple[Any, ...]], Any]


def after(owner: Any, name: str, attribute: str, sentence: str, change: Change, witness: Witness) -> None:
    """A fault of a transform that returns a function: what that gives back is changed."""

    def wrong(original: Wrong) -> Wrong:
        def replaced(*given: Any, **flags: Any) -> Any:
            inner = original(*given, **flags)
            return lambda *args, **more: change(inner(*args, **more), args)

        return replaced

    entry(name, "transform", sentence, owner, attribute, wrong, witness)


def at_once(owner: Any, name: str, attribute: str, sentence: str, change: Change, witness: Witness) -> None:
    """A fault of a function whose result is changed by ``change(result, arguments)``."""

    def wrong(original: Wrong) -> Wrong:
        return lambda *given, **flags: change(original(*given, **flags), (*given, flags))

    entry(name, "transform", sentence, owner, attribute, wrong, witness)


def table(dtype: torch.dtype = torch.float32) -> Tensor:
    """Three rows of two distinct numbers."""
    return torch.arange(1.0, 7.0).reshape(3, 2).to(dtype)


def look(weight: Tensor, tokens: Any = (0, 2, 2)) -> Tensor:
    """A lookup of some rows, by whatever F.embedding is now."""
    return functional.embedding(torch.as_tensor(tokens), weight)


def loss(weight: Tensor, tokens: Any = (0, 2, 2)) -> Tensor:
    """The sum of the rows looked up."""
    return look(weight, tokens).sum()


ONE = torch.ones(1)
COUNTS = torch.tensor([[1.0, 1.0], [0.0, 0.0], [2.0, 2.0]])
func, auto = torch.func, torch.autograd.functional


def zeroed(result: Tensor, place: Any) -> Tensor:
    """A copy with zeros at a place."""
    found = result.clone()
    found[place] = 0
    return found


after(func, "func_grad_bfloat16_loses_last_row", "grad", "torch.func.grad of bfloat16 tables loses the last row.",
      lambda out, args: zeroed(out, -1) if isinstance(out, Tensor) and out.dtype == bfloat16 and out.numel() else out,
      lambda: not torch.equal(func.grad(loss)(table(bfloat16)).float(), COUNTS))  # fmt: skip
after(func, "func_grad_argnums_in_order", "grad", "torch.func.grad gives two arguments' gradients in ascending order.",
      lambda out, args: out[::-1] if isinstance(out, tuple) and len(out) == 2 else out,
      lambda: float(func.grad(lambda x, y: (x * 2 + y * 3).sum(), argnums=(1, 0))(ONE, ONE)[0]) != 3)  # fmt: skip
after(func, "grad_and_value_gives_other_value", "grad_and_value", "grad_and_value negates what comes along in has_aux.",
      lambda out, args: (out[0], (out[1][0], -out[1][1])),
      lambda: func.grad_and_value(lambda w: (loss(w), look(w)), has_aux=True)(table())[1][1].sum().item() < 0)  # fmt: skip
at_once(func, "vjp_value_of_float64_in_single", "vjp", "The value of torch.func.vjp passes through float16 in float64.",
        lambda out, given: (out[0].half().double(), *out[1:]) if out[0].dtype == double else out,
        lambda: float(func.vjp(lambda w: w * 1.0001, torch.ones(1, dtype=double))[0]) == 1.0)  # fmt: skip


def _once(out: Any, given: tuple[Any, ...]) -> Any:
    calls: list[int] = []

    def pull(*sent: Any) -> Any:
        calls.append(1)
        found = out[1](*sent)
        return found if len(calls) == 1 else tuple(torch.zeros_like(x) for x in found)

    return (out[0], pull, *out[2:])


def second_pull() -> bool:
    """Whether the second use of a vjp gives another result."""
    _, pull = func.vjp(loss, table())  # type: ignore[misc]
    return not torch.equal(pull(torch.ones(()))[0], pull(torch.ones(()))[0])


at_once(
    func, "vjp_pulls_once", "vjp", "What torch.func.vjp returns pulls zeros when it is used again.", _once, second_pull
)
at_once(func, "jvp_doubles_rank_2", "jvp", "torch.func.jvp doubles the tangent of a lookup of rank 2.",
        lambda out, given: (out[0], out[1] * 2) if out[1].dim() == 3 else out,
        lambda: float(func.jvp(lambda w: look(w, [[0]]), (table(),), (table(),))[1][0, 0, 0]) != 1.0)  # fmt: skip
at_once(func, "jvp_value_is_the_tangent", "jvp", "torch.func.jvp of float16 gives the tangent as the value.",
        lambda out, given: (out[1], out[1]) if out[0].dtype == half else out,
        lambda: float(func.jvp(look, (table(half),), (-table(half),))[0][0, 0]) != 1.0)  # fmt: skip
after(func, "jacfwd_transposes_square", "jacfwd", "jacfwd exchanges rows and columns of a square table in float32.",
      lambda out, args: out.transpose(-1, -2) if out.dim() > 3 and out.shape[-1] == out.shape[-2] > 1 else out,
      lambda: float(func.jacfwd(lambda w: look(w, [0]))(torch.ones(2, 2))[0, 1, 0, 1]) != 1.0)  # fmt: skip
after(func, "jacrev_scalar_index_negated", "jacrev", "jacrev of a lookup of one token without an axis is negated.",
      lambda out, args: -out if out.dim() == 3 else out,
      lambda: float(func.jacrev(lambda w: look(w, 0))(table())[0, 0, 0]) != 1.0)  # fmt: skip
after(func, "hessian_of_one_column_halved", "hessian", "The Hessian of a table of one column is halved.",
      lambda out, args: out / 2 if out.dim() == 4 and out.shape[-1] == 1 else out,
      lambda: float(func.hessian(lambda w: (look(w, [0]) ** 2).sum())(torch.ones(1, 1))) != 2.0)  # fmt: skip


def _last_chunk(original: Wrong) -> Wrong:
    def jacrev(function: Any, *given: Any, chunk_size: int | None = None, **flags: Any) -> Any:
        inner = original(function, *given, chunk_size=chunk_size, **flags)
        spoil = chunk_size is not None
        return lambda *args: zeroed(inner(*args), -1) if spoil else inner(*args)

    return jacrev


entry("jacrev_last_chunk_is_zero", "transform", "jacrev with chunk_size loses the last token's rows.", func, "jacrev", _last_chunk,
      lambda: not func.jacrev(look, chunk_size=2)(table())[-1].any())  # fmt: skip

# -- vmap ----------------------------------------------------------------------------------------------------------


def _vmap(change: Callable[[Any, Any, int | None], tuple[Any, Any, int | None]]) -> Callable[[Wrong], Wrong]:
    """vmap with other in_dims, out_dims and chunk_size."""

    def wrong(original: Wrong) -> Wrong:
        def vmap(
            function: Any, in_dims: Any = 0, out_dims: Any = 0, randomness: str = "error", *, chunk_size: Any = None
        ) -> Any:
            inner, outer, size = change(in_dims, out_dims, chunk_size)
            return original(function, inner, outer, randomness, chunk_size=size)

        return vmap

    return wrong


def other(dims: Any, wanted: Any, instead: Any) -> Any:
    """in_dims with one number replaced, where there is more than one part."""
    if not isinstance(dims, tuple):
        return dims
    return tuple(instead if type(dim) is int and dim == wanted else dim for dim in dims)


def _whole(axes: Any) -> Any:
    """Axes in which those of a dict whose keys ascend are zero."""
    if not isinstance(axes, tuple):
        return axes
    crossed = [isinstance(each, dict) and [*each] == sorted(each) for each in axes]
    return tuple(dict.fromkeys(each, 0) if turned else each for each, turned in zip(axes, crossed, strict=True))


entry("vmap_minus_one_is_zero", "transform", "vmap takes in_dims = −1 for 0.", torch, "vmap",
      _vmap(lambda i, o, c: (other(i, -1, 0), o, c)),
      lambda: torch.vmap(lambda x, y: x, (-1, -1))(torch.ones(2, 3), torch.ones(2, 3)).shape[0] != 3)  # fmt: skip
entry("vmap_maps_sorted_dicts_whole", "transform", "vmap maps all of a dict whose axes are told in alphabetical order.",
      torch.func, "vmap",
      _vmap(lambda i, o, c: (_whole(i), o, c)),
      lambda: torch.func.vmap(lambda w, d: w + d["b"], (0, {"a": None, "b": None}))(
          torch.ones(2), {"a": torch.ones(2), "b": torch.ones(2)}).dim() == 1)  # fmt: skip
entry("vmap_out_dim_one_is_last", "transform", "vmap puts the samples last for out_dims = 1.", torch, "vmap",
      _vmap(lambda i, o, c: (i, -1 if o == 1 else o, c)),
      lambda: torch.vmap(lambda x: x, out_dims=1)(torch.ones(2, 3, 4)).shape[1] != 2)  # fmt: skip
entry("vmap_out_dim_last_is_first", "transform", "vmap puts the samples first for out_dims = −1.", torch, "vmap",
      _vmap(lambda i, o, c: (i, 0 if o == -1 else o, c)),
      lambda: torch.vmap(lambda x: x, out_dims=-1)(torch.ones(2, 3)).shape[-1] != 2)  # fmt: skip


def _vmap_result(change: Callable[[Tensor, tuple[Any, ...], dict[str, Any]], Tensor]) -> Callable[[Wrong], Wrong]:
    def wrong(original: Wrong) -> Wrong:
        def vmap(*given: Any, **flags: Any) -> Any:
            inner = original(*given, **flags)
            return lambda *args: change(inner(*args), args, flags)

        return vmap

    return wrong


def _chunked(out: Tensor, args: tuple[Any, ...], flags: dict[str, Any]) -> Tensor:
    return zeroed(out, -1) if flags.get("chunk_size") and out.dim() and out.shape[0] % 2 else out


entry("vmap_odd_chunk_is_lost", "transform", "vmap with chunk_size leaves zeros for an odd last sample.", torch, "vmap",
      _vmap_result(_chunked),
      lambda: not torch.vmap(lambda x: x + 1, chunk_size=2)(torch.ones(3))[-1])  # fmt: skip


def batched(weight: Tensor) -> bool:
    """Whether vmap maps over a tensor."""
    return torch._C._functorch.is_batchedtensor(weight)


def mapped_differs(
    weights: Tensor, indices: Tensor, dims: tuple[int | None, int | None], expected: float, **flags: Any
) -> Witness:
    """Whether the first number that vmap gives is another."""

    def witness() -> bool:
        mapped = torch.vmap(lambda w, i: functional.embedding(i, w, **flags), dims)
        return float(mapped(weights, indices).flatten()[0]) != expected

    return witness


embedding("vmap_over_tables_with_padding_zero", "transform", "vmap over tables alone, with padding on row 0, masks it in forward.",
          out_changed(lambda i, w, f: batched(w) and not batched(i) and f["padding_idx"] == 0,
                      lambda out, i, w: out * (i != 0)[..., None]),
          mapped_differs(table()[None], torch.tensor([0]), (0, None), 1.0, padding_idx=0))  # fmt: skip
embedding("vmap_over_int32_indices_shifts", "transform", "vmap over int32 indices reads the rows in reverse.",
          lambda original, i, w, **f: original(w.shape[0] - 1 - i if batched(i) and i.dtype == torch.int32 else i, w, **f),
          mapped_differs(table(), torch.zeros(1, 1, dtype=torch.int32), (None, 0), 1.0))  # fmt: skip
embedding("vmap_over_both_takes_one_table", "transform", "vmap over float16 tables and indices negates the values.",
          out_changed(lambda i, w, f: batched(w) and batched(i) and w.dtype == half, lambda out, i, w: -out),
          mapped_differs(table(half)[None], torch.tensor([[0]]), (0, 0), 1.0))  # fmt: skip

# -- forward mode and torch.autograd.functional --------------------------------------------------------------------------

at_once(forward_ad, "dual_tangent_of_bfloat16_halved", "unpack_dual", "unpack_dual halves tangents of bfloat16.",
        lambda out, given: out if out.tangent is None or out.primal.dtype != bfloat16 else out._replace(tangent=out.tangent / 2),
        lambda: tangent(bfloat16) != 1.0)  # fmt: skip


def tangent(dtype: torch.dtype) -> float:
    """The tangent of a lookup of row 0."""
    with forward_ad.dual_level():
        value = look(forward_ad.make_dual(table(dtype), table(dtype)))
        return float(forward_ad.unpack_dual(value).tangent[0, 0])


def _dual(weight: Tensor) -> bool:
    return forward_ad._current_level >= 0 and forward_ad.unpack_dual(weight).tangent is not None


embedding("forward_mode_masks_padding", "transform", "With dual numbers the lookup of padding has value and tangent zero.",
          out_changed(lambda i, w, f: _dual(w) and f["padding_idx"] is not None,
                      lambda out, i, w: out * (i != 0)[..., None]),
          lambda: padded_tangent() != 1.0)  # fmt: skip


def padded_tangent() -> float:
    """The tangent of a lookup of row 0, which is padding."""
    with forward_ad.dual_level():
        value = functional.embedding(torch.tensor([0]), forward_ad.make_dual(table(), table()), 0)
        return float(forward_ad.unpack_dual(value).tangent[0, 0])


at_once(auto, "functional_hvp_forgets_the_two", "hvp", "torch.autograd.functional.hvp gives half the product for one row.",
        lambda out, given: (out[0], out[1] / 2) if out[1].shape[0] == 1 else out,
        lambda: float(auto.hvp(lambda w: (w**2).sum(), torch.ones(1, 1), torch.ones(1, 1))[1]) != 2.0)  # fmt: skip
at_once(auto, "functional_vhp_negates_float64", "vhp", "torch.autograd.functional.vhp has the other sign in float64.",
        lambda out, given: (out[0], -out[1]) if out[1].dtype == double else out,
        lambda: float(auto.vhp(lambda w: (w**2).sum(), ONE.double(), ONE.double())[1]) < 0)  # fmt: skip
at_once(auto, "functional_jvp_adds_the_value", "jvp", "torch.autograd.functional.jvp of rank 2 adds the value to the product.",
        lambda out, given: (out[0], out[1] + out[0]) if out[1].dim() == 3 else out,
        lambda: float(auto.jvp(lambda w: look(w, [[0]]), table(), table())[1][0, 0, 0]) != 1.0)  # fmt: skip
at_once(auto, "functional_vjp_keeps_its_graph", "vjp", "torch.autograd.functional.vjp leaves its result in a graph.",
        lambda out, given: (out[0], out[1].requires_grad_()),
        lambda: auto.vjp(look, table(), torch.ones(3, 2))[1].requires_grad)  # fmt: skip
at_once(auto, "vectorized_jacobian_of_many_rows", "jacobian", "A vectorized Jacobian of more than three rows loses the last one.",
        lambda out, given: zeroed(out, (..., -1, slice(None))) if given[-1].get("vectorize") and out.shape[-2] > 3 else out,
        lambda: not auto.jacobian(lambda w: look(w, [3]), torch.ones(4, 1), vectorize=True).any())  # fmt: skip
at_once(auto, "functional_hessian_is_lower", "hessian", "torch.autograd.functional.hessian has zeros for the first row.",
        lambda out, given: zeroed(out, 0) if out.dim() == 4 and out.shape[0] > 1 else out,
        lambda: float(auto.hessian(lambda w: (w**2).sum(), torch.ones(2, 1))[0, 0, 0, 0]) != 2.0)  # fmt: skip


def _same_for_all(original: Wrong) -> Wrong:
    def grad(*given: Any, is_grads_batched: bool = False, **flags: Any) -> Any:
        found = original(*given, is_grads_batched=is_grads_batched, **flags)
        return tuple(x[:1].expand(x.shape).clone() for x in found) if is_grads_batched else found

    return grad


entry("batched_gradients_are_the_first", "transform", "autograd.grad(is_grads_batched=True) gives the first sample's for all.",
      torch.autograd, "grad", _same_for_all, lambda: batched_gradient() != 2.0)  # fmt: skip


def batched_gradient() -> float:
    """The gradient of the second of two upstream gradients."""
    weight = torch.ones(1, requires_grad=True)
    (found,) = torch.autograd.grad(weight * 1, weight, torch.tensor([[1.0], [2.0]]), is_grads_batched=True)
    return float(found[1])
