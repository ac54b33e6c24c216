"""Faults of states that go by names; torch.distributed.checkpoint is imported where one is planted or looked for."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from typing import Any

from selfcheck.fault import fault, patched


def by_name() -> Any:
    """The module of states by name."""
    return importlib.import_module("torch.distributed.checkpoint.state_dict")


def there() -> bool:
    """Whether this release has states by name, flattened ones too."""
    try:
        return "flatten_optimizer_state_dict" in by_name().StateDictOptions.__dataclass_fields__
    except ImportError:
        return False


def planted(attribute: str, wrong: Callable[..., Any]) -> Any:
    """``wrong(original, *given, **flags)`` in the place of a function of the module."""
    original = getattr(by_name(), attribute)
    return patched(by_name(), **{attribute: lambda *given, **flags: wrong(original, *given, **flags)})


@fault("optimizer_state_dict", applies=there)
def ignoring_frozen_parameters_ignores_ties() -> Iterator[None]:
    """A model's state without frozen parameters has one name of each of the others."""

    def wrong(original: Any, model: Any, **flags: Any) -> Any:
        found = original(model, **flags)
        if flags.get("options") is not None and flags["options"].ignore_frozen_params:
            once = {name for name, _ in model.named_parameters()}
            found = {name: value for name, value in found.items() if name in once}
        return found

    with planted("get_model_state_dict", wrong):
        yield
