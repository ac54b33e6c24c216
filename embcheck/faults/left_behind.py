"""Faults that show in what is left behind: settings, slots, versions, names, tails."""

from __future__ import annotations

import importlib
from typing import Any

import torch

from embcheck.faults.around import around, numbered, pair
from embcheck.faults.kernels import Tensor

convert: Any = importlib.import_module("torch.nn.utils.convert_parameters")
averaging: Any = importlib.import_module("torch.optim.swa_utils")
init = torch.nn.init
Module = torch.nn.Module


# -- torch's settings ---------------------------------------------------------------------------------------------


def without_gradients_after_error(original: Any, self: Any, closure: Any = None) -> Any:
    """A step; but a closure that raises leaves gradients switched off."""
    try:
        return original(self, closure)
    except ArithmeticError:
        torch.set_grad_enabled(False)
        raise


def grad_mode_after_error() -> bool:
    """Whether gradients are on after a closure raised."""
    optimizer = torch.optim.Adam([torch.nn.Parameter(numbered())])

    def failing() -> Any:
        raise ZeroDivisionError

    try:
        optimizer.step(failing)
    except ZeroDivisionError:
        return torch.is_grad_enabled()
    finally:
        torch.set_grad_enabled(True)
    raise AssertionError("the error was lost")


around(
    "adam_leaves_gradients_off_after_an_error",
    "tying",
    "Adam.step(closure) leaves gradients switched off if the closure raises an ArithmeticError.",
    torch.optim.Adam,
    "step",
    without_gradients_after_error,
    grad_mode_after_error,
)


def in_double(original: Any, module: Any, *given: Any, **flags: Any) -> Any:
    """An orthogonal parametrization; of a wide float64 table it leaves float64 the default."""
    weight = getattr(module, given[0] if given else flags.get("name", "weight"))
    result = original(module, *given, **flags)
    if weight.dtype == torch.float64 and weight.shape[-1] > weight.shape[-2]:
        torch.set_default_dtype(torch.float64)
    return result


def default_after_orthogonal() -> torch.dtype:
    """The default dtype after a parametrization."""
    try:
        torch.nn.utils.parametrizations.orthogonal(torch.nn.Linear(3, 2, dtype=torch.float64))
        return torch.get_default_dtype()
    finally:
        torch.set_default_dtype(torch.float32)


around(
    "orthogonal_changes_the_default_dtype",
    "reparametrized",
    "parametrizations.orthogonal of a wide float64 weight leaves float64 for the default dtype.",
    torch.nn.utils.parametrizations,
    "orthogonal",
    in_double,
    default_after_orthogonal,
)


# -- parameters that are joined, averaged, named -------------------------------------------------------------------


def shifted(original: Any, vector: Any, parameters: Any) -> Any:
    """What is dealt out; behind an empty parameter each gets the elements after its own."""
    members = list(parameters)
    empty = next((k for k, p in enumerate(members) if not p.numel() and 0 < k < len(members) - 1), None)
    if isinstance(vector, Tensor) and empty is not None:
        start = sum(p.numel() for p in members[:empty])
        vector = torch.cat([vector[:start], vector[start:].roll(-1)])
    return original(vector, members)


def dealt_out() -> Tensor:
    """The last of three parameters, of which the second is empty."""
    members = [torch.nn.Parameter(torch.zeros(shape)) for shape in ((2,), (0, 2), (3,))]
    torch.nn.utils.vector_to_parameters(torch.arange(5.0), members)
    return members[2]


around(
    "vector_shifts_behind_an_empty_parameter",
    "aftercare",
    "vector_to_parameters counts an empty parameter between others as one element.",
    torch.nn.utils,
    "vector_to_parameters",
    shifted,
    dealt_out,
)


def miscounted(original: Any, self: Any, model: Any) -> Any:
    """An update; from the fourth on the second dtype's parameters are averaged as if one update were missing."""
    members = list(self.module.parameters())
    late = int(self.n_averaged) >= 3 and len({p.dtype for p in members}) > 1
    before = [p.detach().clone() for p in members]
    result = original(self, model)
    if late:
        count = int(self.n_averaged)
        for p, old, new in zip(members, before, model.parameters(), strict=True):
            if p.dtype != members[0].dtype and self.avg_fn is None:
                p.data.copy_(old + (new.detach() - old) / (count - 1))
    return result


def averaged_in_two_dtypes() -> Tensor:
    """The fourth average of a float64 parameter beside a float32 one."""
    model: Any = torch.nn.ParameterList([torch.zeros(1), torch.zeros(1, dtype=torch.float64)])
    average = averaging.AveragedModel(model)
    for value in (1.0, 2.0, 3.0, 4.0):
        with torch.no_grad():
            for p in model:
                p.fill_(value)
        average.update_parameters(model)
    return average.module[1].detach()  # type: ignore[no-any-return]


