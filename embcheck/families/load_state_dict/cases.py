"""A checkpoint that is loaded, as a case: what is wrong with it, and the module that should come of it."""

import itertools
import math
from collections.abc import Iterator
from typing import Annotated, Any

import numpy as np

from embcheck.core.axes import Axes, Input, values_of
from embcheck.core.format import FORMATS, Floats
from embcheck.core.law import Plan
from embcheck.core.layout import LAYOUTS, view_of
from embcheck.core.space import Space
from embcheck.families.load_state_dict.programs import EDITS, PRIORS, restored

#: The module's parameters, then its buffers, in the order in which they are listed.
SLOTS = ("words.weight", "deep.0.weight", "deep.0.bias", "mean", "count", "scratch")
SHAPES: dict[str, tuple[int, ...]] = dict(zip(SLOTS, ((3, 2), (3, 2), (3,), (2,), (), (1,)), strict=True))
#: What a checkpoint of it holds.
KEYS = SLOTS[:-1]
#: Under which name each is fed.
FED = {"words.weight": "rows", "deep.0.weight": "columns", "deep.0.bias": "vector", "mean": "pair"}
#: Edits whose result has another shape, or is no tensor: refused, strictly or not.
MISSHAPEN = frozenset({"taller", "first", "scalar", "absent"})
CASTS = {"double": "float64", "single": "float32", "short": "bfloat16"}
#: Keys of what is registered as None, and others that are in no module, or of what is not persistent.
OF_NONE = ("words.bias", "deep.0.mask")
EXTRAS = (
    *("extra", "words.extra", "deep.1.weight", "scratch", "words2.weight", "words..weight", "module.words.weight"),
    *OF_NONE,
)


MISSING = ((), *((key,) for key in KEYS), ("words.weight", "deep.0.bias"), KEYS)
SURPLUS = ((), *((key,) for key in EXTRAS), ("extra", "words.extra"))


class LoadStateDictCase(Axes):
    """A checkpoint for an embedding, a linear layer and three buffers."""

    edited: Annotated[str, KEYS] = "words.weight"
    edit: Annotated[str, tuple(EDITS)] = "fits"
    missing: Annotated[tuple[str, ...], MISSING] = ()
    extra: Annotated[tuple[str, ...], SURPLUS] = ()
    strict: Annotated[bool, (True, False)] = True
    assign: Annotated[bool, (False, True)] = False
    prior: Annotated[str, tuple(PRIORS)] = "nothing"
    #: whether the checkpoint is a state_dict with its metadata, or a plain dict
    container: Annotated[str, ("dict", "state")] = "dict"
    #: whether the linear layer's weight is the embedding's
    tied: Annotated[bool, (False, True)] = False
    dtype: Annotated[str, tuple(FORMATS)] = "float32"
    layout: Annotated[str, LAYOUTS] = "contiguous"
    seed: int = 0
    #: how the checkpoint's tables lie in memory
    stored: str = "contiguous"

    @property
    def refused(self) -> bool:
        misshapen = self.edit in MISSHAPEN and self.edited not in self.missing
        return misshapen or (self.strict and not self.removes_keys and bool(self.missing or self.unexpected))

    @property
    def removes_keys(self) -> bool:
        """Whether a hook removes the keys that are missing and unexpected from their lists."""
        return self.prior == "keys_removed"

    @property
    def hooks(self) -> bool:
        """Whether a layer with hooks and an extra state is saved and loaded, too."""
        return self.prior == "nothing" and self.edit == "fits"

    @property
    def hooked(self) -> dict[str, Any]:
        """What its hooks are called with, in turn, and what becomes of its extra state."""
        name, keys = "inside.0.", ["_extra_state", "first.weight", "inside.0.weight", "inside.0._extra_state"]
        return {
            "told": [
                ["pre", True, name, self.assign],
                ["post", True, name, keys],
                ["load pre", True, name, 0, 2, [], [], []],
                ["load post", True, 5, []],
                ["whole", True, 5, []],
            ],
            "extra": [{"turns": 5}, 2, 0],
            "keys": [[keys[0], keys[3]], []],
            "surplus": [[], [keys[3]]],
            "unwrapped": ["inside.first.weight", "inside.module.weight"],
            "removed": True,
            "equal": True,
        }

    @property
    def unexpected(self) -> tuple[str, ...]:
        """The keys beside the module's, unless a hook drops their entries, of a part of the module those of its own."""
        dropped = {"entries_dropped": "", "entries_dropped_inside": "deep."}.get(self.prior)
        return tuple(key for key in self.extra if dropped is None or not key.startswith(dropped))

    @property
    def tables(self) -> tuple[str, ...]:
        """The names of the embedding's weight."""
        return SLOTS[: 1 + self.tied]

    def entry_dtype(self, slot: str) -> str:
        """The dtype of an entry before its edit: a wider one holds numbers that the slot does not."""
        wider = {"double": "float64", "single": "float32"} if slot == self.edited else {}
        return wider.get(self.edit, self.dtype)

    def start(self, slot: str) -> Floats:
        """What a slot holds before."""
        if slot in self.tables:
            return np.arange(1.0, 7.0).reshape(3, 2)
        held = {"deep.0.bias": [1.0, 2.0, 3.0], "mean": [0.0, 0.0], "count": 3.0, "scratch": [5.0]}
        return np.array(held[slot])

    def entry(self, slot: str) -> Floats:
        """What the checkpoint holds before its edit: numbers that float64 and float32 hold, but not bfloat16, which rounds some
        up and some down; of a module in float64 such as float32 does not hold."""
        if slot == "count":
            return np.array(11.0)
        numbers = np.arange(1.0, 1 + math.prod(SHAPES[slot])) * (-1.0) ** KEYS.index(slot) + 11 * 2.0**-9
        numbers += 2.0**-40 if self.dtype == "float64" else 0.0
        return FORMATS[self.entry_dtype(slot)].rounded(numbers).reshape(SHAPES[slot])

    def after(self, slot: str) -> tuple[str, Floats]:
        """What a slot should hold afterwards: its dtype and values; not for ``deep.0.weight``, which is drawn."""
        own = {"count": "int64", "scratch": "float32"}.get(slot, self.dtype)
        if not self.assign and slot in self.tables:
            # One Parameter, into which each of its names is copied: the last one counts.
            slot = next((name for name in reversed(self.tables) if name not in self.missing), slot)
        if slot in self.missing or slot == "scratch":
            return own, self.start(slot)
        if slot == "count":
            return own, self.entry(slot)
        dtype = CASTS.get(self.edit, own) if slot == self.edited else own
        final = dtype if self.assign else own
        return final, FORMATS[final].rounded(FORMATS[dtype].rounded(self.entry(slot)))

    def strides(self, slot: str) -> tuple[int, ...] | None:
        """The strides afterwards, in elements; None where they are not known."""
        if not self.replaces(slot):
            return view_of(SHAPES[slot], self.layout).strides if slot in self.tables else None
        return (1, 3) if slot == self.edited and self.edit == "turned" and slot in SLOTS[:2] else None

    def replaces(self, slot: str) -> bool:
        """Whether a slot gets another object."""
        return self.assign and slot in KEYS and slot not in self.missing

    def trains(self, slot: str) -> bool:
        """Whether a slot requires grad: as before, whatever the checkpoint's entry does."""
        return SLOTS.index(slot) < 3 and not (self.prior == "frozen" and slot in self.tables)

    def inputs(self) -> dict[str, Input]:
        """The tensors to feed: the weight, the bias and the checkpoint's."""
        fmt = FORMATS[self.dtype]
        fed = {
            "weight": Input(fmt.encode(self.start("words.weight")), self.dtype, self.layout),
            "bias": Input(fmt.encode(self.start("deep.0.bias")), self.dtype),
        }
        for slot, name in FED.items():
            dtype, stored = self.entry_dtype(slot), self.stored if slot in SLOTS[:2] else "contiguous"
            fed[name] = Input(FORMATS[dtype].encode(self.entry(slot)), dtype, stored)
        return fed

    def facts(self) -> dict[str, Any]:
        return {
            **{name: value for name, value in self.axes.items() if name not in ("missing", "extra")},
            "refused": self.refused,
            "partial": bool(self.missing),
            "surplus": bool(self.extra),
            "surplus_inside": "deep.0.mask" in self.extra,
            "hooks": self.hooks,
            "of_none": not set(OF_NONE).isdisjoint(self.extra),
        }


