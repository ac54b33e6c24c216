"""Programs: gradients are clipped, weights are averaged, parameters are flattened.

They import nothing but torch, for their source is what a counterexample's script shows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

Tensor = torch.Tensor


def by_value(given: Any, grads: Any, limit: float, strict: bool, **flags: Any) -> Any:
    return torch.nn.utils.clip_grad_value_(given, limit, foreach=flags["foreach"])


def by_own_norm(given: Any, grads: Any, limit: float, strict: bool, kind: Any, foreach: Any) -> Any:
    if strict:
        return torch.nn.utils.clip_grad_norm_(given, limit, kind, True, foreach)
    return torch.nn.utils.clip_grad_norm_(given, limit, norm_type=kind, foreach=foreach)


def by_taken_norm(given: Any, grads: Any, limit: float, strict: bool, kind: Any, foreach: Any) -> Any:
    total = torch.nn.utils.get_total_norm(grads, kind, error_if_nonfinite=strict, foreach=foreach)
    torch.nn.utils.clip_grads_with_norm_(given, limit, total, foreach=foreach)
    return total


def clipped(
    clip: Callable[..., Any],
    options: dict[str, Any],
    single: bool,
    poison: float,
    sparse: bool,
    bare: Tensor,
    **grads: Tensor,
) -> dict[str, Any]:
    """``single`` is whether the first parameter is given by itself and not in a list, with one that has no gradient."""
    if sparse:  # a table's, as of nn.Embedding(sparse=True)
        grads = {name: grad.to_sparse(1) if grad.dim() == 2 else grad for name, grad in grads.items()}
    members = [torch.nn.Parameter(torch.zeros_like(grad)) for grad in grads.values()]
    for p, grad in zip(members, grads.values(), strict=True):
        p.grad = grad
    if poison:
        members[1].grad[1] = poison  # type: ignore[index]
    kept = [p.grad for p in members]
    before = [p.grad.clone() for p in members if p.grad is not None]
    given: Any = members[0] if single else [*members, torch.nn.Parameter(bare)]
    try:
        total = clip(given, kept[0] if single else list(kept), **options)
    except RuntimeError as error:
        if not options["strict"] or isinstance(error, NotImplementedError):
            raise
        pairs: Any = zip(kept, before, strict=True)
        same = all(torch.equal(a.to_dense().nan_to_num(), b.to_dense().nan_to_num()) for a, b in pairs)
        return {"refused": True, "same": same}
    return {
        "refused": False,
        "none": total is None,
        "total": None if total is None else total.reshape(1).double(),
        "kept": all(p.grad is g for p, g in zip(members, kept, strict=True)),
        **{name: None if p.grad is None else p.grad.to_dense() for name, p in zip(grads, members, strict=True)},
    }


def averaged(kind: str, buffers: bool, counter: bool, values: Tensor) -> dict[str, Any]:
    swa = torch.optim.swa_utils
    layer = tied_layer(values.dtype, counter)
    how: dict[str, Any] = {
        "equal": {},
        "ema": {"multi_avg_fn": swa.get_ema_multi_avg_fn(0.75)},
        "ema_single": {"avg_fn": swa.get_ema_avg_fn(0.75)},
        "swa": {"multi_avg_fn": swa.get_swa_multi_avg_fn()},
        "own": {"avg_fn": lambda average, value, count: 0.5 * average + 0.5 * value},
    }[kind]
    model: Any = swa.AveragedModel(layer, use_buffers=buffers, **how)

    weights, seen, counts = [], [], []
    for value in values:
        with torch.no_grad():
            layer.weight.fill_(value)
            layer.seen.fill_(value)
            if counter:
                layer.steps.add_(1)
        model.update_parameters(layer)
        weights.append(model.module.weight.detach().reshape(()).clone())
        seen.append(model.module.seen.detach().reshape(()).clone())
        counts.append(int(model.module.steps) if counter else 0)
    return {
        "weights": torch.stack(weights),
        "buffered": torch.stack(seen),
        "counts": counts,
        "count": int(model.n_averaged),
        "tied": model.module.weight is model.module.words.weight and len(list(model.module.parameters())) == 1,
        "apart": model.module.weight.data_ptr() != layer.weight.data_ptr() and bool(layer.weight == values[-1]),
    }


def tied_layer(dtype: torch.dtype, counter: bool) -> Any:
    """A layer whose weight is a table's, too, with buffers."""
    layer: Any = torch.nn.Linear(1, 1, bias=False, dtype=dtype)
    layer.words = torch.nn.Embedding(1, 1, dtype=dtype)
    layer.words.weight = layer.weight
    layer.register_buffer("seen", torch.zeros(1, dtype=dtype))
    if counter:  # such as a BatchNorm's num_batches_tracked
        layer.register_buffer("steps", torch.zeros((), dtype=torch.int64))
    return layer


def flattened(order: tuple[str, ...], twice: bool, **parts: Tensor) -> dict[str, Any]:
    utils = torch.nn.utils
    members = [torch.nn.Parameter(parts[name]) for name in order]
    if twice:  # a tied parameter, as in list(embedding.parameters()) + list(head.parameters())
        members.append(members[0])
    marks = [(p.shape, p.dtype, p.requires_grad, p.is_leaf) for p in members]
    vector = utils.parameters_to_vector(iter(members))
    flat = vector.detach().clone()
    dealt = torch.arange(1.0, 1 + flat.numel(), dtype=flat.dtype)
    utils.vector_to_parameters(dealt, iter(members))
    shares = [p.detach().flatten().tolist() for p in members]
    dealt.neg_()
    return {
        "flat": flat,
        "tracked": vector.requires_grad,
        "kept": marks == [(p.shape, p.dtype, p.requires_grad, p.is_leaf) for p in members],
        "parts": shares,
        "copied": shares == [p.detach().flatten().tolist() for p in members],
    }