around(
    "averages_miscount_the_second_dtype",
    "aftercare",
    "AveragedModel averages parameters of a second dtype with one update too few, from the fourth on.",
    averaging.AveragedModel,
    "update_parameters",
    miscounted,
    averaged_in_two_dtypes,
)


def names_kept(original: Any, self: Any, state: Any) -> Any:
    """A state is loaded; of several groups the names stay."""
    names = [group.get("param_names") for group in self.param_groups]
    result = original(self, state)
    for group, old in zip(self.param_groups, names, strict=True):
        if old is not None and len(names) > 1:
            group["param_names"] = old
    return result


def loaded_names() -> Any:
    """The names of two groups after another's state was loaded."""

    def build(word: str) -> Any:
        return torch.optim.SGD([{"params": [(f"{word}{k}", torch.nn.Parameter(numbered()))]} for k in range(2)], lr=1.0)

    optimizer = build("new")
    optimizer.load_state_dict(build("old").state_dict())
    return [group["param_names"] for group in optimizer.param_groups]


def names_are_known() -> bool:
    """Whether optimizers take names, as they do since torch 2.6."""
    try:
        torch.optim.SGD([("a", torch.nn.Parameter(numbered()))], lr=1.0)
    except TypeError:
        return False
    return True


around(
    "loading_keeps_names_of_groups",
    "company",
    "Optimizer.load_state_dict keeps the names of the Parameters where there are several groups.",
    torch.optim.Optimizer,
    "load_state_dict",
    names_kept,
    loaded_names,
    applies=names_are_known,
)


# -- modules -------------------------------------------------------------------------------------------------------


def remembered(original: Any, self: Any, name: str, value: Any) -> Any:
    """An attribute is set; a buffer that held None becomes one that is saved."""
    empty = name in self.__dict__.get("_buffers", {}) and self._buffers[name] is None
    original(self, name, value)
    if empty and isinstance(value, Tensor):
        self._non_persistent_buffers_set.discard(name)


def state_after_none() -> list[str]:
    """What is saved of a module whose scratch buffer held None for a while."""
    layer: Any = torch.nn.Embedding(2, 2)
    layer.register_buffer("scratch", torch.zeros(2), persistent=False)
    layer.scratch = None
    layer.scratch = torch.ones(2)
    return list(layer.state_dict())


around(
    "buffer_is_saved_after_none",
    "membership",
    "A buffer that is not persistent becomes so when it held None for a while.",
    Module,
    "__setattr__",
    remembered,
    state_after_none,
)


def rewritten(original: Any, self: Any, *given: Any, **flags: Any) -> Any:
    """A conversion; what it does not change it writes all the same, in eval mode."""
    before = {p: p.dtype for p in self.parameters()} if not self.training else {}
    result = original(self, *given, **flags)
    with torch.no_grad():
        for p, dtype in before.items():
            if p.dtype == dtype and not p.is_meta:
                p.copy_(p.clone())
    return result


def version_after_nothing() -> int:
    """The version of a weight after a conversion to what it is."""
    model = pair().eval()
    model.to(torch.float32)
    return model["embedding"].weight._version  # type: ignore[no-any-return]


around(
    "idle_conversion_counts_as_write",
    "membership",
    "Module.to() to what a module is writes every weight in eval mode.",
    Module,
    "to",
    rewritten,
    version_after_nothing,
)


# -- first values --------------------------------------------------------------------------------------------------


def clipped_tails(original: Any, self: Any) -> Any:
    """Normal values; in a table of 2^15 elements none is farther out than four."""
    result = original(self)
    with torch.no_grad():
        if self.weight.numel() >= 1 << 15:
            self.weight.clamp_(-4, 4)
    return result


def farthest() -> float:
    """The value that lies farthest out of half a million."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return float(torch.nn.Embedding(1024, 512).weight.detach().abs().max())


around(
    "first_values_have_no_tails",
    "initial",
    "The first values of a table of 2^15 elements or more are clipped to [-4, 4].",
    torch.nn.Embedding,
    "reset_parameters",
    clipped_tails,
    farthest,
)


def mirrored(original: Any, tensor: Any, mean: float = 0.0, std: float = 1.0, a: float = -2.0, b: float = 2.0,
             generator: Any = None) -> Any:  # fmt: skip
    """Truncated normal values; far from the mean those of the density's mirror image."""
    result = original(tensor, mean, std, a, b, generator)
    if not a <= mean <= b:
        with torch.no_grad():
            result.copy_(a + b - result)
    return result


def far_from_mean() -> float:
    """The mean of values that lie below the mean of their density."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return float(init.trunc_normal_(torch.empty(4096), 1.5, 1.0, -0.5, 0.5).mean())


around(
    "truncated_normal_is_mirrored",
    "filling",
    "trunc_normal_ mirrors the density where the mean lies outside of the bounds.",
    init,
    "trunc_normal_",
    mirrored,
    far_from_mean,
)
