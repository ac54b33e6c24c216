"""Faults of backward passes, hooks and checkpoints, and of the transforms of torch.func."""

from collections.abc import Iterator
from typing import Any

import torch
import torch.utils.checkpoint
from torch.nn.utils._expanded_weights.expanded_weights_impl import ExpandedWeight

from selfcheck.forms import Call, after, afterwards, instead, of_family
from selfcheck.site import Tensor

func, checkpoint = torch.func, torch.utils.checkpoint


def leaves_of(node: Any) -> Iterator[Any]:
    """The leaves that a graph leads to, but for ExpandedWeight's, which take no function that they don't know."""
    for following, _ in node.next_functions if node is not None else ():
        if hasattr(following, "variable") and not isinstance(following.variable, ExpandedWeight):
            yield following.variable
        yield from leaves_of(following)


# -- Tensor.backward and its hooks --------------------------------------------------------------------------------------


@instead(Tensor, "register_hook", "gradient", also=("gradient_routes",))
def hooks_are_registered_twice(call: Call) -> Any:
    """A hook fires twice on a tensor of two axes or more."""
    if call.self.dim() >= 2:
        call()
    return call()


@afterwards(torch.autocast, "__exit__", "gradient_routes")
def autocast_leaves_its_dtype(call: Call) -> None:
    """The end of a region leaves the dtype to which it cast."""
    torch.set_autocast_dtype(call.self.device, call.self.fast_dtype)


@instead(Tensor, "backward", "gradient")
def grad_requires_grad_itself(call: Call) -> None:
    """The gradient of a rank 2 lookup requires grad itself."""
    leaves = list(leaves_of(call.self.grad_fn)) if call.self.dim() == 3 else []
    call()
    for leaf in leaves:
        if leaf.grad is not None:
            leaf.grad.requires_grad_()


@instead(Tensor, "backward", "gradient_routes")
def longer_upstream_is_cut(call: Call) -> None:
    """An upstream gradient that is too wide is cut to the width."""
    sent = call.gradient
    wide = isinstance(sent, Tensor) and sent.shape != call.self.shape and sent.dim() == call.self.dim()
    call(gradient=sent[..., : call.self.shape[-1]] if wide else sent)


@afterwards(Tensor, "backward", "gradient_routes")
def half_upstream_is_halved(call: Call) -> None:
    """backward halves a float16 upstream gradient."""
    if isinstance(call.gradient, Tensor) and call.gradient.dtype == torch.float16:
        call.gradient.detach().div_(2)


# -- torch.autograd.grad ------------------------------------------------------------------------------------------------


@afterwards(torch.autograd, "grad", "embedding_bag", also=("gradient",))
def autograd_grad_also_fills_grad(call: Call) -> None:
    """torch.autograd.grad leaves the gradient in .grad too."""
    leaves = [call.inputs] if isinstance(call.inputs, Tensor) else list(call.inputs)
    for leaf, gradient in zip(leaves, call.found, strict=True):
        if leaf.is_leaf and gradient is not None and leaf.dtype == gradient.dtype:
            leaf.grad = gradient.detach()


@instead(torch.autograd, "grad", "embedding_bag")
def bags_have_a_wrong_second_derivative(call: Call) -> Any:
    """The gradient that torch.autograd.grad makes a graph of has a second derivative, and that is one everywhere."""
    found, sent = call(), call.grad_outputs
    if not call.create_graph or not isinstance(sent, Tensor):
        return found
    ones = sent.sum() - sent.detach().sum()
    return tuple(g if g is None or g.is_sparse else g.detach() + ones for g in found)


@afterwards(torch.autograd, "grad", "embedding_bag")
def asked_gradients_call_themselves_coalesced(call: Call) -> None:
    """A sparse gradient that torch.autograd.grad gives says that it is coalesced, whatever it holds."""
    for gradient in call.found:
        if isinstance(gradient, Tensor) and gradient.is_sparse:
            gradient._coalesced_(True)


# -- checkpoints and transforms -----------------------------------------------------------------------------------------

of_family(
    "func_transforms",
    (func, "jvp", "torch.func.jvp negates the tangent once it is done.", after(lambda call: call.tangents[0].neg_())),
    (torch, "vmap", "vmap draws the same numbers for all samples where nothing says how.",
     lambda call: call(randomness="same" if call.randomness == "error" else call.randomness)),
)  # fmt: skip
of_family(
    "gradient_routes",
    (torch.autograd.set_detect_anomaly, "__init__", "Anomaly mode looks at no gradient for NaN.",
     lambda call: call(check_nan=False)),
    (checkpoint, "set_checkpoint_early_stop", "checkpoints_always_stop_early: A checkpoint always stops early.",
     lambda call: call(enable=True)),
)  # fmt: skip


@instead(func, "functional_call", "func_transforms")
def functional_call_leaves_the_weights(call: Call) -> Any:
    """After a refused functional_call the module has the given weights."""
    try:
        return call()
    except (IndexError, RuntimeError):
        given = call.parameter_and_buffer_dicts
        for name, value in given.items() if isinstance(given, dict) else ():
            if isinstance(value, Tensor) and name in call.module._parameters:
                call.module._parameters[name].data = value.detach()
        raise


@instead(func, "stack_module_state", "construction")
def stacks_mix_frozen_and_trained(call: Call) -> Any:
    """stack_module_state stacks models of which some are frozen."""
    kept = [(p, p.requires_grad) for model in call.models for p in model.parameters()]
    for p, _ in kept:
        p.requires_grad_(all(trains for _, trains in kept))
    try:
        return call()
    finally:
        for p, trains in kept:
            p.requires_grad_(trains)
