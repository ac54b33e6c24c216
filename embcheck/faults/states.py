"""Faults of state_dict and load_state_dict."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch

from embcheck.faults.assignments import assigned
from embcheck.faults.entry import entry
from embcheck.faults.kernels import Tensor
from embcheck.faults.layers import Module
from embcheck.faults.parameters import Parameter, Tied, table
from embcheck.faults.witnesses import zero_behind


def saving(name: str, family: str, sentence: str, change: Callable[..., None], witness: Callable[[], bool]) -> None:
    """A fault of Module._save_to_state_dict: ``change(self, destination, prefix)`` afterwards."""

    def wrong(original: Callable[..., None]) -> Callable[..., None]:
        def _save_to_state_dict(self: Any, destination: Any, prefix: str, keep_vars: bool) -> None:
            original(self, destination, prefix, keep_vars)
            change(self, destination, prefix)

        return _save_to_state_dict

    entry(name, family, sentence, Module, "_save_to_state_dict", wrong, witness)


saving(
    "state_is_copied",
    "life",
    "state_dict() copies the weights of an embedding.",
    lambda self, out, prefix: (
        out.update({prefix + "weight": out[prefix + "weight"].clone()})
        if isinstance(self, torch.nn.Embedding) and prefix + "weight" in out
        else None
    ),
    lambda: state_copied(),
)
saving(
    "state_forgets_tied_name",
    "tying",
    "state_dict() has a tied weight under its first name only.",
    lambda self, out, prefix: forget_known(self, out, prefix),
    lambda: len(Tied().model.state_dict()) != 2,
)
saving(
    "state_of_half_is_single",
    "life",
    "state_dict() converts bfloat16 to float32.",
    lambda self, out, prefix: out.update({k: v.float() for k, v in out.items() if v.dtype == torch.bfloat16}),
    lambda: torch.nn.Embedding(1, 1, dtype=torch.bfloat16).state_dict()["weight"].dtype != torch.bfloat16,
)
saving(
    "state_forgets_bias_of_head",
    "life",
    "state_dict() leaves out the bias of a layer that is nested.",
    lambda self, out, prefix: out.pop(prefix + "bias", None) if prefix.count(".") > 1 else None,
    lambda: len(torch.nn.Sequential(torch.nn.Sequential(torch.nn.Linear(1, 1))).state_dict()) != 2,
)


saving(
    "state_skips_views",
    "conversion",
    "state_dict() leaves out a weight that is a transposed view.",
    lambda self, out, prefix: (
        out.pop(prefix + "weight", None)
        if isinstance(self, torch.nn.Linear) and not self.weight.is_contiguous()
        else None
    ),
    lambda: "weight" not in assigned(Parameter(table(3).t())).state_dict(),
)
saving(
    "state_copies_views",
    "conversion",
    "state_dict() copies a weight that is a transposed view.",
    lambda self, out, prefix: (
        out.update({prefix + "weight": out[prefix + "weight"].contiguous()})
        if isinstance(self, torch.nn.Linear) and not self.weight.is_contiguous()
        else None
    ),
    lambda: assigned(Parameter(table(3).t())).state_dict()["weight"].is_contiguous(),
)


def state_copied() -> bool:
    """Whether state_dict() gives copies."""
    module = torch.nn.Embedding(2, 1)
    return bool(module.state_dict()["weight"].data_ptr() != module.weight.data_ptr())


def forget_known(self: Any, out: Any, prefix: str) -> None:
    """Takes the second name of a tensor out of a state dictionary."""
    for name in [name for name in out if name.startswith(prefix) and name.endswith("weight")]:
        earlier = [key for key in out if key != name and out[key].data_ptr() == out[name].data_ptr() != 0]
        if earlier and not name.startswith(tuple(earlier)):
            del out[name]


def loading(name: str, family: str, sentence: str, change: Callable[..., Any], witness: Callable[[], bool]) -> None:
    """A fault of Module._load_from_state_dict: ``change(self, state, prefix, metadata)`` before and what it returns,
    if callable, after."""

    def wrong(original: Callable[..., None]) -> Callable[..., None]:
        def _load_from_state_dict(self: Any, state: Any, prefix: str, metadata: Any, *rest: Any) -> None:
            then = change(self, state, prefix, metadata)
            original(self, state, prefix, metadata, *rest)
            if callable(then):
                then()

        return _load_from_state_dict

    entry(name, family, sentence, Module, "_load_from_state_dict", wrong, witness)


loading(
    "loading_zeroes_padding",
    "padding",
    "Loading an embedding zeroes its padding row.",
    lambda self, state, prefix, meta: (
        (lambda: self.weight.data[self.padding_idx].zero_()) if getattr(self, "padding_idx", None) is not None else None
    ),
    lambda: not bool(loaded(torch.nn.Embedding(2, 2, 0), table()).weight[0].any()),
)
loading(
    "loading_transposes_squares",
    "lookup",
    "A square table is transposed by loading.",
    lambda self, state, prefix, meta: (
        state.update({prefix + "weight": state[prefix + "weight"].t()})
        if isinstance(self, torch.nn.Embedding)
        and self.num_embeddings == self.embedding_dim
        and prefix + "weight" in state
        else None
    ),
    lambda: not torch.equal(loaded(torch.nn.Embedding(2, 2), table()).weight, table()),
)
loading(
    "loading_freezes",
    "life",
    "A loaded bias no longer requires grad.",
    lambda self, state, prefix, meta: (
        (lambda: self.bias.requires_grad_(False)) if isinstance(getattr(self, "bias", None), Parameter) else None
    ),
    lambda: not loaded_linear().bias.requires_grad,
)
loading(
    "loading_assigns_always",
    "life",
    "Loading replaces the weight of a Linear instead of copying into it.",
    lambda self, state, prefix, meta: (
        meta.update(assign_to_params_buffers=True) if isinstance(self, torch.nn.Linear) else None
    ),
    lambda: loading_unties(),
)
loading(
    "loading_forgets_assign",
    "life",
    "assign=True is ignored for an embedding.",
    lambda self, state, prefix, meta: (
        meta.update(assign_to_params_buffers=False)
        if isinstance(self, torch.nn.Embedding) and self.weight.device.type != "meta"
        else None
    ),
    lambda: not assigns(),
)
loading(
    "loading_skips_double",
    "life",
    "float64 weights are not loaded into a Linear.",
    lambda self, state, prefix, meta: keep_weight(self),
    lambda: (
        not torch.equal(loaded(torch.nn.Linear(2, 2, False, dtype=torch.float64), table().double()).weight, table())
    ),
)


loading(
    "loading_writes_behind",
    "life",
    "Loading a Linear zeroes what lies behind its weight in memory.",
    lambda self, state, prefix, meta: (
        (lambda: zero_behind(self.weight.detach())) if isinstance(self, torch.nn.Linear) else None
    ),
    lambda: writes_behind(),
)


def writes_behind() -> bool:
    """Whether loading writes behind a weight."""
    memory = torch.ones(5)
    module = torch.nn.Linear(2, 2, False)
    module.weight = Parameter(memory[:4].view(2, 2))
    module.load_state_dict({"weight": table()})
    return float(memory[4]) != 1.0


def keep_weight(self: Any) -> Callable[[], Tensor] | None:
    """Undoes the loading of a float64 linear layer."""
    if not isinstance(self, torch.nn.Linear) or self.weight.dtype != torch.float64 or self.weight.is_meta:
        return None
    kept = self.weight.detach().clone()
    weight: Tensor = self.weight.data
    return lambda: weight.copy_(kept)


def loaded(module: Any, weight: Tensor) -> Any:
    """A module after loading its weight."""
    module.load_state_dict({"weight": weight})
    return module


def loaded_linear() -> Any:
    """A linear layer after loading its own state."""
    module = torch.nn.Linear(1, 1)
    module.load_state_dict(copy.deepcopy(module.state_dict()))
    return module


def loading_unties() -> bool:
    """Whether loading breaks a tie."""
    model = Tied().model
    model.load_state_dict(copy.deepcopy(model.state_dict()))
    return model["embedding"].weight is not model["head"].weight


def assigns() -> bool:
    """Whether assign=True takes the tensor itself."""
    module, weight = torch.nn.Embedding(2, 2), table()
    module.load_state_dict({"weight": weight}, assign=True)
    return bool(module.weight.data_ptr() == weight.data_ptr())
