"""What a module with parts should show of itself, as it is built, copied, loaded and converted.  Knows no torch."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable
from typing import Any, NamedTuple

import numpy as np

from embcheck.core.layout import preserved_strides
from embcheck.families.module_traversal.cases import CLASSES, DTYPES, ModuleTraversalCase, kind


class Slot(NamedTuple):
    """A name of a tensor: the module that has it, its name there, and the tensor's own name."""

    path: str
    node: str
    name: str
    tensor: str

    @property
    def kept(self) -> bool:
        """Whether a state_dict has it."""
        return not self.tensor.endswith("scratch")


class Shown(NamedTuple):
    """What a slot shows: slots of one ``key`` are one tensor."""

    key: Hashable
    dtype: str
    strides: tuple[int, ...]
    values: Any


def values_of(case: ModuleTraversalCase, tensor: str) -> Any:
    """The numbers of a tensor, as a list."""
    shape = case.described(tensor)[1]
    if tensor == "p_many":
        return (np.arange(1200) % 97).reshape(shape).tolist()
    if tensor.startswith("scalar"):
        return 0.5
    counts = tensor.startswith(("table", "p", "integers"))
    return (np.arange(1, 1 + math.prod(shape)) if counts else np.ones(shape)).reshape(shape).tolist()


def slots(case: ModuleTraversalCase) -> list[Slot]:
    """Every name of a Parameter, then of a buffer."""
    return [
        Slot(f"{path}.{name}" if path else name, node, name, tensor)
        for what in ("parameters", "buffers")
        for path, node in case.modules("", False)
        for name, tensor in case.parts[node][2]
        if kind(tensor) == what
    ]


def picture(
    case: ModuleTraversalCase, show: Callable[[ModuleTraversalCase, Slot], Shown], *, left: bool = False
) -> dict[str, list[Any]]:
    """The module as it is built, or as it is ``left`` in the end: all frozen, and all in the other mode."""
    every = slots(case)
    shown = [show(case, slot) for slot in every]
    keys = [each.key for each in shown]
    last = case.modules("", True)[-1][1]
    modes = dict.fromkeys(case.parts, case.evaluating if left else not case.evaluating)
    modes |= {last: case.evaluating} if case.mixed else {}
    kinds = []
    for slot, each in zip(every, shown, strict=True):
        parameter = kind(slot.tensor) == "parameters"
        trains = parameter and not left and slot.tensor not in case.frozen
        shape = case.described(slot.tensor)[1]
        kinds.append((each.dtype, shape, each.strides, trains, True, "Parameter" if parameter else "Tensor"))
    return {
        "names": [(slot.path, keys.index(key)) for slot, key in zip(every, keys, strict=True)],
        "kinds": kinds,
        "values": [each.values for each in shown],
        "modules": [(path, *CLASSES[case.parts[node][1]], modes[node]) for path, node in case.modules("", False)],
    }


def as_built(case: ModuleTraversalCase, slot: Slot) -> Shown:
    dtype, _, strides = case.described(slot.tensor)
    return Shown(slot.tensor, dtype, strides, values_of(case, slot.tensor))


def as_copied(case: ModuleTraversalCase, slot: Slot) -> Shown:
    """A deep copy lies densely in the order of the original."""
    shown = as_built(case, slot)
    return shown._replace(strides=preserved_strides(shown.strides, case.described(slot.tensor)[1]))


def as_loaded(case: ModuleTraversalCase, slot: Slot) -> Shown:
    """A copy of zeros into which a state was copied."""
    shown = as_copied(case, slot)
    return shown if slot.kept else shown._replace(values=np.zeros(case.described(slot.tensor)[1]).tolist())


def as_assigned(case: ModuleTraversalCase, slot: Slot) -> Shown:
    """What was assigned is another tensor for each slot, and lies as it did in the state."""
    return as_built(case, slot)._replace(key=slot[1:3]) if slot.kept else as_loaded(case, slot)


def as_converted(case: ModuleTraversalCase, slot: Slot) -> Shown:
    """A Parameter stays what it is; a buffer is converted into one for each slot."""
    shown, wanted = as_copied(case, slot), DTYPES[case.convert] or as_built(case, slot).dtype
    if slot.tensor.startswith("integers") and not case.convert.startswith("type"):
        wanted = "int64"
    if wanted == shown.dtype:
        return as_built(case, slot)
    parameter = kind(slot.tensor) == "parameters"
    return shown._replace(dtype=wanted, key=shown.key if parameter else slot[1:3])
