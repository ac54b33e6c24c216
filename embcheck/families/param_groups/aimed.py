"""Cases of param_groups that are aimed at a call of an optimizer's formula: its list of parameters, its flags and its step.

The calls of a case are those of its groups, one after the other in each step.  What is wished is asked of the first group;
the others are drawn, so that one case makes many calls that differ.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from embcheck.core.format import FORMATS
from embcheck.core.layout import view_of
from embcheck.core.targets import Unmet, Wish
from embcheck.families.param_groups.cases import LAID, ParamGroupsCase
from embcheck.families.param_groups.flat_memory import contiguous
from embcheck.families.param_groups.mixes import Member, written
from embcheck.families.tied_training.optimizers import KINDS, paths

#: How parameters of a call lie, and the layouts of which one does so.
LAYOUTS = {
    "contiguous": ("contiguous", "offset"),
    "transposed": ("transposed",),
    "rows_strided": ("column_slice", "row_strided"),
    "strided": ("strided",),
}
#: The same without gaps, which fused kernels take for granted; two of them take three axes.
DENSE = LAYOUTS | {"rows_strided": ("swapped",), "strided": ("transposed",)}
#: How gradients of a call lie, and the axis that says so.
GRADIENTS = {"contiguous": "", "transposed": "crosswise", "rows_strided": "rows"}
COLUMNS, ROWS, LENGTHS = (1, 2, 3, 7, 8, 17, 33), (1, 2, 3, 5, 8, 17, 33), (1, 2, 3, 7, 8, 17, 33, 65)
#: The most elements of a parameter, but for one in so many.
_SMALL, _SELDOM = 300, 12
#: More elements than a threshold of kernels.
_LARGE = 1024
_SWITCHES = ("maximize", "amsgrad", "centered", "nesterov", "decoupled_weight_decay", "differentiable")
#: Values of flags that show what is done with them, instead of all.
_SHOWN: Mapping[str, tuple[Any, ...]] = {"lr": (0.5, 0.5, 1, 2.0, 2.0**-4)}
#: The same of Muon, which divides by no less than that: more than most gradients' norms.
_EPS_OF_MUON = (2.0**-20, 64.0)
_ALWAYS = ("lr", "betas", "eps", "lambd", "alpha", "rho", *_SWITCHES)
_NEVER = ("foreach", "fused", "capturable")
#: How often a shape is drawn before a wish is given up.
_SHAPES = 200


def step_case(
    wish: Wish, optimizers: tuple[str, ...], path: str | None = None, others: Sequence[Wish] = ()
) -> ParamGroupsCase:
    """Steps whose calls are as wished, of one of some optimizers, on a path or on any; of the other groups the parameters are as
    ``others`` wish, where that can be.  Raises Unmet if this draw comes to none."""
    draws = wish.draws
    name = draws.choice(optimizers)
    path = draws.choice(paths(name)) if path is None else path
    flags = _flags(wish, name, path)
    switches = len(paths(name)) > 1 and not (flags.get("differentiable") or flags.get("capturable"))
    place, count, interrupt, at, steps = _steps(wish, len(others), switches=switches)
    own = {flag: draws.choice(values) for flag, values in KINDS[name].flags.items() if draws.chance(3)}
    own = own if count > 1 and draws.chance(2) and place < count - 1 else {}
    never = (*_NEVER, "differentiable", *["initial_accumulator_value"] * (path == "fused"))  # see the ledger
    own = {flag: value for flag, value in own.items() if flag not in never}
    if flags.get("eps") == _EPS_OF_MUON[1]:
        # Else what is divided is an average of the gradients, and as documented their sum: see the ledger.
        flags["momentum"] = 0
        own.pop("momentum", None)
    if flags.get("nesterov") and name == "SGD" and not (flags["momentum"] and not flags["dampening"]):
        # The constructor refuses it, and a group does not.
        place, own = count - 1, {"nesterov": flags.pop("nesterov")}
    beside = iter(others)
    alike = path == "fused" and draws.chance(2)
    groups = [
        _group(wish, name, path, alike) if each == place else _other(next(beside, Wish(draws)), name, path, alike)
        for each in range(count)
    ]
    laid, seed = "" if alike else _laid(wish, name, path), draws.between(0, 255)
    return ParamGroupsCase(
        name, written(tuple(groups)), path=path, flags=tuple(flags.items()), own=tuple(own.items()),
        interrupt=interrupt, at=at, steps=steps, sparse=laid == "sparse", crosswise=laid == "crosswise",
        laid=laid if laid in LAID else "", seed=seed,
    )  # fmt: skip


def _flags(wish: Wish, name: str, path: str) -> dict[str, Any]:
    """Flags of an optimizer: what else would hide what is done with others is always given, the rest half of the time."""
    draws, kind, flags = wish.draws, KINDS[name], dict[str, Any]()
    for flag, values in kind.flags.items():
        if flag in _NEVER or (flag == "differentiable" and (path or not (wish.asks(flag) or draws.chance(8)))):
            continue
        if flag in _ALWAYS or wish.asks(flag) or draws.chance(2):
            shown = _EPS_OF_MUON if (name, flag) == ("Muon", "eps") else _SHOWN.get(flag, values)
            flags[flag] = wish.choice(flag, shown)
    if flags.get("nesterov") and name == "SGD":
        likely = not wish.asks_any("momentum", "dampening") and not draws.chance(8)
        flags["momentum"] = 0.5 if likely else wish.choice("momentum", (0.5, 0.5, 1, 0))
        flags["dampening"] = 0 if likely else wish.choice("dampening", (0, 0.5))
    if path == "fused" and "capturable" in kind.flags and (wish.asks("capturable") or draws.chance(4)):
        flags["capturable"] = wish.choice("capturable", (True,))  # which other steps refuse on the CPU
    if flags.get("amsgrad"):
        flags["betas"] = (0.5, 0.75)  # with which the average falls below its maximum
    return flags


def _other(wish: Wish, name: str, path: str, alike: bool) -> tuple[Member, ...]:
    """The parameters of a group as is wished, or any.  Raises Unmet if this draw comes to none."""
    try:
        return _group(wish, name, path, alike)
    except Unmet:
        return _group(Wish(wish.draws), name, path, alike)


def _group(wish: Wish, name: str, path: str, alike: bool) -> tuple[Member, ...]:
    """The parameters of a group; ``alike`` if they have no gaps and their gradients lie as they do.
    Raises Unmet if this draw comes to none."""
    draws = wish.draws
    count = wish.number("params", (1, 1, 2, 2, 3, 4), 1, 5)
    # Of Muon's steps in bfloat16 without nesterov the ledger excuses any.
    dtypes = ("float32", "float64", "float16") if name == "Muon" else tuple(FORMATS)
    first = wish.choice("params_dtype", dtypes)
    mixed = draws.chance(4) if not wish.asks("params_mixed") else wish.choice("params_mixed", (False, True))
    # Fused kernels walk flat memory (see the ledger): half of their steps are of such as lie alike.
    layouts = DENSE if alike else LAYOUTS
    often = 6 if path == "fused" and not alike else 2
    lie = wish.choice("params_layout", (*("contiguous",) * often, *layouts))
    drawn = [
        draws.choice([each for each in dtypes if each != first]) if mixed and place else first for place in range(count)
    ]
    # Fused kernels of SGD leave whole vectors of half precision as they were.
    few = [path == "fused" and name == "SGD" and dtype in ("float16", "bfloat16") for dtype in drawn]
    shapes = _shapes(wish, name, [7 if small else math.inf for small in few])
    lays = [draws.choice(layouts[lie]) if not place or draws.chance(2) else "contiguous" for place in range(count)]
    members = [
        Member(shape, dtype, layout if layout != "swapped" or len(shape) > 2 else "contiguous")
        for shape, dtype, layout in zip(shapes, drawn, lays, strict=True)
    ]
    lies = next((each for each in map(_lies, members) if each != "contiguous"), "contiguous")
    grads = {"grads_layout": lies} if alike else {}
    if not wish.met({"params_layout": lies, "params_mixed": mixed and count > 1, **grads}):
        raise Unmet("params")
    return tuple(members)


def _shapes(wish: Wish, name: str, most: Sequence[float]) -> list[tuple[int, ...]]:
    """Shapes as is wished, of so many elements at most; where it is asked how many the largest has, one of them has them.
    Raises Unmet if this draw comes to none."""
    if not wish.asks("params_numel"):
        return [_shape(wish, name, each, first=place == 0) for place, each in enumerate(most)]
    draws = wish.draws
    large = draws.between(0, len(most) - 1)
    largest = _shape(wish, name, most[large], first=large == 0, sized=True)
    return [
        _shape(wish, name, min(each, math.prod(largest)), first=place == 0) if place != large else largest
        for place, each in enumerate(most)
    ]


def _shape(wish: Wish, name: str, most: float, *, first: bool, sized: bool = False) -> tuple[int, ...]:
    """A shape of so many elements at most, as is wished of the first parameter, or of the largest if it is to be ``sized``.
    Raises Unmet if this draw comes to none."""
    draws = wish.draws
    ranks = (2,) if name == "Muon" else (1, 2, 2, 3, 0) if "dense" in KINDS[name].takes else (2, 2, 3)
    # What is empty lies in no way; and Adafactor divides by its elements: see the ledger.
    hollow = name != "Adafactor" and not wish.asks_any("params_layout", "grads_layout")
    for _ in range(_SHAPES):
        rank = draws.choice(ranks)
        lengths = {0: (), 1: (LENGTHS,), 2: (ROWS, COLUMNS), 3: (ROWS, (1, 2, 3), COLUMNS)}[rank]
        shape = tuple(draws.choice(each) for each in lengths)
        if sized and shape and draws.chance(4):
            shape = (1 + _LARGE // math.prod(shape[1:]), *shape[1:])
        if hollow and rank > 1 and draws.chance(_SELDOM):
            shape = (0, *shape[1:])
        numel, ends = math.prod(shape), shape or (1,)
        told = {"params_rank": rank, "params_rows": ends[0], "params_columns": ends[-1]} if first else {}
        small = sized or numel <= _SMALL or draws.chance(_SELDOM)
        if small and numel <= most and wish.met(told | ({"params_numel": numel} if sized else {})):
            return shape
    raise Unmet("shape")


def _lies(member: Member) -> str:
    """How a parameter lies in memory, in the words of conditions."""
    strides = view_of(member.shape, member.layout).strides
    if contiguous(member.shape, strides):
        return "contiguous"
    if len(strides) > 1 and strides[-1] == 1:
        return "rows_strided"
    return "transposed" if len(strides) > 1 and strides[-2] == 1 else "strided"


def _laid(wish: Wish, name: str, path: str) -> str:
    """How gradients lie."""
    takes = KINDS[name].takes
    if "dense" not in takes:
        return "sparse"
    usual = (*("contiguous",) * (9 if path == "fused" else 3), "transposed", "strided", "rows_strided", "expanded")
    sparse = ("sparse",) if "sparse" in takes and path != "fused" else ()
    laid: str = wish.choice("grads_layout", (*usual, *sparse))
    return GRADIENTS.get(laid, laid)


def _steps(wish: Wish, others: int, *, switches: bool) -> tuple[int, int, str, int, int]:
    """Which group is wished, of how many, what interrupts, before which step, and how many steps there are.

    A call of a group has had so many earlier ones as there are steps before it on its path, times the groups, and as many
    as there are groups before it.  Raises Unmet if there are no such steps."""
    draws = wish.draws
    asked = wish.asks_any("step", "earlier")
    usual = (1, 2, 3) if wish.asks("earlier") else (1, 2, 2, 3)
    count = draws.choice((*usual, *[1 + others] * (3 if others else 0)))
    calls = [
        (place, step, at)
        for place in range(count)
        for step in range(13)
        for at in (range(step + 1) if switches else (0,))
        if wish.meets("step", float(step)) and wish.meets("earlier", place + count * (step - at))
    ]
    if not calls:
        raise Unmet("step")
    place, step, at = draws.choice([call for call in calls if not call[2]] or calls)
    if switches and not asked and draws.chance(4):
        at = draws.between(1, 4)
    steps = max(step, at) + draws.between(2, 3) if asked else max(draws.choice((3, 4, 5, 7, 12)), at + 2)
    interrupt = draws.choice(("nothing", "nothing", "reloaded", "itself"))
    return (place, count, *(("path", at) if at else (interrupt, 1)), steps)
