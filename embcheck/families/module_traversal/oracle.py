"""What a module with parts should show of itself, as it is built, copied, loaded and converted.  Knows no torch."""

import math
from collections.abc import Callable, Hashable
from typing import Any, NamedTuple

import numpy as np

from embcheck.core.format import FORMATS
from embcheck.core.layout import preserved_strides
from embcheck.families.module_traversal.building import SHAPES
from embcheck.families.module_traversal.cases import CLASSES, DTYPES, ModuleTraversalCase, kind


class Slot(NamedTuple):
    """A name of a tensor: the module that has it, its name there, and the tensor's own name."""

    path: str
    node: str
    name: str
    tensor: str

    @property
    def kept(self) -> bool:
        return not self.tensor.endswith("scratch")


class Shown(NamedTuple):
    """What a slot shows: slots of one ``key`` are one tensor."""

    key: Hashable
    dtype: str
    strides: tuple[int, ...]
    values: Any


def values_of(case: ModuleTraversalCase, tensor: str) -> Any:
    """The numbers of a tensor, as a list: floating-point ones are multiples of one that no narrower format holds."""
    dtype, shape, _ = case.described(tensor)
    if tensor in SHAPES:
        numbers = np.arange(math.prod(shape)) % 97
    elif tensor.startswith("scalar"):
        numbers = np.array([0.5])
    else:
        numbers = np.arange(1, 1 + math.prod(shape))
    return (numbers * FORMATS[dtype].fine if dtype in FORMATS else numbers).reshape(shape).tolist()


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
    """A module of zeros into which a state was copied."""
    shown = as_built(case, slot)
    return shown if slot.kept else shown._replace(values=np.zeros(case.described(slot.tensor)[1]).tolist())


def as_assigned(case: ModuleTraversalCase, slot: Slot) -> Shown:
    """What was assigned is another tensor for each slot, and lies as it did in the state."""
    return as_built(case, slot)._replace(key=slot[1:3]) if slot.kept else as_loaded(case, slot)


def as_converted(case: ModuleTraversalCase, slot: Slot) -> Shown:
    """A Parameter stays what it is; a buffer is converted into one for each slot."""
    return in_dtype(case, slot, as_built(case, slot), DTYPES[case.convert], whole=case.convert.startswith("type"))


def converted_layers(case: ModuleTraversalCase) -> list[Any]:
    """The dtype of a converted table of integers, of a Parameter that another one replaced, and of this, with its numbers."""
    dtype = DTYPES[case.convert] or "float32"
    numbers = FORMATS[dtype].rounded(1 + np.arange(6) / 512).tolist()
    return [dtype if case.convert.startswith("type") else "int8", "float32", dtype, numbers]


def in_dtype(case: ModuleTraversalCase, slot: Slot, shown: Shown, dtype: str, *, whole: bool = False) -> Shown:
    """A tensor once its module was converted to a dtype, by which ``whole`` numbers are converted, too, or not."""
    wanted = dtype or shown.dtype
    if slot.tensor.startswith("integers") and not whole:
        wanted = "int64"
    if wanted == shown.dtype:
        return shown
    numbers = shown.values
    if wanted in FORMATS:
        numbers = FORMATS[wanted].rounded(numbers).tolist()
    strides = preserved_strides(shown.strides, case.described(slot.tensor)[1])
    parameter = kind(slot.tensor) == "parameters"
    return Shown(shown.key if parameter else slot[1:3], wanted, strides, numbers)


def moves(case: ModuleTraversalCase) -> list[Any]:
    """The module and its gradients after four conversions, each of what the one before left."""
    shown, found = {slot: as_built(case, slot) for slot in slots(case)}, []
    for k in range(4):
        dtype = ("float64", "bfloat16", "float32", "float16")[(k + case.seed) % 4]
        shown = {slot: in_dtype(case, slot, each, dtype) for slot, each in shown.items()}
        found.append([picture(case, lambda case, slot: shown[slot]), gradients(case, dtype)])  # noqa: B023
    return [found, True]


def gradients(case: ModuleTraversalCase, converted: str) -> list[tuple[str, bool, bool]]:
    """Of each Parameter that has a gradient its dtype after a conversion, whether it is sparse, and that it is of ones."""
    found = []
    for tensor in case.parameters if case.grads else ():
        dtype, shape, _ = case.described(tensor)
        in_rows = case.grads == "sparse" and len(shape) == 2 and shape[0] > 0
        found.append((converted or dtype, in_rows, True))
    return found


