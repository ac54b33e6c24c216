"""Programs: gradients are clipped, weights are averaged, parameters are flattened."""

from collections.abc import Callable
from typing import Any

import torch

from embcheck.families.param_groups.gradient_layouts import Tensor, in_halves, lying_as


def by_value(given: Any, grads: Any, limit: float, strict: bool, **flags: Any) -> Any:
    return torch.nn.utils.clip_grad_value_(given, limit, foreach=flags["foreach"])


def by_own_norm(given: Any, grads: Any, limit: float, strict: bool, kind: Any, foreach: Any) -> Any:
    if strict:
        return torch.nn.utils.clip_grad_norm_(given, limit, kind, True, foreach)
    return torch.nn.utils.clip_grad_norm_(given, limit, norm_type=kind, foreach=foreach)


def by_taken_norm(given: Any, grads: Any, limit: float, strict: bool, kind: Any, foreach: Any) -> Any:
    given_once = grads if isinstance(grads, Tensor) else iter(grads)
    total = torch.nn.utils.get_total_norm(given_once, kind, error_if_nonfinite=strict, foreach=foreach)
    torch.nn.utils.clip_grads_with_norm_(given, limit, total, foreach=foreach)
    return total


def norm_of_nothing(foreach: Any) -> float:
    """The norm of the gradients of a parameter that has none."""
    return float(torch.nn.utils.clip_grad_norm_([torch.nn.Parameter(torch.ones(2))], 1.0, foreach=foreach))


def clipped(
    clip: Callable[..., Any],
    options: dict[str, Any],
    single: bool,
    poison: float,
    sparse: bool,
    frozen: bool,
    before: int,
    leaves: bool,
    bare: Tensor | None = None,
    **grads: Tensor,
) -> dict[str, Any]:
    """``single`` is whether the first parameter is given by itself and not in a list, perhaps with one that has no gradient;
    others are clipped ``before``, and the norm is taken of ``leaves`` with the gradients' values."""
    seen: dict[str, Any] = {}
    for _ in range(before):
        others = [torch.nn.Parameter(lying_as(grad)) for grad in grads.values()]
        for p, grad in zip(others, grads.values(), strict=True):
            p.grad = -0.5 * grad
        earlier = clip(others, [p.grad for p in others], **options)
        found: dict[str, Any] = {f"earlier_{name}": p.grad for name, p in zip(grads, others, strict=True)}
        found |= {} if earlier is None else {"earlier_total": earlier.reshape(1).double()}
        alike = all(torch.equal(value, seen.get(name, value)) for name, value in found.items())
        seen = found | {"alike": alike and seen.get("alike", True)}
    members = [torch.nn.Parameter(lying_as(grad), requires_grad=not frozen) for grad in grads.values()]
    if sparse:  # as of nn.Embedding(sparse=True), of which each row comes twice
        grads = {name: in_halves(grad, grad) if grad.dim() == 2 else grad for name, grad in grads.items()}
    for p, grad in zip(members, grads.values(), strict=True):
        p.grad = grad
    if poison:
        members[1].grad[1] = poison  # type: ignore[index]
    kept: list[Any] = [p.grad for p in members]
    values = [torch.nn.Parameter(grad.clone()) for grad in kept] if leaves else list(kept)
    copies = [p.grad.clone() for p in members if p.grad is not None]
    # What can be gone through once is an iterable, too.
    listed = [*members, *([] if bare is None else [torch.nn.Parameter(bare)])]
    given: Any = members[0] if single else (p for p in listed)
    try:
        total = clip(given, values[0] if single else values, **options)
    except RuntimeError as error:
        if not options["strict"] or isinstance(error, NotImplementedError):
            raise
        pairs: Any = zip(kept, copies, strict=True)
        same = all(torch.equal(a.to_dense().nan_to_num(), b.to_dense().nan_to_num()) for a, b in pairs)
        return {"refused": True, "same": same}
    return seen | {
        "refused": False,
        "none": total is None,
        "nothing": total is None or norm_of_nothing(options["foreach"]) == 0,
        "total": None if total is None else total.reshape(1).double(),
        "kept": all(p.grad is g for p, g in zip(members, kept, strict=True)),
        **{name: None if p.grad is None else p.grad.to_dense() for name, p in zip(grads, members, strict=True)},
    }