def plan(case: LoadStateDictCase) -> Plan:
    keys = tuple(key for key in KEYS if key not in case.missing)
    options = {
        "edit": EDITS[case.edit],
        "prior": PRIORS[case.prior],
        "checkpoint": {"keys": keys, "edited": case.edited, "extra": case.extra, "container": case.container},
        "call": {"strict": case.strict, "assign": case.assign},
        "tied": case.tied,
        "hooks": case.hooks,
    }
    return Plan(restored, case.inputs(), options)


def repair(case: LoadStateDictCase) -> LoadStateDictCase:
    """The case with an edit that its slot can have: a Parameter in a buffer's place becomes one, and a vector of one number
    is loaded into a scalar, as old checkpoints have it."""
    fits = (case.edited == "mean" and case.edit in ("parameter", "in_a_graph")) or (
        case.edited == "count" and case.edit != "absent"
    )
    layout = "column_slice" if case.layout == "expanded" else case.layout
    return case.but(edit="fits" if fits else case.edit, layout=layout)


AXES = values_of(LoadStateDictCase)


def scope() -> Iterator[LoadStateDictCase]:
    """Every edit of every entry, everything missing, everything unknown; strict or not, copied or assigned."""
    both, priors, layouts = (True, False), tuple(PRIORS), ("contiguous", "transposed", "offset")
    for seed, (key, edit, strict, assign) in enumerate(itertools.product(KEYS, EDITS, both, both)):
        axes: dict[str, Any] = {"strict": strict, "assign": assign, "prior": priors[seed % len(priors)]}
        axes |= {"tied": seed % 3 == 0, "dtype": tuple(FORMATS)[seed % 7 % 4]}
        yield LoadStateDictCase(key, edit, **axes, layout=layouts[seed % 5 % 3], seed=seed)
    for seed, (missing, extra, strict, assign) in enumerate(itertools.product(MISSING, SURPLUS, both, both)):
        axes = {"strict": strict, "assign": assign, "prior": priors[seed % len(priors)]}
        yield LoadStateDictCase(missing=missing, extra=extra, **axes, tied=bool(seed % 2), seed=seed)
    for container, assign, tied, edit in itertools.product(AXES["container"], both, both, ("fits", "double")):
        yield LoadStateDictCase("deep.0.weight", edit, assign=assign, container=container, tied=tied)
    laid = itertools.product(
        SLOTS[:2], ("fits", "single", "double"), ("transposed", "strided", "column_slice"), FORMATS
    )
    for seed, (key, edit, stored, dtype) in enumerate(laid):
        axes = {"assign": seed % 5 == 4, "dtype": dtype, "stored": stored}
        yield LoadStateDictCase(key, edit, **axes, seed=seed)


SPACE = Space(
    LoadStateDictCase, AXES, repair, lambda: map(repair, scope()), flags=("edit", "assign", "prior"), strength=2
)
