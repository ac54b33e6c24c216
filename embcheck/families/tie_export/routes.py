"""Routes of a tied model: what loads, copies, traces, exports and compiles it, and is documented to preserve it.

They import nothing but torch, for their source is what a counterexample's script shows.  A route is a function
``(model, tokens) -> model``; ``PASSAGES`` has those that take a moment, ``SLOW`` those that take a hundred times as long.
"""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Callable
from typing import Any

import torch
import torch.export
import torch.fx
import torch.nn.utils.parametrize
import torch.nn.utils.prune

from embcheck.core.registry import into
from embcheck.families.tie_export.programs import Doubling, Module, Tensor, blank

Passage = Callable[[Module, Tensor], Module]
PASSAGES: dict[str, Passage] = {}
GRAPHS: dict[str, Passage] = {}
SCRIPTS: dict[str, Passage] = {}
SLOW: dict[str, Passage] = {}


def reloaded(thing: Any, **options: Any) -> Any:
    """What torch.save writes of a thing, read again."""
    buffer = io.BytesIO()
    torch.save(thing, buffer)
    buffer.seek(0)
    return torch.load(buffer, **options)


# -- state dicts ---------------------------------------------------------------------------------------------------

_passes = into(PASSAGES)


@_passes
def loaded(model: Module, tokens: Tensor) -> Module:
    model.load_state_dict({name: value.clone() for name, value in model.state_dict().items()})
    return model


@_passes
def assigned(model: Module, tokens: Tensor) -> Module:
    model.load_state_dict(model.state_dict(), assign=True)
    return model


@_passes
def assigned_saved(model: Module, tokens: Tensor) -> Module:
    model.load_state_dict(reloaded(model.state_dict(), weights_only=True), assign=True)
    return model


@_passes
def assigned_variables(model: Module, tokens: Tensor) -> Module:
    model.load_state_dict(copy.deepcopy(model).state_dict(keep_vars=True), assign=True)
    return model


@_passes
def assigned_saved_variables(model: Module, tokens: Tensor) -> Module:
    model.load_state_dict(reloaded(model.state_dict(keep_vars=True), weights_only=True), assign=True)
    return model


# -- built without memory ------------------------------------------------------------------------------------------


@_passes
def meta_assigned(model: Module, tokens: Tensor) -> Module:
    other = blank(model, "meta")
    other.load_state_dict(copy.deepcopy(model).state_dict(), assign=True)
    return other


@_passes
def meta_assigned_variables(model: Module, tokens: Tensor) -> Module:
    other = blank(model, "meta")
    other.load_state_dict(copy.deepcopy(model).state_dict(keep_vars=True), assign=True)
    return other


@_passes
def meta_assigned_swapping(model: Module, tokens: Tensor) -> Module:
    other = blank(model, "meta")
    torch.__future__.set_swap_module_params_on_conversion(True)
    try:
        other.load_state_dict(copy.deepcopy(model).state_dict(), assign=True)
    finally:
        torch.__future__.set_swap_module_params_on_conversion(False)
    return other


@_passes
def meta_emptied(model: Module, tokens: Tensor) -> Module:
    other = blank(model, "meta").to_empty(device="cpu")
    other.load_state_dict(model.state_dict())
    return other


@_passes
def meta_emptied_swapping(model: Module, tokens: Tensor) -> Module:
    torch.__future__.set_swap_module_params_on_conversion(True)
    try:
        other = blank(model, "meta").to_empty(device="cpu")
        other.load_state_dict(model.state_dict())
    finally:
        torch.__future__.set_swap_module_params_on_conversion(False)
    return other


@_passes
def made_without_initialisation(model: Module, tokens: Tensor) -> Module:
    rows, width = model.head.weight.shape
    padding = next(module.padding_idx for module in model.children() if isinstance(module, torch.nn.Embedding))
    biased = model.head.bias is not None
    other = torch.nn.utils.skip_init(type(model), rows, width, biased, padding, device="cpu")
    for name, parameter in other.named_parameters():  # of a weight there is one, unless the tie is lost
        parameter.requires_grad_(name.endswith("bias") or model.head.weight.requires_grad)
    other.load_state_dict(model.state_dict())
    return other


# -- there and back ------------------------------------------------------------------------------------------------


@_passes
def in_shared_memory(model: Module, tokens: Tensor) -> Module:
    return model.share_memory()


@_passes
def parametrized_and_back(model: Module, tokens: Tensor) -> Module:
    torch.nn.utils.parametrize.register_parametrization(model.head, "weight", Doubling())
    torch.nn.utils.parametrize.remove_parametrizations(model.head, "weight", leave_parametrized=False)
    return model


@_passes
def pruned_of_nothing(model: Module, tokens: Tensor) -> Module:
    torch.nn.utils.prune.identity(model.head, "weight")
    torch.nn.utils.prune.remove(model.head, "weight")
    return model


# -- graphs --------------------------------------------------------------------------------------------------------

_graph = into(GRAPHS)


@_graph
def symbolic(model: Module, tokens: Tensor) -> Module:
    return torch.fx.symbolic_trace(model)


