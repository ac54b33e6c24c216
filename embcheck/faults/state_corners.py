"""Faults of state_dict and load_state_dict, of functional_call, of parametrizations and of hooks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.nn.utils import parametrizations, parametrize, prune

from embcheck.faults.entry import Embedding
from embcheck.faults.layers import Module
from embcheck.faults.modules import Linear, Sequential, buffered, module, transposed
from embcheck.faults.parameter_corners import Change, spoiled
from embcheck.faults.parameters import Parameter, table

# -- state_dict --------------------------------------------------------------------------------------------------


def stating(name: str, sentence: str, change: Callable[..., object], witness: Callable[[], bool]) -> None:
    """A fault of saving a module's own state: ``change(self, destination, prefix, keep_vars)`` afterwards."""

    def wrong(original: Change, self: Any, destination: Any, prefix: str, keep_vars: bool) -> None:
        original(self, destination, prefix, keep_vars)
        change(self, destination, prefix, keep_vars)

    spoiled(name, "membership", sentence, Module, "_save_to_state_dict", wrong, witness)


def detached(out: Any) -> None:
    """Everything detached."""
    for key, value in list(out.items()):
        out[key] = value.detach()


module(
    "state_forgets_its_prefix",
    "state_dict(prefix=…) forgets the prefix.",
    "state_dict",
    lambda original, self, *rest, **more: original(
        self, *rest, **more | ({} if "destination" in more else {"prefix": ""})
    ),
    lambda: "weight" in Linear(1, 1).state_dict(prefix="a."),
)
stating(
    "state_keeps_no_variables",
    "state_dict(keep_vars=True) detaches.",
    lambda self, out, prefix, keep: detached(out),
    lambda: not Linear(1, 1).state_dict(keep_vars=True)["weight"].requires_grad,
)
stating(
    "state_of_frozen_keeps_variables",
    "state_dict() gives a frozen Parameter itself.",
    lambda self, out, prefix, keep: out.update(
        {prefix + n: p for n, p in self._parameters.items() if p is not None and not p.requires_grad}
    ),
    lambda: isinstance(Linear(1, 1).requires_grad_(False).state_dict()["weight"], Parameter),
)
stating(
    "state_skips_integers",
    "state_dict() leaves out buffers of integers.",
    lambda self, out, prefix, keep: (
        [out.pop(prefix + n, None) for n, b in self._buffers.items() if b is not None and not b.is_floating_point()]
        and None
    ),
    lambda: "count" not in buffered().state_dict(),
)
stating(
    "state_has_scratch",
    "state_dict() has buffers that are not persistent.",
    lambda self, out, prefix, keep: out.update({prefix + n: b for n, b in self._buffers.items() if b is not None}),
    lambda: "scratch" in buffered().state_dict(),
)
stating(
    "state_of_evaluation_is_copied",
    "state_dict() of a module in evaluation mode copies transposed weights.",
    lambda self, out, prefix, keep: out.update(
        {k: v.contiguous() for k, v in out.items() if not v.is_contiguous() and not self.training}
    ),
    lambda: transposed().eval().state_dict()["weight"].is_contiguous(),
)
module(
    "state_has_no_metadata",
    "state_dict() has no metadata.",
    "state_dict",
    lambda original, self, *rest, **more: (
        dict(original(self, *rest, **more)) if not more and not rest else original(self, *rest, **more)
    ),
    lambda: not hasattr(Linear(1, 1).state_dict(), "_metadata"),
)

# -- load_state_dict ---------------------------------------------------------------------------------------------


def loading(name: str, sentence: str, change: Change, witness: Callable[[], bool]) -> None:
    """A fault of loading: ``change(original, self, state, strict, assign)``."""

    def wrong(original: Change, self: Any, state_dict: Any, strict: bool = True, assign: bool = False) -> Any:
        return change(original, self, state_dict, strict, assign)

    module(name, sentence, "load_state_dict", wrong, witness, "checkpoint")


def refused(act: Callable[[], object]) -> bool:
    """Whether something raises a RuntimeError."""
    try:
        act()
    except RuntimeError:
        return True
    return False


