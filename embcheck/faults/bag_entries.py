"""Faults of F.embedding_bag: what it accepts, and what else it does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from embcheck.fault import Witness
from embcheck.faults.bag_kernels import showing
from embcheck.faults.bags import NAMES, Given
from embcheck.faults.entry import entry, functional
from embcheck.faults.functional import bumped
from embcheck.faults.kernels import Tensor

Call = Callable[..., Any]


def call_fault(
    name: str, sentence: str, wrong: Callable[[Call, Given], Any], witness: Witness, family: str = "bag"
) -> None:
    """Registers a fault of F.embedding_bag: ``wrong(original, arguments by name)``."""

    def replace(original: Call) -> Call:
        def replaced(*arguments: Any, **keywords: Any) -> Any:
            given = {"mode": "mean"} | dict(zip(NAMES, arguments, strict=False)) | keywords
            return wrong(original, given)

        return replaced

    entry(name, family, sentence, functional, "embedding_bag", replace, witness)


def after(when: Callable[[Given], bool], change: Callable[[Tensor, Given], Tensor]) -> Callable[[Call, Given], Any]:
    """The output changed on some calls."""

    def wrong(original: Call, given: Given) -> Any:
        out = original(**given)
        return change(out, given) if when(given) else out

    return wrong


def before(when: Callable[[Given], bool], change: Callable[[Given], Given]) -> Callable[[Call, Given], Any]:
    """The arguments changed on some calls."""
    return lambda original, given: original(**(change(given) if when(given) else given))


def learning(given: Given) -> bool:
    """Whether the output is part of a graph."""
    learns = given["weight"].requires_grad or bool(
        (s := given.get("per_sample_weights")) is not None and s.requires_grad
    )
    return learns and torch.is_grad_enabled()


def late(given: Given) -> int:
    """How many tokens lie behind the last offset."""
    if not given.get("include_last_offset") or given["input"].dim() != 1 or not len(given["offsets"]):
        return 0
    return len(given["input"]) - int(given["offsets"][-1])


call_fault(
    "bage_frozen_table_freezes_weights", "Weights of a table that does not learn get no gradient.",
    before(
        lambda g: not g["weight"].requires_grad and g.get("per_sample_weights") is not None,
        lambda g: g | {"per_sample_weights": g["per_sample_weights"].detach()},
    ),
    lambda: not weighted_frozen().requires_grad,
)  # fmt: skip
call_fault(
    "bage_maximum_requires_grad", "A maximum of a frozen table requires grad.",
    after(
        lambda g: g["mode"] == "max" and not g["weight"].requires_grad and torch.is_grad_enabled(),
        lambda out, g: out if out.requires_grad or out.is_inference() else out.requires_grad_(),
    ),
    lambda: functional.embedding_bag(torch.tensor([[0]]), torch.ones(1, 1), mode="max").requires_grad,
)  # fmt: skip
call_fault(
    "bage_maximum_draws", "A maximum draws a random number.",
    after(lambda g: g["mode"] == "max", lambda out, g: (out, torch.rand(1))[0]), lambda: draws(),
)  # fmt: skip
call_fault(
    "bage_moves_versions", "A bag with offsets counts as a write to them.",
    after(
        lambda g: g.get("offsets") is not None and not g["offsets"].is_inference(),
        lambda out, g: bumped(out, g["offsets"]),
    ),
    lambda: moves(),
)  # fmt: skip
call_fault(
    "bage_second_call_is_stale", "A mean of the same tensors as the call before returns the same value, whatever they hold now.",
    lambda original, g: stale(original, g), lambda: second_call() != 2.0,
)  # fmt: skip
call_fault(
    "bage_batch_heeds_last_offset", "include_last_offset drops the last bag of a batch.",
    after(lambda g: g["input"].dim() == 2 and bool(g.get("include_last_offset")) and len(g["input"]) > 1,
          lambda out, g: out[:-1]),
    lambda: len(functional.embedding_bag(torch.tensor([[0], [0]]), torch.ones(1, 1), include_last_offset=True)) != 2,
)  # fmt: skip
call_fault(
    "bage_no_columns_is_refused", "A table without columns is refused.",
    lambda original, g: refused(g) if g["weight"].shape[-1] == 0 else original(**g),
    showing([0], width=0, mode="max"),
)  # fmt: skip
call_fault(
    "bage_one_dimension_without_offsets", "Tokens without offsets are one bag, in sums.",
    before(lambda g: g["mode"] == "mean" and g["input"].dim() == 1 and g.get("offsets") is None,
           lambda g: g | {"offsets": torch.zeros(1, dtype=g["input"].dtype)}),
    lambda: accepts(torch.tensor([0])),
)  # fmt: skip
call_fault(
    "bage_three_dimensions", "Tokens of three axes are flattened to two.",
    before(lambda g: g["input"].dim() == 3 and g["input"].numel() > 0, lambda g: g | {"input": g["input"].flatten(0, 1)}),
    lambda: accepts(torch.tensor([[[0]]])),
)  # fmt: skip
call_fault(
    "bage_weighted_maximum", "A maximum ignores per_sample_weights instead of refusing them.",
    before(lambda g: g["mode"] == "max", lambda g: g | {"per_sample_weights": None}),
    lambda: accepts(torch.tensor([[0]]), mode="max", per_sample_weights=torch.ones(1, 1)),
)  # fmt: skip
call_fault(
    "bage_float32_weights_for_double", "per_sample_weights of another dtype are cast.",
    before(lambda g: g.get("per_sample_weights") is not None,
           lambda g: g | {"per_sample_weights": g["per_sample_weights"].to(g["weight"].dtype)}),
    lambda: accepts(torch.tensor([[0]]), mode="sum", per_sample_weights=torch.ones(1, 1, dtype=torch.float64)),
)  # fmt: skip
call_fault(
    "bage_offsets_are_clamped", "Offsets beyond the tokens are moved to their end, where nothing learns.",
    before(lambda g: g.get("offsets") is not None and not learning(g) and g["offsets"].dim() == 1,
           lambda g: g | {"offsets": g["offsets"].clamp(max=g["input"].numel())}),
    lambda: accepts(torch.tensor([0]), offsets=torch.tensor([0, 2])),
)  # fmt: skip
call_fault(
    "bage_last_token_wraps", "A token -1 is the last row, in maxima.",
    before(lambda g: g["mode"] == "max" and g["input"].dtype in (torch.int32, torch.int64),
           lambda g: g | {"input": torch.where(g["input"] == -1, len(g["weight"]) - 1, g["input"])}),
    lambda: accepts(torch.tensor([[-1]]), mode="max"),
)  # fmt: skip


def accepts(tokens: Tensor, **flags: Any) -> bool:
    """Whether a call that must be refused is accepted."""
    try:
        functional.embedding_bag(tokens, torch.ones(2, 1), **flags)
    except (RuntimeError, ValueError, NotImplementedError):
        return False
    return True


def weighted_frozen() -> Tensor:
    """A weighted sum of a table that does not learn."""
    samples = torch.ones(1, 1, requires_grad=True)
    return functional.embedding_bag(torch.tensor([[0]]), torch.ones(1, 1), mode="sum", per_sample_weights=samples)


def draws() -> bool:
    """Whether a maximum moves the random numbers."""
    kept = torch.get_rng_state()
    functional.embedding_bag(torch.tensor([[0]]), torch.ones(1, 1), mode="max")
    return not torch.equal(kept, torch.get_rng_state())


def moves() -> bool:
    """Whether the offsets' version moves."""
    offsets = torch.tensor([0])
    functional.embedding_bag(torch.tensor([0]), torch.ones(1, 1), offsets)
    return offsets._version != 0


_LAST: list[Any] = [None, None]


def stale(original: Call, given: Given) -> Any:
    """The value, or that of the call before if that had the same memory for table and tokens."""
    out = original(**given)
    if given["mode"] != "mean" or torch._C._functorch.peek_interpreter_stack() is not None or not out.numel():
        return out
    key = (given["weight"].data_ptr(), given["input"].data_ptr(), out.shape, out.dtype)
    if _LAST[0] == key:
        return out - out.detach() + _LAST[1]
    _LAST[:] = key, out.detach().clone()
    return out


def second_call() -> float:
    """A mean after its table has changed."""
    weight, tokens = torch.ones(1, 1), torch.tensor([[0]])
    functional.embedding_bag(tokens, weight)
    weight.fill_(2.0)
    return float(functional.embedding_bag(tokens, weight))


def refused(given: Given) -> Any:
    """An error."""
    raise RuntimeError("embedding_bag: expected a table with columns")
