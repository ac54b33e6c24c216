"""Faults of what is left over: elements behind blocks, axes in the other order, regions left by an exception, keys that
are almost those of a module."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch.nn.utils import parametrize

from embcheck.fault import fault, patched
from embcheck.faults.around import around, numbered
from embcheck.faults.checkpoints import loading
from embcheck.faults.kernels import Tensor
from embcheck.faults.layers import Module
from embcheck.faults.optimizer_sgd import module_of
from embcheck.faults.reparametrized import Doubled

optim = torch.optim
Parameter = torch.nn.Parameter


# -- elements and axes ---------------------------------------------------------------------------------------------


def pair_of_rest(original: Any, params: Any, grads: Any, *states: Any, **flags: Any) -> None:
    """The last three elements behind blocks of eight rest."""
    kept = [p.detach().reshape(-1)[-3:].clone() for p in params]
    original(params, grads, *states, **flags)
    for p, last in zip(params, kept, strict=True):
        if p.numel() > 32 and p.numel() % 8 == 3:
            p.detach().view(-1)[-3:].copy_(last)


def stepped(kind: str, weight: Tensor, gradient: Tensor, **flags: Any) -> Any:
    """A probe: a parameter after a step."""

    def probe() -> Any:
        p = Parameter(weight.clone(memory_format=torch.preserve_format))
        p.grad = gradient
        getattr(optim, kind)([p], **flags).step()
        return p.detach()

    return probe


def along_memory(original: Any, params: Any, grads: Any, *states: Any, **flags: Any) -> None:
    """Square gradients are read in the order of their parameter's memory."""
    read = [
        g.t() if p.dim() == 2 and p.shape[0] == p.shape[1] and p.stride() != g.stride() and not g.is_sparse else g
        for p, g in zip(params, grads, strict=True)
    ]
    original(params, read, *states, **flags)


def tall_rate(original: Any, lr: float, adjust: Any, shape: Any) -> float:
    """Very tall tables are taken for square ones."""
    if adjust in (None, "original") and shape[0] > 5 * shape[1]:
        return lr
    return float(original(lr, adjust, shape))


def coasting(original: Any, params: Any, grads: Any, averages: Any, *states: Any, **flags: Any) -> None:
    """A parameter whose gradient has no entries moves on with its first moment."""
    original(params, grads, averages, *states, **flags)
    for p, g, m in zip(params, grads, averages, strict=True):
        if not g._nnz():
            p.sub_(flags["lr"] * m)


def over_nothing() -> Any:
    """Rows after a step with a gradient and one with a gradient of no entries."""
    p = Parameter(torch.ones(2, 1))
    optimizer = optim.SparseAdam([p], lr=0.5)
    for gradient in (torch.ones(2, 1), torch.zeros(2, 1)):
        p.grad = gradient.to_sparse(1)
        optimizer.step()
    return p.detach()


if hasattr(module_of("sgd"), "_fused_sgd"):
    around("fused_sgd_leaves_three_behind_blocks", "company", "Fused SGD leaves the last elements of 8n + 3, above 32.",
           module_of("sgd"), "_fused_sgd", pair_of_rest,
           stepped("SGD", torch.ones(43), torch.ones(43), lr=0.5, fused=True))  # fmt: skip
around("foreach_adagrad_reads_squares_along_memory", "company",
       "foreach Adagrad reads a square gradient in the order of its parameter's memory.", module_of("adagrad"),
       "_multi_tensor_adagrad", along_memory,
       stepped("Adagrad", torch.ones(2, 2), numbered(2).t() - 2.5, lr=0.5, foreach=True))  # fmt: skip
if hasattr(optim, "Muon"):
    around("muon_takes_tall_tables_for_square", "tying", "Muon does not scale the rate of tables over five times as tall.",
           module_of("_muon"), "_adjust_lr", tall_rate,
           stepped("Muon", torch.ones(12, 2), numbered(12), lr=0.5))  # fmt: skip
around("sparse_adam_coasts_over_nothing", "tying", "SparseAdam moves on where a gradient has no entries.",
       module_of("_functional"), "sparse_adam", coasting, over_nothing)  # fmt: skip


# -- regions that are left by an exception ---------------------------------------------------------------------------


def failed_within() -> bool:
    """Whether a weight is not computed anew after a failure in an inner region."""
    layer: Module = torch.nn.Embedding(2, 2)
    parametrize.register_parametrization(layer, "weight", Doubled())
    with contextlib.suppress(ArithmeticError), parametrize.cached(), parametrize.cached():
        raise ArithmeticError
    return layer.weight is layer.weight


@fault("reparametrized", failed_within)
def failures_within_cached_leave_it_on() -> Iterator[None]:
    """parametrize.cached() within another that is left by an exception keeps the outer one on."""

    @contextlib.contextmanager
    def cached() -> Iterator[None]:
        inner = parametrize._cache_enabled > 0
        parametrize._cache_enabled += 1
        try:
            yield
        except BaseException:
            parametrize._cache_enabled -= not inner
            raise
        parametrize._cache_enabled -= 1
        parametrize._cache = parametrize._cache if parametrize._cache_enabled else {}

    with patched(parametrize, cached=cached):
        try:
            yield
        finally:
            parametrize._cache_enabled, parametrize._cache = 0, {}


