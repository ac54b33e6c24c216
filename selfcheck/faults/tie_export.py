"""Faults of the routes of a tied model: of what loads, copies, traces, exports and compiles it, and of parametrized heads."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
import torch.export
import torch.fx
import torch.nn.utils.parametrize

from selfcheck.faults.around import around, numbered
from selfcheck.faults.entry import entry

Parameter = torch.nn.Parameter
parametrize = torch.nn.utils.parametrize


class Tied(torch.nn.Module):
    """An embedding, and a head with its weight."""

    def __init__(self, device: Any = None) -> None:
        super().__init__()
        self.embedding = torch.nn.Embedding(3, 2, device=device)
        self.head = torch.nn.Linear(2, 3, device=device)
        self.head.weight = self.embedding.weight
        if device is None:
            with torch.no_grad():
                self.head.weight.copy_(numbered())
                self.head.bias.copy_(numbered(1, 3)[0])

    def forward(self, tokens):  # type: ignore[no-untyped-def]
        return self.head(self.embedding(tokens))


def tokens() -> Any:
    """Two tokens."""
    return torch.tensor([1, 2])


def groups(model: Any) -> list[tuple[str, bool]]:
    """The names of the Parameters, and whether each is the first's."""
    named = list(model.named_parameters(remove_duplicate=False))
    return [(name, parameter is named[0][1]) for name, parameter in named]


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


def moved_by_a_copy() -> Any:
    """A weight after its graph's copy was filled."""
    graph: Any = torch.fx.symbolic_trace(Tied())
    with torch.no_grad():
        copy.deepcopy(graph).head.weight.fill_(7)
    return graph.head.weight.detach()


around(
    "copied_graphs_hold_the_same_parameters",
    "tie_export",
    "A deep copy of a GraphModule holds the Parameters of the original.",
    torch.fx.GraphModule,
    "__deepcopy__",
    holding,
    moved_by_a_copy,
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
    lambda: torch.fx.Transformer(torch.fx.symbolic_trace(Tied())).transform()(tokens()),
)


# -- scripts -------------------------------------------------------------------------------------------------------


def lazily(
    name: str, sentence: str, owner: Any, attribute: str, wrong: Callable[..., Any], shows: Callable[[], bool]
) -> None:
    """A fault whose witness says itself what is right, for to see that takes long: it is not tried at registration."""

    def replaced(original: Any) -> Any:
        return lambda *given, **flags: wrong(original, *given, **flags)

    entry(name, "tie_export", sentence, owner, attribute, replaced, shows)


# -- on meta -------------------------------------------------------------------------------------------------------


def untied_if_swapped(original: Any, self: Any, *given: Any, **flags: Any) -> Any:
    """What to_empty gives, without ties where Parameters are swapped and had no memory."""
    late = any(parameter.is_meta for parameter in self.parameters())
    model = original(self, *given, **flags)
    return untied(model) if late and torch.__future__.get_swap_module_params_on_conversion() else model


def swapped_to_memory() -> list[tuple[str, bool]]:
    """The ties of a model on meta that gets memory, its Parameters swapped."""
    torch.__future__.set_swap_module_params_on_conversion(True)
    try:
        return groups(Tied("meta").to_empty(device="cpu"))
    finally:
        torch.__future__.set_swap_module_params_on_conversion(False)


around(
    "swapped_memory_unties",
    "tie_export",
    "to_empty makes a Parameter for each name of a model on meta, also where Parameters are swapped.",
    torch.nn.Module,
    "to_empty",
    untied_if_swapped,
    swapped_to_memory,
)


# -- exported ------------------------------------------------------------------------------------------------------


def exported() -> Any:
    """A model's program."""
    return torch.export.export(Tied(), (tokens(),), strict=False)


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


def refuses_to_load() -> bool:
    """Whether an unflattened program refuses the model's state."""
    try:
        torch.export.unflatten(exported()).load_state_dict(Tied().state_dict())
    except RuntimeError:
        return True
    return False


def refuses_ties() -> bool:
    """Whether a tied model's program can't be unflattened."""
    try:
        torch.export.unflatten(exported())
    except AssertionError:
        return True
    return False


lazily(
    "exported_modules_drop_a_name_of_the_state",
    "The state of an exported program's module has a tied weight under its first name alone.",
    torch.export.ExportedProgram,
    "module",
    nameless,
    lambda: len(exported().module().state_dict()) < 3,
)
lazily(
    "unflattened_modules_refuse_tied_checkpoints",
    "What torch.export.unflatten gives refuses a state that has a tied weight under both names.",
    torch.export,
    "unflatten",
    refusing,
    refuses_to_load,
)
lazily(
    "unflatten_refuses_ties",
    "torch.export.unflatten raises for a program with a tied weight.",
    torch.export,
    "unflatten",
    raising,
    refuses_ties,
)


# -- heads ---------------------------------------------------------------------------------------------------------


class Tripling(torch.nn.Module):
    """A parametrization without an inverse."""

    def forward(self, original: Any) -> Any:
        return 3 * original


def tripled() -> Any:
    """A tied model with a parametrized head."""
    model = Tied()
    parametrize.register_parametrization(model.head, "weight", Tripling())
    return model


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


def rows_of_normed() -> Any:
    """The table of a tied model whose head gets a weight norm."""
    model = Tied()
    torch.nn.utils.parametrizations.weight_norm(model.head)
    return model.embedding.weight.detach()


around(
    "parametrized_heads_have_an_original_of_their_own",
    "tie_export",
    "register_parametrization copies the tensor that it keeps as the original one.",
    parametrize.ParametrizationList,
    "__init__",
    own_original,
    lambda: groups(tripled()),
)
around(
    "parametrizing_empties_what_it_replaces",
    "tie_export",
    "register_parametrization fills a tensor with zeros that a right_inverse has made two others of.",
    parametrize.ParametrizationList,
    "__init__",
    moved_out,
    rows_of_normed,
)


# -- ensembles -----------------------------------------------------------------------------------------------------


def in_another_order(original: Any, models: Any) -> Any:
    """The stacked state of tied models, the last of three and more first."""
    params, buffers = original(models)
    if len(models) < 3 or not twice(models[0]):
        return params, buffers
    names = [name for name, _ in models[0].named_parameters()]
    return {name: params[name].flip(0) if name == names[0] else params[name] for name in params}, buffers


def stacked() -> Any:
    """The stacked weights of three models."""
    models = [Tied() for _ in range(3)]
    for k, model in enumerate(models):
        with torch.no_grad():
            model.head.weight.fill_(k)
    return torch.func.stack_module_state(models)[0]["embedding.weight"].detach()


around(
    "stacked_ties_come_in_another_order",
    "tie_export",
    "stack_module_state stacks the tied weights of three models from the last to the first.",
    torch.func,
    "stack_module_state",
    in_another_order,
    stacked,
)