def fitting(self: Any, state: Any) -> dict[str, Any]:
    """What of a state fits in shape."""
    own = self.state_dict()
    return {name: value for name, value in state.items() if name not in own or own[name].shape == value.shape}


loading(
    "loading_accepts_extra_keys",
    "Loading accepts unexpected keys.",
    lambda original, self, state, strict, assign: original(
        self, {k: v for k, v in state.items() if k in self.state_dict()}, strict, assign
    ),
    lambda: not refused(lambda: Linear(1, 1).load_state_dict(Linear(1, 1).state_dict() | {"extra": table()})),
)
loading(
    "loading_accepts_missing_bias",
    "Loading accepts that a bias is missing.",
    lambda original, self, state, strict, assign: original(
        self, {k: v for k, v in self.state_dict().items() if k.endswith("bias")} | dict(state), strict, assign
    ),
    lambda: not refused(lambda: Linear(1, 1).load_state_dict({"weight": torch.ones(1, 1)})),
)
loading(
    "loading_skips_other_shapes",
    "Loading with strict=False skips what does not fit in shape.",
    lambda original, self, state, strict, assign: original(
        self, state if strict else fitting(self, state), strict, assign
    ),
    lambda: not refused(lambda: Embedding(1, 1).load_state_dict({"weight": torch.ones(2, 1)}, strict=False)),
)
loading(
    "loading_partly_assigns_all",
    "Loading with strict=False assigns.",
    lambda original, self, state, strict, assign: original(self, state, strict, assign or not strict),
    lambda: assigned_partly(),
)
loading(
    "loading_empties_the_checkpoint",
    "Loading empties the given dict.",
    lambda original, self, state, strict, assign: emptied(original(self, state, strict, assign), state),
    lambda: checkpoint_emptied(),
)
loading(
    "loading_tells_nothing",
    "Loading with strict=False does not tell what was missing.",
    lambda original, self, state, strict, assign: type(found := original(self, state, strict, assign))([], found[1]),
    lambda: not Linear(1, 1).load_state_dict({}, strict=False).missing_keys,
)
loading(
    "loading_forgets_gradients",
    "Loading forgets the gradients.",
    lambda original, self, state, strict, assign: forget_after(original(self, state, strict, assign), self),
    lambda: gradient_forgotten(),
)
loading(
    "assigning_thaws",
    "Assigning a checkpoint to a frozen module thaws it.",
    lambda original, self, state, strict, assign: thaw_after(original(self, state, strict, assign), self, assign),
    lambda: (
        (frozen := Linear(1, 1).requires_grad_(False)).load_state_dict(Linear(1, 1).state_dict(), assign=True)
        is not None
        and frozen.weight.requires_grad
    ),
)
loading(
    "assigning_copies",
    "Assigning a checkpoint copies what is not contiguous.",
    lambda original, self, state, strict, assign: original(
        self, {k: v.contiguous() for k, v in state.items()} if assign else state, strict, assign
    ),
    lambda: assigned_copy(),
)
loading(
    "loading_half_rounds_twice",
    "float64 is loaded into float32 by way of bfloat16.",
    lambda original, self, state, strict, assign: original(
        self,
        {k: v.bfloat16() if v.dtype == torch.float64 and not assign else v for k, v in state.items()}
        if any(p.dtype == torch.float32 for p in self.parameters())
        else state,
        strict,
        assign,
    ),
    lambda: rounded_twice(),
)


def assigned_partly() -> bool:
    """Whether strict=False assigns."""
    layer = Linear(1, 1)
    before = layer.weight
    layer.load_state_dict({"weight": torch.ones(1, 1)}, strict=False)
    return layer.weight is not before


def emptied(found: Any, state: Any) -> Any:
    """A result; the dict is emptied by the way."""
    state.clear()
    return found


def checkpoint_emptied() -> bool:
    """Whether loading empties a checkpoint."""
    state = Linear(1, 1).state_dict()
    Linear(1, 1).load_state_dict(state)
    return not state


def forget_after(found: Any, self: Any) -> Any:
    """A result; gradients are forgotten by the way."""
    for p in self.parameters():
        p.grad = None
    return found


