"""Routes of a tied model: what loads, copies, traces, exports and compiles it, and is documented to preserve it.

A route is a function ``(model, tokens) -> model``; ``PASSAGES`` has those that take a moment, ``SLOW`` those that take a hundred
times as long.
"""

import copy
import io
import pickle
from collections.abc import Callable
from typing import Any

import torch
import torch.export
import torch.fx
import torch.nn.utils.parametrize

from embcheck.core.registry import by_name, named
from embcheck.families.tie_export.programs import Doubling, blank
from embcheck.families.tie_preservation.operations import loading, swapping_parameters
from embcheck.families.tie_preservation.programs import Module, Tensor

Passage = Callable[[Module, Tensor], Module]


def stored(save: Callable[..., Any], load: Callable[..., Any], thing: Any) -> Any:
    """What is saved of a thing, loaded again."""
    buffer = io.BytesIO()
    save(thing, buffer)
    buffer.seek(0)
    return load(buffer)


def emptied(model: Module) -> Module:
    return loading(blank(model, "meta").to_empty(device=model.head.weight.device), model.state_dict())


PASSAGES: dict[str, Passage] = named(
    {
        "loaded": lambda model, _: loading(model, {name: v.clone() for name, v in model.state_dict().items()}),
        "assigned": lambda model, _: loading(model, model.state_dict(), True),
        "assigned_variables": lambda model, _: loading(model, copy.deepcopy(model).state_dict(keep_vars=True), True),
        "meta_assigned": lambda model, _: loading(blank(model, "meta"), copy.deepcopy(model).state_dict(), True),
        "meta_emptied": lambda model, _: emptied(model),
        "meta_emptied_swapping": lambda model, _: swapping_parameters(lambda: emptied(model)),
    }
)


def traced_in_evaluation(model: Module) -> Module:
    """A graph of a model that evaluates, which it must do, too; both train from then on."""
    graph = torch.fx.symbolic_trace(model.eval())
    if any(part.training for part in graph.modules()):
        raise AssertionError("what is traced of a model in evaluation is in training mode")
    model.train()
    return graph.train()


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


def parametrized_and_back(model: Module, tokens: Tensor) -> Module:
    torch.nn.utils.parametrize.register_parametrization(model.head, "weight", Doubling())
    torch.nn.utils.parametrize.remove_parametrizations(model.head, "weight", leave_parametrized=False)
    return model


GRAPHS: dict[str, Passage] = named(
    {
        "parametrized_and_back": parametrized_and_back,
        "symbolic": lambda model, _: traced_in_evaluation(model),
        "symbolic_transformed": lambda model, _: torch.fx.Transformer(traced_in_evaluation(model)).transform(),
        "symbolic_copied": lambda model, _: copy.deepcopy(traced_in_evaluation(model)),
        "symbolic_pickled": lambda model, _: pickle.loads(pickle.dumps(traced_in_evaluation(model))),
        "symbolic_in_folder": symbolic_in_folder,
    }
)

SCRIPTS: dict[str, Passage] = named(
    {
        "scripted": lambda model, _: torch.jit.script(model),
        "scripted_saved": lambda model, _: stored(torch.jit.save, torch.jit.load, torch.jit.script(model)),
        "scripted_copied": lambda model, _: copy.deepcopy(torch.jit.script(model)),
        "traced": lambda model, tokens: torch.jit.trace(model, tokens),
        "traced_saved": lambda model, tokens: stored(torch.jit.save, torch.jit.load, torch.jit.trace(model, tokens)),
    }
)


def program(model: Module, tokens: Tensor, strict: bool = False) -> Any:
    if strict:
        torch._dynamo.reset()
    return torch.export.export(model, (tokens,), strict=strict)


def compiled(model: Module, tokens: Tensor) -> Module:
    torch._dynamo.reset()
    return torch.compile(model, backend="eager")


def compiled_and_retied(model: Module, tokens: Tensor) -> Module:
    """One that was untied after its first call, and tied again; whose head was assigned to what compiles it, and which evaluated
    for a while."""
    other, own, bias = compiled(model, tokens), model.head.weight, model.head.bias
    with torch.no_grad():
        tied = other(tokens)
        model.head.weight = torch.nn.Parameter(-own)
        if not torch.equal(other(tokens), -tied if bias is None else 2 * bias - tied):
            raise AssertionError("with the head's weight negated it does not give -(y - b) + b")
    model.head.weight = own
    other.head = model.head
    for mode in (False, True):
        if any(part.training is not mode for part in other.train(mode)._orig_mod.modules()):
            raise AssertionError(f"train({mode}) of what compiles a model leaves the model in the other mode")
    return other


SLOW: dict[str, Passage] = named(
    {
        "exported": lambda model, tokens: program(model, tokens).module(),
        "exported_decomposed": lambda model, tokens: program(model, tokens).run_decompositions().module(),
        "exported_strictly": lambda model, tokens: program(model, tokens, True).module(),
        "exported_saved": lambda model, tokens: stored(
            torch.export.save, torch.export.load, program(model, tokens)
        ).module(),
        "unflattened": lambda model, tokens: torch.export.unflatten(program(model, tokens)),
        "unflattened_copied": lambda model, tokens: copy.deepcopy(torch.export.unflatten(program(model, tokens))),
        **by_name(compiled, compiled_and_retied),
    }
)
