"""A model as its author builds it: the factory is imported, called afresh each time, and looked at before use."""

from __future__ import annotations

import importlib
import operator
import random
import sys
from collections.abc import Callable
from typing import Any

import torch

from embcheck.audit import hf
from embcheck.audit.finding import AS_BUILT, Unbuilt, told
from embcheck.audit.program import Inputs, Model, is_compiled, memory, named, uncompiled, vary
from embcheck.audit.target import located

#: Where a model comes from, JSON-ready: a factory's ``target`` and ``folder``, or an architecture of transformers.
Source = dict[str, Any]


def imported(source: Source) -> Callable[[], Any]:
    """The factory that ``module:factory`` names.

    Raises:
        Unbuilt: if the module can't be imported or has no such callable.
    """
    module_name, name = located(source)
    try:
        module: Any = importlib.import_module(module_name)
    except BaseException as error:
        raise Unbuilt(f"{module_name} can't be imported: {told(error)}") from error
    try:
        factory = operator.attrgetter(name)(module)
    except AttributeError:
        public = [n for n, thing in vars(module).items() if callable(thing) and not n.startswith("_")]
        there = f"; it has {', '.join(public[:8])}" if public else ""
        raise Unbuilt(f"{module_name} has no {name!r}{there}") from None
    if not callable(factory):
        raise Unbuilt(f"{source['target']} is no function: it is of type {type(factory).__name__}")
    return factory  # type: ignore[no-any-return]


def made(source: Source, variant: str = AS_BUILT, seed: int = 0) -> tuple[Model, Inputs | None]:
    """A fresh model, untouched but not compiled, and the inputs that came with it; see `returned` for what it raises."""
    model, inputs = returned(source, variant, seed)
    return uncompiled(model), inputs


def compiled(source: Source) -> bool:
    """Whether the factory returns a compiled model.

    Raises:
        Unbuilt: if it returns what it returned before: a law changes what it is given.
    """
    if source["kind"] == "hf":
        return False
    one, other = returned(source)[0], returned(source)[0]
    mine = {memory(p) for p in named(one).values()} - {None}
    shared = [name for name, p in named(other).items() if memory(p) in mine]
    if one is other or shared:
        what = "the same model" if one is other else f"models that share the memory of {shared[0]}"
        raise Unbuilt(f"{source['target']} returns {what} each time; an audit changes models: build each anew")
    return is_compiled(other)


def returned(source: Source, variant: str = AS_BUILT, seed: int = 0) -> tuple[Model, Inputs | None]:
    """What the factory returns, every generator seeded, so that it builds the same model each time.

    Raises:
        Unbuilt: if the factory raises or returns no module.
    """
    random.seed(seed)
    torch.manual_seed(seed)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(seed)
    if source["kind"] == "hf":
        try:
            return hf.build(source, variant)
        except Exception as error:
            raise Unbuilt(f"{source['cls']} can't be built: {told(error)}") from error
    factory, target = imported(source), source["target"]
    try:
        built = factory()
    except BaseException as error:
        raise Unbuilt(f"{target} raised {told(error)}") from error
    model, inputs = built if isinstance(built, tuple) and len(built) == 2 else (built, None)
    if not isinstance(model, torch.nn.Module):
        kind = f"the class {model.__name__}, not an instance" if isinstance(model, type) else f"{model!r:.40}"
        raise Unbuilt(f"{target} returned {kind}; expected a torch.nn.Module, or a module and its inputs")
    if inputs is not None and not isinstance(inputs, (dict, torch.Tensor, list, tuple)):
        raise Unbuilt(f"{target} returned inputs of type {type(inputs).__name__}; expected a tensor or dict")
    if inputs is not None and not isinstance(inputs, dict):  # positional ones are under their number
        inputs = dict(enumerate([inputs] if isinstance(inputs, torch.Tensor) else inputs))
    return model, None if inputs is None else {str(name): value for name, value in inputs.items()}


def fresh(source: Source, variant: str = AS_BUILT, *, varied: bool = True, seed: int = 0) -> Model:
    """A model in eval mode, its constant parameters varied."""
    model = made(source, variant, seed)[0]
    return vary(model) if varied else model.eval()