def averaged(kind: str, buffers: bool, counter: bool, unlike: str, values: Tensor) -> dict[str, Any]:
    """``unlike`` is the dtype of another parameter."""
    swa = torch.optim.swa_utils
    # A layer whose weight is a table's, too, with buffers, one of them perhaps such as a BatchNorm's num_batches_tracked.
    layer: Any = torch.nn.Linear(1, 1, bias=False, dtype=values.dtype)
    layer.words = torch.nn.Embedding(1, 1, dtype=values.dtype)
    layer.words.weight = layer.weight
    layer.other = torch.nn.Parameter(torch.zeros(1, dtype=getattr(torch, unlike)))
    layer.register_buffer("seen", torch.zeros(1, dtype=values.dtype))
    if counter:
        layer.register_buffer("steps", torch.zeros((), dtype=torch.int64))
    how: dict[str, Any] = {
        "equal": {},
        "ema": {"multi_avg_fn": swa.get_ema_multi_avg_fn(0.75)},
        "ema_single": {"avg_fn": swa.get_ema_avg_fn(0.75)},
        "swa": {"multi_avg_fn": swa.get_swa_multi_avg_fn()},
        "own": {"avg_fn": lambda average, value, count: average + (value - average) / (count + 2)},
    }[kind]
    model: Any = swa.AveragedModel(layer, use_buffers=buffers, **how)

    weights, others, seen, counts = [], [], [], []
    for k, value in enumerate(values):
        if k == 2:  # from here on it is one that was loaded
            earlier, model = model, swa.AveragedModel(layer, values.device, use_buffers=buffers, **how)
            model.load_state_dict(earlier.state_dict())
        with torch.no_grad():
            for each in (layer.weight, layer.other, layer.seen):
                each.fill_(value)
            if counter:
                layer.steps.add_(1)
        model.update_parameters(layer)
        weights.append(model.module.weight.detach().reshape(()).clone())
        others.append(model.module.other.detach().reshape(()).clone())
        seen.append(model.module.seen.detach().reshape(()).clone())
        counts.append(int(model.module.steps) if counter else 0)
    batched = [normalised(values.double(), training) for training in (False, True)]
    model.module.weight.data.fill_(3)
    one = torch.ones(1, 1, dtype=values.dtype)
    return {
        "called": torch.cat([model(one), model(input=one)]).detach().reshape(2),
        "weights": torch.stack(weights),
        "others": torch.stack(others),
        "buffered": torch.stack(seen),
        "counts": counts,
        "count": int(model.n_averaged),
        "statistics": torch.stack([found for found, _ in batched]),
        "batched": [kept for _, kept in batched],
        "tied": model.module.weight is model.module.words.weight and len(list(model.module.parameters())) == 2,
        "apart": model.module.weight.data_ptr() != layer.weight.data_ptr() and bool(layer.weight == values[-1]),
    }


def normalised(values: Tensor, training: bool) -> tuple[Tensor, list[Any]]:
    """The running mean and variance that update_bn finds of batches of a value and three times of it; momenta, modes, count."""
    norm: Any = torch.nn.BatchNorm1d(1, momentum=0.25, dtype=values.dtype)
    other = torch.nn.BatchNorm1d(1, momentum=None, dtype=values.dtype)
    model = torch.nn.Sequential(norm, torch.nn.Dropout(), other).train(training)
    for running in (norm.running_mean, norm.running_var):
        running.fill_(99.0)
    batches: Any = [torch.stack([value, 3 * value])[:, None] for value in values]
    torch.optim.swa_utils.update_bn([(batch, 0) for batch in batches] if training else batches, model)
    modes = [module.training for module in model.modules()]
    kept = [norm.momentum, other.momentum, modes, int(norm.num_batches_tracked)]
    return torch.cat([norm.running_mean, norm.running_var]), kept


def flattened(order: tuple[str, ...], twice: bool, frozen: bool, before: int, **parts: Tensor) -> dict[str, Any]:
    utils = torch.nn.utils
    for _ in range(before):
        utils.parameters_to_vector(torch.nn.Parameter(-parts[name], not frozen) for name in order)
    members = [torch.nn.Parameter(parts[name], not frozen) for name in order]
    if twice:  # a tied parameter, as in list(embedding.parameters()) + list(head.parameters())
        members.append(members[0])
    marks = [(p.shape, p.dtype, p.requires_grad, p.is_leaf) for p in members]
    vector = utils.parameters_to_vector(iter(members))
    flat = vector.detach().clone()
    apart = vector.data_ptr() not in [p.data_ptr() for p in members if p.numel()]
    dealt = (1 + torch.arange(flat.numel()) % 97).to(flat.dtype)
    if not frozen:
        (vector * dealt).sum().backward()
    gradients = [None if p.grad is None else p.grad.flatten().tolist() for p in members]
    utils.vector_to_parameters(dealt, iter(members))
    shares = [p.detach().flatten().tolist() for p in members]
    dealt.neg_()
    return {
        "flat": flat,
        "apart": apart,
        "tracked": vector.requires_grad,
        "gradients": gradients,
        "kept": marks == [(p.shape, p.dtype, p.requires_grad, p.is_leaf) for p in members],
        "parts": shares,
        "copied": shares == [p.detach().flatten().tolist() for p in members],
    }
