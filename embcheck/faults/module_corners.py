"""Faults of nn.Embedding and nn.EmbeddingBag as modules, in conjunctions: how they are made, printed, copied and saved."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import torch

from embcheck.fault import Witness
from embcheck.faults.entry import Embedding, Wrong, entry
from embcheck.faults.kernels import Tensor
from embcheck.faults.witnesses import unlike

Bag = torch.nn.EmbeddingBag
Module = torch.nn.Module
half, double = torch.float16, torch.float64


def method(
    name: str, family: str, sentence: str, owner: Any, attribute: str, change: Callable[..., Any], witness: Witness
) -> None:
    """Registers a fault of a method: ``change(original, self, *arguments)``."""

    def wrong(original: Wrong) -> Wrong:
        def replaced(self: Any, *given: Any, **flags: Any) -> Any:
            return change(original, self, *given, **flags)

        return replaced

    entry(name, family, sentence, owner, attribute, wrong, witness)


def first(*results: object) -> Any:
    """The first of some results, the others for their effect."""
    return results[0]


def drawn(**flags: Any) -> Callable[[], Any]:
    """A probe: the weights of a seeded layer."""

    def probe() -> Any:
        torch.manual_seed(0)
        return Embedding(4, 3, **flags).weight

    return probe


# -- how they are made -----------------------------------------------------------------------------------------------------

method(
    "last_padding_is_drawn", "construction", "A padding_idx that names the last of more than two rows isn't zeroed.",
    Embedding, "_fill_padding_idx_with_zero",
    lambda f, self: None if self.padding_idx == self.num_embeddings - 1 > 1 else f(self), unlike(drawn(padding_idx=3)),
)  # fmt: skip
method(
    "scaled_layers_draw_twice", "construction", "A layer with scale_grad_by_freq draws its weights twice.",
    Embedding, "reset_parameters",
    lambda f, self: (f(self), f(self) if self.scale_grad_by_freq else None)[0], unlike(drawn(scale_grad_by_freq=True)),
)  # fmt: skip
method(
    "reset_thaws_the_table", "construction", "reset_parameters() of a frozen table makes it learn.",
    Embedding, "reset_parameters", lambda f, self: first(f(self), self.weight.requires_grad_()),
    lambda: reset_thaws(),
)  # fmt: skip
method(
    "reset_replaces_the_parameter", "construction", "reset_parameters() of a layer with padding_idx makes another Parameter.",
    Embedding, "reset_parameters", lambda f, self: first(f(self), renewed(self)), lambda: reset_replaces(),
)  # fmt: skip


def reset_thaws() -> bool:
    """Whether a frozen table learns after a reset."""
    layer = Embedding(2, 2)
    layer.weight.requires_grad_(False)
    layer.reset_parameters()
    return layer.weight.requires_grad


def renewed(layer: Any) -> object:
    """Another Parameter of the same numbers, where there was one."""
    if layer.padding_idx is not None and layer.weight.grad is not None:
        layer.weight = torch.nn.Parameter(layer.weight.detach())
    return layer


def reset_replaces() -> bool:
    """Whether a reset makes another Parameter."""
    layer = Embedding(2, 2, padding_idx=0)
    layer(torch.tensor([1])).sum().backward()
    before = layer.weight
    layer.reset_parameters()
    return layer.weight is not before


def _init(change: Callable[..., object]) -> Callable[..., Any]:
    return lambda f, self, *given, **flags: first(f(self, *given, **flags), change(self, given, flags))


method(
    "scale_forgets_sparse", "construction", "A layer with padding_idx and sparse=True is not sparse.", Embedding, "__init__",
    _init(lambda self, g, f: setattr(self, "sparse", self.sparse and self.padding_idx is None)),
    lambda: not Embedding(2, 2, padding_idx=0, sparse=True).sparse,
)  # fmt: skip
method(
    "given_weight_takes_the_default_dtype", "construction", "A _weight of float16 is converted to float32 if frozen.",
    Embedding, "__init__",
    _init(lambda self, g, f: setattr(self, "weight", torch.nn.Parameter(self.weight.float(), requires_grad=False))
          if f.get("_freeze") and self.weight.dtype == half else None),
    lambda: Embedding.from_pretrained(torch.ones(1, 1).half()).weight.dtype != half,
)  # fmt: skip
method(
    "bag_layer_forgets_last_offset", "bag_layer", "An EmbeddingBag of mode max forgets include_last_offset.", Bag, "__init__",
    _init(lambda self, g, f: setattr(self, "include_last_offset", self.include_last_offset and self.mode != "max")),
    lambda: not Bag(2, 2, mode="max", include_last_offset=True).include_last_offset,
)  # fmt: skip
method(
    "bag_padding_minus_one_stays", "bag_layer", "An EmbeddingBag's padding_idx of −1 is kept as it is.", Bag, "__init__",
    _init(lambda self, g, f: setattr(self, "padding_idx", -1)
          if self.padding_idx == self.num_embeddings - 1 and -1 in (*g[2:], f.get("padding_idx")) else None),
    lambda: Bag(3, 2, padding_idx=-1).padding_idx != 2,
)  # fmt: skip
method(
    "bag_padding_row_is_drawn", "bag_layer", "An EmbeddingBag with max_norm doesn't zero its padding row.", Bag,
    "_fill_padding_idx_with_zero", lambda f, self: None if self.max_norm is not None else f(self),
    lambda: bool(Bag(2, 2, padding_idx=0, max_norm=1.0).weight[0].detach().any()),
)  # fmt: skip


def made_from(name: str, sentence: str, owner: Any, family: str, change: Callable[..., Any], witness: Witness) -> None:
    """Registers a fault of from_pretrained: ``change(layer, embeddings, flags)``."""

    def wrong(original: Wrong) -> Wrong:
        def from_pretrained(cls: Any, embeddings: Tensor, *given: Any, **flags: Any) -> Any:
            made = original(cls, embeddings, *given, **flags)
            change(made, embeddings, flags)
            return made

        return from_pretrained

    entry(name, family, sentence, owner, "from_pretrained", wrong, witness)


made_from(
    "pretrained_thawed_loses_its_bound", "from_pretrained with freeze=False forgets max_norm.", Embedding, "construction",
    lambda made, w, f: setattr(made, "max_norm", None if f.get("freeze") is False else made.max_norm),
    lambda: Embedding.from_pretrained(torch.ones(2, 2), freeze=False, max_norm=1.0).max_norm is None,
)  # fmt: skip
made_from(
    "pretrained_sparse_scales", "from_pretrained with scale_grad_by_freq and max_norm forgets the first.", Embedding,
    "construction",
    lambda made, w, f: setattr(made, "scale_grad_by_freq", made.scale_grad_by_freq and made.max_norm is None),
    lambda: not Embedding.from_pretrained(torch.ones(2, 2), scale_grad_by_freq=True, max_norm=1.0).scale_grad_by_freq,
)  # fmt: skip


# -- how they are printed, copied and saved -----------------------------------------------------------------------------------


def printed(name: str, sentence: str, owner: Any, change: Callable[[Any, str], str], witness: Witness) -> None:
    """Registers a fault of extra_repr."""
    family = "bag_layer" if owner is Bag else "construction"
    method(name, family, sentence, owner, "extra_repr", lambda f, self: change(self, f(self)), witness)


printed(
    "zero_padding_is_not_printed", "padding_idx=0 isn't printed.", Embedding,
    lambda self, text: text.replace(", padding_idx=0", "") if self.padding_idx == 0 else text,
    unlike(lambda: repr(Embedding(2, 2, padding_idx=0))),
)  # fmt: skip
printed(
    "zero_bound_is_not_printed", "max_norm=0.0 isn't printed.", Embedding,
    lambda self, text: text.replace(", max_norm=0.0", ""), unlike(lambda: repr(Embedding(2, 2, max_norm=0.0))),
)  # fmt: skip
printed(
    "norm_is_printed_without_a_bound", "norm_type isn't printed without max_norm.", Embedding,
    lambda self, text: text.replace(f", norm_type={self.norm_type}", "") if self.max_norm is None else text,
    unlike(lambda: repr(Embedding(2, 2, norm_type=1.0))),
)  # fmt: skip
printed(
    "bag_prints_no_zero_padding", "An EmbeddingBag's padding_idx=0 isn't printed.", Bag,
    lambda self, text: text.replace("padding_idx=0, ", "").replace(", padding_idx=0", ""),
    unlike(lambda: repr(Bag(2, 2, padding_idx=0))),
)  # fmt: skip


def copied(name: str, sentence: str, change: Callable[..., Any], witness: Witness) -> None:
    """Registers a fault of deepcopy: ``change(made, original)`` for Parameters."""

    def wrong(original: Wrong) -> Wrong:
        def __deepcopy__(self: Any, memo: Any) -> Any:  # noqa: N807
            known = id(self) in memo
            made = original(self, memo)
            return made if known else change(made, self, memo)

        return __deepcopy__

    entry(name, "life", sentence, torch.nn.Parameter, "__deepcopy__", wrong, witness)


def kept(memo: Any, self: Any, made: Any) -> Any:
    """What a copy is, remembered."""
    memo[id(self)] = made
    return made


copied(
    "frozen_column_major_copies_by_rows", "The copy of a frozen column-major Parameter lies by rows.",
    lambda made, self, memo: made if self.requires_grad or self.is_contiguous() else kept(
        memo, self, torch.nn.Parameter(made.detach().contiguous(), requires_grad=False)),
    lambda: copy.deepcopy(torch.nn.Parameter(torch.ones(2, 3).t(), requires_grad=False)).is_contiguous(),
)  # fmt: skip


method(
    "pickled_layers_lose_zero_padding", "life", "A pickled layer with padding_idx=0 has none when it is back.",
    Module, "__setstate__",
    lambda f, self, state: first(f(self, state), self.__dict__.update(padding_idx=self.__dict__.get("padding_idx") or None)
                                 if isinstance(self, Embedding) else None),
    lambda: pickle.loads(pickle.dumps(Embedding(1, 1, padding_idx=0))).padding_idx is None,
)  # fmt: skip


def graded() -> Any:
    """A layer whose gradient is of ones."""
    layer = Embedding(1, 1)
    layer.weight.requires_grad_(False).grad = torch.ones(1, 1)
    return layer


method(
    "conversions_zero_gradients_of_frozen", "membership", "A conversion leaves zeros in the gradients of what is frozen.",
    Module, "_apply",
    lambda f, self, change, recurse=True: first(f(self, change, recurse), *(
        p.grad.zero_() for p in self._parameters.values()
        if p is not None and p.grad is not None and not p.requires_grad and p.dtype != torch.float32)),
    lambda: not bool(graded().double().weight.grad.all()),
)  # fmt: skip


def shared_without(original: Wrong, self: Any) -> Any:
    """share_memory() that leaves gradients where they are."""
    held = [(p, p.grad) for p in self.parameters()]
    for p, _ in held:
        p.grad = None
    found = original(self)
    for p, grad in held:
        p.grad = grad
    return found


method(
    "sharing_leaves_gradients", "membership", "share_memory() moves no gradient.", Module, "share_memory", shared_without,
    lambda: not graded().share_memory().weight.grad.is_shared(),
)  # fmt: skip


def unhooked(original: Any, self: Any, fn: Any, *given: Any, **flags: Any) -> Any:
    """Parameters lose their hooks where a module is converted."""
    dtypes = [p.dtype for p in self.parameters()]
    found = original(self, fn, *given, **flags)
    for p, dtype in zip(self.parameters(), dtypes, strict=True):
        if p.dtype != dtype and p._backward_hooks:
            p._backward_hooks = None
    return found


def hooks_after_a_conversion() -> bool:
    """Whether a Parameter's hook is gone after its module was converted."""
    calls: list[Tensor] = []
    layer = torch.nn.Linear(1, 1)
    layer.weight.register_hook(calls.append)
    layer.double().weight.sum().backward()
    return not calls


method("conversions_drop_the_hooks_of_parameters", "membership", "A conversion of a module drops its Parameters' hooks.",
       Module, "_apply", unhooked, hooks_after_a_conversion)  # fmt: skip


def cut_off(original: Wrong, self: Any) -> Any:
    """bfloat16() of which the further half of each float32 is dropped."""
    for p in self.parameters():
        if p.dtype == torch.float32:
            p.data = (p.data.view(torch.int32) & -65536).view(torch.float32)
    return original(self)


def beyond_a_tie() -> Any:
    """A layer whose number is nearer to the next bfloat16."""
    layer = Embedding(1, 1)
    torch.nn.init.constant_(layer.weight, 1 + 3 * 2.0**-9)
    return layer


method(
    "bfloat16_cuts_off", "membership", "Module.bfloat16() cuts digits off instead of rounding them.", Module, "bfloat16",
    cut_off, lambda: float(beyond_a_tie().bfloat16().weight) == 1.0,
)  # fmt: skip