def values(
    case: ModuleTraversalCase, change: Callable[[Slot, Any], Any] = lambda slot, numbers: numbers
) -> dict[str, Any]:
    """Each name with the first name of its tensor, the dtype, requires_grad and the numbers, as they were changed."""
    named = sorted(slots(case), key=lambda slot: slot.path)
    first = {slot.tensor: slot.path for slot in reversed(named)}
    found = {}
    for slot in named:
        trains = kind(slot.tensor) == "parameters" and slot.tensor not in case.frozen
        numbers = np.asarray(change(slot, np.array(values_of(case, slot.tensor), np.float64))).tolist()
        found[slot.path] = (first[slot.tensor], case.described(slot.tensor)[0], trains, numbers)
    return found


def averages(case: ModuleTraversalCase) -> list[dict[str, Any]]:
    """What an average holds when it is made and after each update: two is added to the model before each but the first, which
    copies.  So an average grows by one each time, and a buffer that is copied by two; integers stay."""
    if not case.parameters:
        return []

    def growth(slot: Slot) -> int:
        averaged = kind(slot.tensor) == "parameters" or case.seed % 2
        return 0 if slot.tensor.startswith("integers") else 1 if averaged else 2

    return [values(case, lambda slot, numbers: numbers + times * growth(slot)) for times in (0, 0, 1, 2, 3)]  # noqa: B023


def dense(case: ModuleTraversalCase, tensor: str, *, made: bool) -> bool:
    """Whether a tensor lies row by row, or what is ``made`` of it element by element."""
    _, shape, strides = case.described(tensor)
    lying = preserved_strides(strides, shape) if made else strides
    return np.lib.stride_tricks.as_strided(np.zeros(1, np.int8), shape, lying).flags.c_contiguous


def calls(case: ModuleTraversalCase) -> list[list[Any]]:
    """What each name showed in calls with all tensors negated, twice, and with the first and the last alone; and the gradient of
    their sum, which a tensor has as often as it is shown."""
    every = slots(case)
    own = {slot.path: slot for slot in every}
    once = [path for what in ("buffers", "parameters") for path, _ in case.tensors(what)]
    twice = case.facts()["shared_module"]
    numbers = {slot.path: np.array(values_of(case, slot.tensor), np.float64) for slot in every}
    found = []
    for given, tied in ((once, not twice), (once, not twice), (once[:1], False), (once[-1:], False)):
        # A module that has two names shows what it is given under both.
        showing = {
            path: [
                slot.path for slot in every if slot[1:] == own[path][1:] or (tied and slot.tensor == own[path].tensor)
            ]
            for path in given
        }
        negated = set().union(*showing.values())
        shown = sorted(
            (path, dense(case, own[path].tensor, made=path in negated), (-n if path in negated else n).tolist())
            for path, n in numbers.items()
        )
        floating = [path for path in given if not own[path].tensor.startswith("integers")]
        found.append([shown, {path: np.full(numbers[path].shape, len(showing[path])).tolist() for path in floating}])
    return found


def links(case: ModuleTraversalCase) -> list[list[Any]]:
    """Of weight and bias: twice the numbers under one link and four times under two; and the module after either."""
    found = []
    own = {name: tensor for name, tensor in case.parts[case.root][2] if kind(tensor) == "parameters"}
    # By what each tensor was multiplied: what the links of the weight left those of the bias may be given.
    factors = dict.fromkeys(own.values(), 1)
    for tensor in (own[name] for name in ("weight", "bias") if name in own):
        numbers = factors[tensor] * np.array(values_of(case, tensor), np.float64)
        linked = [[True, True, (factor * numbers).tolist()] for factor in (2, 2, 4)]
        left = []
        for by in (1, 4):
            factors[tensor] *= by
            left.append([True, True, values(case, lambda slot, n: n * factors.get(slot.tensor, 1))])
        found.append([linked[0], left[0], *linked[1:], left[1]])
    return found


def holder(case: ModuleTraversalCase) -> dict[str, Any]:
    """The values of a module whose weight and bias have the case's module as their link."""
    own = {"weight": [[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]], "bias": [0.0, 1.0, 2.0]}
    found: dict[str, Any] = {}
    for name, numbers in own.items():
        original = f"parametrizations.{name}.original"
        found[original] = (original, "float32", True, numbers)
        # Of its two names the bias is the first.
        for path, (first, *told) in values(case).items():
            found[f"parametrizations.{name}.0.{path}"] = (f"parametrizations.bias.0.{first}", *told)
    return found
