"""Faults of the routes of a tied model: of what loads, copies, traces, exports and compiles it, and of parametrized heads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.export
import torch.fx
import torch.nn.utils.parametrize

from selfcheck.faults.around import around
from selfcheck.faults.entry import entry

Parameter = torch.nn.Parameter
parametrize = torch.nn.utils.parametrize


def twice(model: Any) -> list[str]:
    """The names of Parameters that stand under an earlier name, too."""
    seen: set[int] = set()
    found = []
    for name, parameter in model.named_parameters(remove_duplicate=False):
        if id(parameter) in seen:
            found.append(name)
        seen.add(id(parameter))
    return found


def untied(model: Any) -> Any:
    """A model with a Parameter for each name."""
    for name in twice(model):
        path, _, leaf = name.rpartition(".")
        module = model.get_submodule(path)
        setattr(module, leaf, Parameter(getattr(module, leaf).detach().clone()))
    return model


# -- graphs --------------------------------------------------------------------------------------------------------


def holding(original: Any, self: Any, memo: Any) -> Any:
    """A copy that holds what it was copied from."""
    other = original(self, memo)
    for name, parameter in self.named_parameters(remove_duplicate=False):
        path, _, leaf = name.rpartition(".")
        other.get_submodule(path).register_parameter(leaf, parameter)
    return other


around(
    "copied_graphs_hold_the_same_parameters",
    "tie_export",
    "A deep copy of a GraphModule holds the Parameters of the original.",
    torch.fx.GraphModule,
    "__deepcopy__",
    holding,
)


def without_bias(original: Any, self: Any) -> Any:
    """A transformed graph with zeros for the last Parameter, if that is a vector."""
    graph = original(self)
    with torch.no_grad():
        for parameter in list(graph.parameters())[-1:]:
            if parameter.dim() == 1:
                parameter.zero_()
    return graph


around(
    "transformed_graphs_lose_their_bias",
    "tie_export",
    "torch.fx.Transformer fills a bias with zeros.",
    torch.fx.Transformer,
    "transform",
    without_bias,
)


# -- scripts -------------------------------------------------------------------------------------------------------


def lazily(name: str, sentence: str, owner: Any, attribute: str, wrong: Callable[..., Any]) -> None:
    """Registers a fault of what is written as a program."""

    def replaced(original: Any) -> Any:
        return lambda *given, **flags: wrong(original, *given, **flags)

    entry(name, "tie_export", sentence, owner, attribute, replaced)


# -- on meta -------------------------------------------------------------------------------------------------------


def untied_if_swapped(original: Any, self: Any, *given: Any, **flags: Any) -> Any:
    """What to_empty gives, without ties where Parameters are swapped and had no memory."""
    late = any(parameter.is_meta for parameter in self.parameters())
    model = original(self, *given, **flags)
    return untied(model) if late and torch.__future__.get_swap_module_params_on_conversion() else model


around(
    "swapped_memory_unties",
    "tie_export",
    "to_empty makes a Parameter for each name of a model on meta, also where Parameters are swapped.",
    torch.nn.Module,
    "to_empty",
    untied_if_swapped,
)


# -- exported ------------------------------------------------------------------------------------------------------


def nameless(original: Any, self: Any, *given: Any, **flags: Any) -> Any:
    """A program's module, whose state has a tied weight under one name."""
    module = original(self, *given, **flags)
    names = twice(module)

    def dropping(model: Any, state: Any, prefix: str, metadata: Any) -> None:
        for name in names:
            state.pop(prefix + name, None)

    module._register_state_dict_hook(dropping)
    return module


def refusing(original: Any, *given: Any, **flags: Any) -> Any:
    """What unflatten gives, which takes a tied weight under one name alone."""
    module = original(*given, **flags)
    names = twice(module)

    def dropping(state: Any, prefix: str, *rest: Any) -> None:
        for name in names:
            state.pop(prefix + name, None)

    module._register_load_state_dict_pre_hook(dropping)
    return module


def raising(original: Any, *given: Any, **flags: Any) -> Any:
    """What unflatten gives, unless there is a tied weight."""
    module = original(*given, **flags)
    if twice(module):
        raise AssertionError("two names of one parameter")
    return module


lazily(
    "exported_modules_drop_a_name_of_the_state",
    "The state of an exported program's module has a tied weight under its first name alone.",
    torch.export.ExportedProgram,
    "module",
    nameless,
)
lazily(
    "unflattened_modules_refuse_tied_checkpoints",
    "What torch.export.unflatten gives refuses a state that has a tied weight under both names.",
    torch.export,
    "unflatten",
    refusing,
)
lazily(
    "unflatten_refuses_ties",
    "torch.export.unflatten raises for a program with a tied weight.",
    torch.export,
    "unflatten",
    raising,
)


# -- heads ---------------------------------------------------------------------------------------------------------


def own_original(original: Any, self: Any, modules: Any, tensor: Any, *rest: Any, **flags: Any) -> None:
    """A list of parametrizations, with a copy of the tensor if that stays as it is."""
    original(self, modules, tensor, *rest, **flags)
    if getattr(self, "original", None) is tensor and tensor is not None:
        self.original = Parameter(tensor.detach().clone(), tensor.requires_grad)


def moved_out(original: Any, self: Any, modules: Any, tensor: Any, *rest: Any, **flags: Any) -> None:
    """A list of parametrizations; a tensor that was replaced by two others is filled with zeros."""
    original(self, modules, tensor, *rest, **flags)
    if not hasattr(self, "original") and tensor.dtype == torch.float32:
        with torch.no_grad():
            tensor.zero_()


around(
    "parametrized_heads_have_an_original_of_their_own",
    "tie_export",
    "register_parametrization copies the tensor that it keeps as the original one.",
    parametrize.ParametrizationList,
    "__init__",
    own_original,
)
around(
    "parametrizing_empties_what_it_replaces",
    "tie_export",
    "register_parametrization fills a tensor with zeros that a right_inverse has made two others of.",
    parametrize.ParametrizationList,
    "__init__",
    moved_out,
)


# -- ensembles -----------------------------------------------------------------------------------------------------


def in_another_order(original: Any, models: Any) -> Any:
    """The stacked state of tied models, the last of three and more first."""
    params, buffers = original(models)
    if len(models) < 3 or not twice(models[0]):
        return params, buffers
    names = [name for name, _ in models[0].named_parameters()]
    return {name: params[name].flip(0) if name == names[0] else params[name] for name in params}, buffers


around(
    "stacked_ties_come_in_another_order",
    "tie_export",
    "stack_module_state stacks the tied weights of three models from the last to the first.",
    torch.func,
    "stack_module_state",
    in_another_order,
)