@_graph
def symbolic_again(model: Module, tokens: Tensor) -> Module:
    return torch.fx.symbolic_trace(torch.fx.symbolic_trace(model))


@_graph
def symbolic_transformed(model: Module, tokens: Tensor) -> Module:
    return torch.fx.Transformer(torch.fx.symbolic_trace(model)).transform()


@_graph
def symbolic_copied(model: Module, tokens: Tensor) -> Module:
    return copy.deepcopy(torch.fx.symbolic_trace(model))


@_graph
def symbolic_pickled(model: Module, tokens: Tensor) -> Module:
    return pickle.loads(pickle.dumps(torch.fx.symbolic_trace(model)))


@_graph
def symbolic_saved(model: Module, tokens: Tensor) -> Module:
    return reloaded(torch.fx.symbolic_trace(model), weights_only=False)


@_graph
def symbolic_in_folder(model: Module, tokens: Tensor) -> Module:
    import importlib.util
    import pathlib
    import tempfile
    import warnings

    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.fx.symbolic_trace(model).to_folder(folder, "Passed")
        found: Any = importlib.util.spec_from_file_location("passed", pathlib.Path(folder, "module.py"))
        module = importlib.util.module_from_spec(found)
        found.loader.exec_module(module)
        return module.Passed()


@_graph
def symbolic_scripted(model: Module, tokens: Tensor) -> Module:
    return torch.jit.script(torch.fx.symbolic_trace(model))


# -- scripts and traces --------------------------------------------------------------------------------------------

_script = into(SCRIPTS)


def kept(script: Any) -> Any:
    """What torch.jit.save writes of a script, read again."""
    buffer = io.BytesIO()
    torch.jit.save(script, buffer)
    buffer.seek(0)
    return torch.jit.load(buffer)


@_script
def scripted(model: Module, tokens: Tensor) -> Module:
    return torch.jit.script(model)


@_script
def scripted_saved(model: Module, tokens: Tensor) -> Module:
    return kept(torch.jit.script(model))


@_script
def scripted_copied(model: Module, tokens: Tensor) -> Module:
    return copy.deepcopy(torch.jit.script(model))


@_script
def scripted_saved_copied(model: Module, tokens: Tensor) -> Module:
    return copy.deepcopy(kept(torch.jit.script(model)))


@_script
def scripted_assigned(model: Module, tokens: Tensor) -> Module:
    script: Any = torch.jit.script(model)
    script.load_state_dict(copy.deepcopy(model).state_dict(keep_vars=True), assign=True)
    return script


@_script
def traced(model: Module, tokens: Tensor) -> Module:
    return torch.jit.trace(model, tokens)


@_script
def traced_saved(model: Module, tokens: Tensor) -> Module:
    return kept(torch.jit.trace(model, tokens))


@_script
def traced_copied(model: Module, tokens: Tensor) -> Module:
    return copy.deepcopy(torch.jit.trace(model, tokens))


# -- exported and compiled -----------------------------------------------------------------------------------------

_slow = into(SLOW)


@_slow
def exported(model: Module, tokens: Tensor) -> Module:
    return torch.export.export(model, (tokens,), strict=False).module()


@_slow
def exported_strictly(model: Module, tokens: Tensor) -> Module:
    torch._dynamo.reset()
    return torch.export.export(model, (tokens,), strict=True).module()


@_slow
def exported_again(model: Module, tokens: Tensor) -> Module:
    module = torch.export.export(model, (tokens,), strict=False).module()
    return torch.export.export(module, (tokens,), strict=False).module()


@_slow
def exported_decomposed(model: Module, tokens: Tensor) -> Module:
    return torch.export.export(model, (tokens,), strict=False).run_decompositions().module()


@_slow
def exported_copied(model: Module, tokens: Tensor) -> Module:
    return copy.deepcopy(torch.export.export(model, (tokens,), strict=False).module())


@_slow
def exported_saved(model: Module, tokens: Tensor) -> Module:
    buffer = io.BytesIO()
    torch.export.save(torch.export.export(model, (tokens,), strict=False), buffer)
    buffer.seek(0)
    return torch.export.load(buffer).module()


@_slow
def unflattened(model: Module, tokens: Tensor) -> Module:
    return torch.export.unflatten(torch.export.export(model, (tokens,), strict=False))


@_slow
def unflattened_copied(model: Module, tokens: Tensor) -> Module:
    return copy.deepcopy(torch.export.unflatten(torch.export.export(model, (tokens,), strict=False)))


@_slow
def compiled(model: Module, tokens: Tensor) -> Module:
    torch._dynamo.reset()
    return torch.compile(model, backend="eager")


@_slow
def compiled_in_place(model: Module, tokens: Tensor) -> Module:
    torch._dynamo.reset()
    model.compile(backend="eager")
    return model


@_slow
def compiled_copied(model: Module, tokens: Tensor) -> Module:
    torch._dynamo.reset()
    whole: Any = torch.compile(model, backend="eager")
    whole(tokens)
    return copy.deepcopy(whole)
