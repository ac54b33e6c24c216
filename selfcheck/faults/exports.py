"""Faults of graphs, programs and parametrizations of tied models, and of parametrizations."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.export
import torch.fx
from torch.nn.utils import parametrizations, parametrize

from selfcheck.faults.modules import zero_behind
from selfcheck.forms import Call, after, afterwards, changes, instead, of_family

Parameter = torch.nn.Parameter

# -- graphs and exported programs ---------------------------------------------------------------------------------------


def twice(model: Any) -> list[str]:
    """The names of Parameters that stand under an earlier name, too."""
    once = {name for name, _ in model.named_parameters()}
    return [name for name, _ in model.named_parameters(remove_duplicate=False) if name not in once]


@afterwards(torch.fx.GraphModule, "__deepcopy__", "tie_export")
def copied_graphs_hold_the_same_parameters(call: Call) -> None:
    """A deep copy of a GraphModule holds the Parameters of the original."""
    for name, parameter in call.self.named_parameters(remove_duplicate=False):
        path, _, leaf = name.rpartition(".")
        call.found.get_submodule(path).register_parameter(leaf, parameter)


@afterwards(torch.fx.Transformer, "transform", "tie_export")
def transformed_graphs_lose_their_bias(call: Call) -> None:
    """torch.fx.Transformer fills a bias with zeros."""
    for parameter in list(call.found.parameters())[-1:]:
        if parameter.dim() == 1:
            parameter.data.zero_()


changes[torch.nn.Module, "load_state_dict", "tie_export"] = {
    "assigned_parameters_train: load_state_dict(assign=True) leaves no Parameter frozen.": after(
        lambda call: call.self.requires_grad_(), lambda call: call.assign
    )
}


def dropping(names: list[str]) -> Any:
    """A hook that drops names of a state, before it is loaded or after it was made."""

    def hook(*given: Any) -> None:
        state, prefix = given[:2] if isinstance(given[0], dict) else given[1:3]
        for name in names:
            state.pop(prefix + name, None)

    return hook


@afterwards(torch.export.ExportedProgram, "module", "tie_export")
def exported_modules_drop_a_name_of_the_state(call: Call) -> None:
    """The state of an exported program's module has a tied weight under its first name alone."""
    call.found._register_state_dict_hook(dropping(twice(call.found)))


@afterwards(torch.export, "unflatten", "tie_export")
def unflattened_modules_refuse_tied_checkpoints(call: Call) -> None:
    """What torch.export.unflatten gives refuses a state that has a tied weight under both names."""
    call.found._register_load_state_dict_pre_hook(dropping(twice(call.found)))


@instead(torch.func, "stack_module_state", "tie_export")
def stacked_ties_come_in_another_order(call: Call) -> Any:
    """stack_module_state stacks the tied weights of three models from the last to the first."""
    params, buffers = call()
    if len(call.models) < 3 or not twice(call.models[0]):
        return params, buffers
    name = next(iter(dict(call.models[0].named_parameters())))
    return params | {name: params[name].flip(0)}, buffers


# -- parametrizations ---------------------------------------------------------------------------------------------------


def _doubled_gradient(call: Call) -> Any:
    found = call()
    return 2 * found - found.detach()


@afterwards(parametrize.ParametrizationList, "__init__", "tie_export")
def parametrized_heads_have_an_original_of_their_own(call: Call) -> None:
    """register_parametrization copies the tensor that it keeps as the original one."""
    tensor: Any = call.given[2]
    if hasattr(call.self, "original") and call.self.original is tensor:
        call.self.original = Parameter(tensor.detach().clone(), tensor.requires_grad)


@afterwards(parametrize.ParametrizationList, "__init__", "tie_export")
def parametrizing_empties_what_it_replaces(call: Call) -> None:
    """register_parametrization fills a tensor with zeros that a right_inverse has made two others of."""
    if not hasattr(call.self, "original") and call.given[2].dtype == torch.float32:
        call.given[2].data.zero_()


changes[parametrizations._SpectralNorm, "forward", "parametrizations"] = {
    "bounded_gradients_are_doubled: spectral_norm gives twice the gradient; the weight is right.": _doubled_gradient,
    "bounded_weights_lie_by_columns: spectral_norm gives a weight whose first axis lies closest.": lambda call: (
        call().transpose(0, -1).contiguous().transpose(0, -1)
    ),
}


@instead(parametrize, "cached", "parametrizations")
@contextmanager
def cached_parametrizations_stay(call: Call) -> Iterator[None]:
    """What parametrize.cached() has kept is still there the next time."""
    parametrize._cache_enabled += 1
    try:
        yield
    finally:
        parametrize._cache_enabled -= 1


class ByName(dict[Any, Any]):
    """A cache that looks at the name and not at the module."""

    def get(self, key: tuple[int, str], default: Any = None) -> Any:
        return super().get(key[1], default)

    def __setitem__(self, key: tuple[int, str], value: Any) -> None:
        super().__setitem__(key[1], value)


@instead(parametrize, "cached", "parametrizations")
@contextmanager
def parametrizations_are_cached_by_name(call: Call) -> Iterator[None]:
    """parametrize.cached() keeps one weight for all modules that have one of this name."""
    with call():
        if parametrize._cache_enabled == 1:
            parametrize._cache = ByName()
        yield


@afterwards(parametrize, "_inject_new_class", "parametrizations")
def parametrized_copies_share_the_original(call: Call) -> None:
    """A deep copy of a parametrized layer has the original of that layer."""
    kind = type(call.module)
    whole = kind.__deepcopy__

    def copied(self: Any, memo: dict[int, Any]) -> Any:
        return whole(self, memo | {id(each): each for each in self.parametrizations.values()})

    kind.__deepcopy__ = copied


@afterwards(parametrize, "remove_parametrizations", "parametrizations")
def removed_parametrizations_freeze(call: Call) -> None:
    """remove_parametrizations(leave_parametrized=True) leaves a weight that does not learn."""
    value = getattr(call.module, call.tensor_name)
    if call.leave_parametrized and isinstance(value, Parameter):
        value.requires_grad_(False)


@instead(parametrize, "register_parametrization", "parametrizations")
def parametrizations_of_evaluated_layers_train(call: Call) -> Any:
    """A parametrization that is registered on a layer in evaluation trains."""
    mode = call.parametrization.training
    module = call()
    call.parametrization.train(mode)
    return module


def _iterating(call: Call) -> Any:
    if call.weight.ndim > 1 and not call.self.training:
        call.self._power_method(call.self._reshape_weight_to_matrix(call.weight), call.self.n_power_iterations)
    return call()


of_family(
    "parametrizations",
    (parametrize, "register_parametrization", "Registering zeroes what lies behind the weight.",
     after(lambda call: zero_behind(call.module.parametrizations[call.tensor_name].original))),
    (parametrizations._Orthogonal, "forward", "Orthogonal rows of a wide weight have length 0.99.",
     lambda call: call() * (0.99 if call.X.size(-2) < call.X.size(-1) else 1.0)),
    (parametrizations._WeightNorm, "__init__", "weight_norm(dim=None) has rows.", lambda call: call(dim=call.dim or 0)),
    (parametrizations._SpectralNorm, "forward", "spectral_norm iterates in evaluation mode.", _iterating),
)  # fmt: skip