def gradient_forgotten() -> bool:
    """Whether loading forgets gradients."""
    layer = Linear(1, 1)
    layer.weight.grad = torch.ones(1, 1)
    layer.load_state_dict(Linear(1, 1).state_dict())
    return layer.weight.grad is None


def thaw_after(found: Any, self: Any, assign: bool) -> Any:
    """A result; what was assigned is thawed by the way."""
    if assign:
        self.requires_grad_(True)
    return found


def assigned_copy() -> bool:
    """Whether assign=True copies a transposed table."""
    source = table(3).t()
    layer = Embedding(2, 3)
    layer.load_state_dict({"weight": source}, assign=True)
    return layer.weight.data_ptr() != source.data_ptr()


def rounded_twice() -> bool:
    """Whether 1 + 1/512 is loaded from float64 as 1."""
    layer = Embedding(1, 1)
    layer.load_state_dict({"weight": torch.full((1, 1), 1 + 2**-9, dtype=torch.float64)})
    return bool(layer.weight == 1)


# -- functional_call, parametrizations, pruning, hooks -----------------------------------------------------------


def called_untied() -> bool:
    """Whether functional_call with one name leaves the other."""
    model = Sequential(Linear(1, 1, bias=False), Linear(1, 1, bias=False))
    model[1].weight = model[0].weight
    out = torch.func.functional_call(model, {"0.weight": torch.full((1, 1), 2.0)}, (torch.ones(1),))
    return bool(out != 4)


spoiled(
    "functional_call_unties",
    "life",
    "functional_call acts on the given name alone.",
    torch.func,
    "functional_call",
    lambda original, model, values, args=None, kwargs=None, *, tie_weights=True, strict=False: original(
        model, values, args, kwargs, tie_weights=False, strict=strict
    ),
    called_untied,
)


def doubled() -> Any:
    """A layer with a weight of twos, parametrized as twice a Parameter."""
    layer = Linear(1, 1, bias=False)
    parametrize.register_parametrization(layer, "weight", Double())
    return layer


class Double(Module):
    """Twice its argument."""

    def forward(self, x: Any) -> Any:
        """Twice x."""
        return 2 * x


def removed(leave: bool) -> bool:
    """Whether what is left of a parametrization is what was asked for."""
    layer = doubled()
    original, weight = float(layer.parametrizations.weight.original), float(layer.weight)
    parametrize.remove_parametrizations(layer, "weight", leave_parametrized=leave)
    return float(layer.weight) == (weight if leave else original)


spoiled(
    "parametrization_leaves_the_original",
    "life",
    "remove_parametrizations leaves the original always.",
    parametrize,
    "remove_parametrizations",
    lambda original, layer, name, leave_parametrized=True: original(layer, name, False),
    lambda: not removed(True),
)


def pruned_remains() -> bool:
    """Whether a removed pruning leaves the whole weight."""
    layer = Linear(2, 1)
    prune.custom_from_mask(layer, "weight", torch.zeros(1, 2))
    prune.remove(layer, "weight")
    return bool(layer.weight.any())


spoiled(
    "pruning_is_undone_on_removal",
    "life",
    "Removing a pruning brings the whole weight back.",
    prune.BasePruningMethod,
    "remove",
    lambda original, self, layer: (getattr(layer, self._tensor_name + "_mask").fill_(1), original(self, layer))[1],
    pruned_remains,
)
spoiled(
    "weight_norm_along_columns",
    "life",
    "weight_norm's dim 0 is taken for 1.",
    parametrizations,
    "weight_norm",
    lambda original, layer, name="weight", dim=0: original(layer, name, 1 if dim == 0 else dim),
    lambda: parametrizations.weight_norm(Linear(2, 3)).parametrizations.weight.original0.shape[0] == 1,
)


def hooks_called(times: int = 1) -> int:
    """How often a hook is called in one forward."""
    layer, calls = Linear(1, 1), []
    layer.register_forward_hook(lambda *given: calls.append(1))
    for _ in range(times):
        layer(torch.ones(1))
    return len(calls)


module(
    "hooks_are_removed_after_a_call",
    "A forward hook is called once and forgotten.",
    "_call_impl",
    lambda original, self, *rest, **more: (original(self, *rest, **more), self._forward_hooks.clear())[0],
    lambda: hooks_called(2) == 1,
)
