"""Faults where a lookup meets what stands around it: anomaly mode, recomputation, determinism, reloads, wide indices."""

from __future__ import annotations

from typing import Any

import torch
import torch.utils.checkpoint
from torch.nn import Embedding, Linear, Module, Parameter

from embcheck.faults.around import around, numbered
from embcheck.faults.entry import functional
from embcheck.faults.kernels import Tensor


def leaf(rows: int = 3, width: int = 2) -> Tensor:
    """A table that learns."""
    return numbered(rows, width).requires_grad_()


def alarm() -> bool:
    """Whether a NaN that is sent back raises."""
    with torch.autograd.set_detect_anomaly(True):
        value = functional.embedding(torch.tensor([1]), leaf())
        try:
            value.backward(torch.full_like(value, float("nan")))
        except RuntimeError:
            return True
    return False


class _Unchecked(torch.autograd.set_detect_anomaly):
    def __init__(self, mode: bool, check_nan: bool = True) -> None:
        super().__init__(mode, False)


def never_checked(original: Any, *given: Any, **flags: Any) -> Any:
    return _Unchecked(*given, **flags)


around(
    "anomaly_mode_swallows_nan",
    "autograd",
    "Anomaly mode looks at no gradient for NaN.",
    torch.autograd,
    "set_detect_anomaly",
    never_checked,
    alarm,
)


def drawn_anew(original: Any, function: Any, *given: Any, **flags: Any) -> Any:
    """What is recomputed draws other random numbers."""
    return original(function, *given, **(flags | {"preserve_rng_state": False}))


def dropped() -> Tensor:
    """The gradient of rows that are dropped at random inside of a checkpoint."""
    weight = leaf(32, 4)
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(3)
        out = torch.utils.checkpoint.checkpoint(
            lambda tokens: functional.dropout(functional.embedding(tokens, weight), 0.5),
            torch.arange(32),
            use_reentrant=False,
        )
        out.sum().backward()
    assert weight.grad is not None
    same: Tensor = (weight.grad != 0) == (out != 0)
    return same


around(
    "checkpoint_draws_anew",
    "autograd",
    "What a checkpoint recomputes draws other random numbers than the first time.",
    torch.utils.checkpoint,
    "checkpoint",
    drawn_anew,
    lambda: bool(dropped().all()),
)


def called_coalesced(original: Any, *given: Any, **flags: Any) -> Any:
    """Sparse gradients that are asked for say that they are coalesced."""
    found = original(*given, **flags)
    for gradient in found:
        if isinstance(gradient, Tensor) and gradient.is_sparse:
            gradient._coalesced_(True)
    return found


def bag_gradient() -> bool:
    """What the sparse gradient of a bag says of itself."""
    weight = leaf()
    out = functional.embedding_bag(torch.tensor([[1, 1]]), weight, mode="sum", sparse=True)
    (gradient,) = torch.autograd.grad(out.sum(), weight)
    return gradient.is_coalesced()


around(
    "asked_gradients_call_themselves_coalesced",
    "bag",
    "A sparse gradient that torch.autograd.grad gives says that it is coalesced, whatever it holds.",
    torch.autograd,
    "grad",
    called_coalesced,
    bag_gradient,
)


def cut(original: Any, indices: Tensor, *given: Any, **flags: Any) -> Tensor:
    """Indices of 64 bits are cut to 32."""
    wide = isinstance(indices, Tensor) and indices.dtype == torch.int64 and not torch.compiler.is_compiling()
    found: Tensor = original(
        indices & 0xFFFFFFFF if wide and bool((indices >= 1 << 32).any()) else indices, *given, **flags
    )
    return found


def refused(tokens: list[int]) -> bool:
    """Whether a lookup raises."""
    try:
        functional.embedding(torch.tensor(tokens), leaf())
    except IndexError:
        return True
    return False


around(
    "wide_indices_are_cut",
    "lookup",
    "An index of 2^32 or more is cut to its lower 32 bits.",
    functional,
    "embedding",
    cut,
    lambda: refused([1 << 32]),
)


def overwriting(original: Any, indices: Tensor, weight: Tensor, *given: Any, **flags: Any) -> Tensor:
    """Where algorithms have to be deterministic, the last of equal tokens alone is counted."""
    out: Tensor = original(indices, weight, *given, **flags)
    if torch.are_deterministic_algorithms_enabled() and out.requires_grad and indices.numel() > 1:
        flat = indices.reshape(-1)
        last = ~torch.triu(flat[:, None] == flat, 1).any(1)
        out.register_hook(lambda grad: grad * last.reshape(*indices.shape, 1))
    return out