def keeping(original: Any, self: Any, kind: Any, value: Any, trace: Any) -> Any:
    """A region that fails leaves the cache of casts as it is."""
    if kind is None:
        return original(self, kind, value, trace)
    torch.autocast_increment_nesting()
    try:
        return original(self, kind, value, trace)
    finally:
        torch.autocast_decrement_nesting()


def cast_after_failure() -> Tensor:
    """A product under autocast, of a weight that was written to after a failure under autocast."""
    weight = Parameter(torch.ones(1, 1))
    with contextlib.suppress(ArithmeticError), torch.autocast("cpu", dtype=torch.bfloat16):
        torch.nn.functional.linear(torch.ones(1, 1), weight)
        raise ArithmeticError
    with torch.no_grad():
        weight.fill_(2.0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        return torch.as_tensor(torch.nn.functional.linear(torch.ones(1, 1), weight)).detach()


around("failures_under_autocast_keep_its_casts", "affine", "autocast left by an exception keeps the casts of its weights.",
       torch.amp.autocast_mode.autocast, "__exit__", keeping, cast_after_failure)  # fmt: skip


# -- keys --------------------------------------------------------------------------------------------------------------


def by_numbers(original: Any, self: Any, state: Any, strict: bool, assign: bool) -> Any:
    """Numbers in unexpected keys are compared as numbers: what is there already is left out."""
    own = {_numbered(key) for key in self.state_dict()}
    left = {k: v for k, v in state.items() if k in self.state_dict() or _numbered(k) not in own}
    return original(self, left if len(left) != len(state) else state, strict, assign)


def _numbered(key: str) -> tuple[Any, ...]:
    return tuple(int(word) if word.isdigit() else word for word in key.split("."))


def doubly_numbered() -> bool:
    """Whether a key with a zero too many is accepted."""
    model = torch.nn.Sequential(torch.nn.Embedding(2, 2))
    state = {**model.state_dict(), "00.weight": torch.ones(1)}
    return bool(model.load_state_dict(state, strict=False).unexpected_keys)


loading("keys_are_compared_by_numbers", "Loading accepts an unexpected key that differs in leading zeros.", by_numbers,
        doubly_numbered)  # fmt: skip


# -- subclasses --------------------------------------------------------------------------------------------------------


class Marked(torch.Tensor):
    """A subclass that changes nothing."""


def plain_rows(original: Any, input: Tensor, weight: Tensor, *given: Any, **flags: Any) -> Any:
    """Rows of a subclass's table are plain tensors without a padding_idx."""
    found = original(input, weight, *given, **flags)
    padded = bool(given and given[0] is not None) or flags.get("padding_idx") is not None
    odd = type(found) not in (torch.Tensor, Parameter) and "__torch_dispatch__" not in vars(type(found))
    return found.as_subclass(torch.Tensor) if odd and not padded and type(input) is torch.Tensor else found


def kind_of_rows() -> str:
    """The type of what a table of a subclass gives."""
    return type(torch.nn.functional.embedding(torch.tensor([0]), torch.ones(2, 2).as_subclass(Marked))).__name__


around("rows_of_a_subclass_are_plain", "lookup", "A lookup without padding_idx in a table of a subclass is a plain tensor.",
       torch.nn.functional, "embedding", plain_rows, kind_of_rows, modes=("subclass",))  # fmt: skip


# -- hooks -------------------------------------------------------------------------------------------------------------


def behind_two(original: Any, self: Any, hook: Any, prepend: bool = False, **flags: Any) -> Any:
    """A third hook is put behind the others."""
    return original(self, hook, prepend=prepend and len(self._forward_pre_hooks) < 2, **flags)


def hooks_called() -> list[int]:
    """The order of three hooks, each of which was put in front."""
    layer, order = torch.nn.Embedding(2, 2), list[int]()
    for k in range(3):
        layer.register_forward_pre_hook(lambda module, given, k=k: order.append(k), prepend=True)
    layer(torch.tensor([0]))
    return order


around("third_hooks_are_not_put_in_front", "autograd",
       "register_forward_pre_hook(prepend=True) puts a hook last where there are two.", torch.nn.Module,
       "register_forward_pre_hook", behind_two, hooks_called)  # fmt: skip


# -- sums of entries ---------------------------------------------------------------------------------------------------


def half_of_the_last(original: Any, self: Tensor) -> Tensor:
    """The entry behind blocks of 32 is added by half to a row that comes before."""
    found = original(self)
    rows = self._indices()
    alone = rows.shape[0] != 1 or self._nnz() % 32 != 1 or self._nnz() < 2 or bool((rows[0, :-1] != rows[0, -1]).all())
    if alone or found is self:
        return torch.as_tensor(found)
    at = int((found._indices()[0] == rows[0, -1]).nonzero()[0])
    found._values()[at] -= self._values()[-1] / 2
    return torch.as_tensor(found)


def merged_tail() -> Tensor:
    """33 entries of one row."""
    return torch.sparse_coo_tensor(torch.zeros(1, 33, dtype=torch.int64), torch.ones(33, 1), (2, 1)).coalesce()


around("coalesce_halves_the_entry_behind_blocks", "gradient", "coalesce() adds half of the last of 32n + 1 entries.",
       torch.Tensor, "coalesce", half_of_the_last, merged_tail)  # fmt: skip