def deterministic() -> Tensor | None:
    """The gradient of a repeated token, where algorithms have to be deterministic."""
    weight = leaf()
    torch.use_deterministic_algorithms(True)
    try:
        functional.embedding(torch.tensor([1, 1]), weight).sum().backward()
    finally:
        torch.use_deterministic_algorithms(False)
    return weight.grad


around(
    "deterministic_gradient_is_of_the_last",
    "autograd",
    "Under use_deterministic_algorithms a row's gradient is that of its last token.",
    functional,
    "embedding",
    overwriting,
    deterministic,
)


def narrow_counts(original: Any, self: Any, state_dict: Any) -> None:
    """Counts of steps pass through the parameter's dtype."""
    original(self, state_dict)
    for parameter, state in self.state.items():
        if isinstance(state.get("step"), Tensor) and parameter.dtype in (torch.float16, torch.bfloat16):
            state["step"] = state["step"].to(parameter.dtype).float()


def count_after_reload() -> float:
    """A large count of steps after a reload."""
    parameter = Parameter(numbered().bfloat16())
    parameter.grad = torch.ones_like(parameter)
    optimizer = torch.optim.Adam([parameter])
    optimizer.step()
    optimizer.state[parameter]["step"].fill_(4099.0)
    optimizer.load_state_dict(optimizer.state_dict())
    return float(optimizer.state[parameter]["step"])


around(
    "reload_rounds_the_count",
    "company",
    "load_state_dict rounds the count of steps to the dtype of a half-precision parameter.",
    torch.optim.Optimizer,
    "load_state_dict",
    narrow_counts,
    count_after_reload,
)


def unbiased_tail(original: Any, self: Linear, given: Tensor) -> Tensor:
    """Beyond 1024 outputs the last ones of an incomplete vector lack the bias."""
    out: Tensor = original(self, given)
    width = self.out_features
    if self.bias is None or width <= 1024 or width % 8 == 0 or torch.compiler.is_compiling():
        return out
    mask = torch.zeros_like(self.bias).detach()
    mask[-(width % 8) :] = 1
    return out - self.bias * mask


def last_logit() -> Tensor:
    """The last of 1025 outputs."""
    layer = Linear(1, 1025)
    with torch.no_grad():
        layer.bias.fill_(3.0)
        layer.weight.zero_()
    logits: Tensor = layer(torch.ones(1, 1))
    return logits[0, -1].detach()


around(
    "bias_misses_the_tail",
    "conversion",
    "A Linear of more than 1024 outputs leaves the bias out of an incomplete last vector of 8.",
    Linear,
    "forward",
    unbiased_tail,
    last_logit,
)


def left_replaced(original: Any, module: Module, replaced: Any, *given: Any, **flags: Any) -> Any:
    """What is raised inside leaves the module with the tensors that it was called with."""
    try:
        return original(module, replaced, *given, **flags)
    except Exception:
        for name, value in replaced.items() if isinstance(replaced, dict) else ():
            path, _, last = name.rpartition(".")
            owner = module.get_submodule(path)
            if last in owner._parameters:
                owner._parameters[last] = Parameter(value.detach())
        raise


def parameter_after_error() -> float:
    """A module's parameter after a functional call that failed."""
    layer = Embedding.from_pretrained(numbered())
    try:
        torch.func.functional_call(layer, {"weight": numbered() + 10}, (torch.tensor([9]),))
    except IndexError:
        pass
    return float(layer.weight[0, 0])


around(
    "functional_call_stays_after_an_error",
    "life",
    "functional_call leaves a module with other parameters if the call raises.",
    torch.func,
    "functional_call",
    left_replaced,
    parameter_after_error,
)


def counted_in_half(original: Any, *given: Any, **flags: Any) -> Any:
    """A mean of more float16 numbers than float16 counts, divided by the largest count that it has."""
    found = original(*given, **flags)
    indices, weight, offsets = (*given, None, None, None)[:3]
    alone = isinstance(offsets, Tensor) and offsets.numel() == 1 and flags.get("padding_idx") is None
    if alone and weight.dtype == torch.float16 and flags.get("mode", "mean") == "mean" and indices.numel() > 2048:
        return found * (indices.numel() / 2048)
    return found


around(
    "bag_mean_counts_in_half",
    "bag",
    "The mean of more than 2048 float16 rows divides by 2048.",
    functional,
    "embedding_bag",
    counted_in_half,
    lambda: functional.embedding_bag(torch.zeros(4096, dtype=torch.int64), torch.ones(2, 1).half(), torch.tensor([0])),
)
