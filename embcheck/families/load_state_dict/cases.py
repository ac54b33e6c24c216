"""A checkpoint that is loaded, as a case: what is wrong with it, and the module that should come of it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from embcheck.core import stream
from embcheck.core.axes import Axes, Input
from embcheck.core.format import FORMATS, Floats
from embcheck.core.law import Plan
from embcheck.core.layout import LAYOUTS, view_of
from embcheck.core.space import Space
from embcheck.families.load_state_dict.programs import EDITS, PRIORS, restored

#: The module's parameters, then its buffers, in the order in which they are listed.
SLOTS = ("words.weight", "deep.0.weight", "deep.0.bias", "mean", "count", "scratch")
#: What a checkpoint of it holds.
KEYS = SLOTS[:-1]
#: Under which name each is fed.
FED = {"words.weight": "rows", "deep.0.weight": "columns", "deep.0.bias": "vector", "mean": "pair"}
#: Edits whose result has another shape, or is no tensor: refused, strictly or not.
MISSHAPEN = frozenset({"taller", "flat", "first", "empty", "scalar", "listed", "absent"})
CASTS = {"double": "float64", "single": "float32", "short": "bfloat16"}
#: Keys that are in no module.
EXTRAS = ("extra", "words.extra", "deep.0.weight.more", "deep.1.weight", "deep.0", "words", "scratch", "wordsweight")
#: Keys like those of a module, but for a part more or less.
NEIGHBOURS = (
    "words2.weight", "words_old.weight", "word.weight", "words.weight2", "words.weigh", "words.weight.", "words..weight",
    ".words.weight", "module.words.weight", "deep.00.weight", "deep.0.bias2", "deep2.0.weight", "deep.0_.bias", "deep.weight",
    "mean2", "mean.more", "mea", "counts",
)  # fmt: skip


class _LoadStateDictAxes(NamedTuple):
    edited: str = "words.weight"
    edit: str = "fits"
    missing: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()
    strict: Any = True
    assign: Any = False
    #: how strict and assign are passed: keyword, all (positional), strict, none
    passed: str = "keyword"
    prior: str = "nothing"
    container: str = "dict"
    order: str = "kept"
    no_grad: bool = False
    #: whether the linear layer's weight is the embedding's
    tied: bool = False
    #: the state of a module that keeps one of its own, or nothing
    note: tuple[Any, ...] = ()
    #: whether a hook after loading forgives what is missing and what is unknown
    forgives: bool = False
    #: whether the checkpoint has another name for the head's weight, which a hook of its parent changes
    renamed: bool = False
    dtype: str = "float32"
    layout: str = "contiguous"
    #: how many columns the table's three rows have
    columns: int = 2
    seed: int = 0
    #: how the checkpoint's tables lie in memory
    stored: str = "contiguous"


class LoadStateDictCase(Axes, _LoadStateDictAxes):  # type: ignore[misc]
    """A checkpoint for an embedding, a linear layer and three buffers."""

    @property
    def is_strict(self) -> bool:
        """Whether missing and unexpected keys are refused: the default."""
        return True if self.passed == "none" else bool(self.strict)

    @property
    def assigns(self) -> bool:
        """Whether entries replace Parameters; by default they are copied into them."""
        return False if self.passed in ("none", "strict") else bool(self.assign)

    @property
    def keys(self) -> tuple[tuple[str, str], ...]:
        """The slots that the checkpoint has, in its own order, and their names there."""
        order = KEYS if self.order == "kept" else KEYS[::-1]
        said = {"deep.0.weight": "deep.0.kernel"} if self.renamed else {}
        return tuple((slot, said.get(slot, slot)) for slot in order if slot not in self.missing)

    @property
    def call(self) -> tuple[tuple[Any, ...], dict[str, Any], bool]:
        """What load_state_dict is given beside the checkpoint, and whether gradients are off."""
        keywords = {"strict": self.strict, "assign": self.assign} if self.passed == "keyword" else {}
        count = {"all": 2, "strict": 1}.get(self.passed, 0)
        return (self.strict, self.assign)[:count], keywords, self.no_grad

    @property
    def refused(self) -> bool:
        """Whether loading must raise."""
        misshapen = self.edit in MISSHAPEN and self.edited not in self.missing
        return misshapen or (self.is_strict and not self.forgives and bool(self.missing or self.extra))

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of each slot."""
        table = (3, self.columns)
        vectors = {"deep.0.bias": (3,), "mean": (2,), "count": (), "scratch": (1,)}
        return {"words.weight": table, "deep.0.weight": table, **vectors}

    @property
    def edited_dtype(self) -> str:
        """The dtype of the entry that is edited: a wider one holds numbers that the slot does not."""
        return {"double": "float64", "single": "float32"}.get(self.edit, self.dtype)

    def start(self, slot: str) -> Floats:
        """What a slot holds before."""
        if slot == "words.weight" or (slot == "deep.0.weight" and self.tied):
            return np.arange(1.0, 1 + 3 * self.columns).reshape(3, self.columns)
        return {
            "deep.0.bias": np.arange(1.0, 4.0),
            "mean": np.zeros(2),
            "count": np.array(3.0),
            "scratch": np.array([5.0]),
        }[slot]

    def entry(self, slot: str) -> Floats:
        """What the checkpoint holds before its edit: numbers that float64 and float32 hold, but not bfloat16, which rounds some
        up and some down."""
        if slot == "count":
            return np.array(11.0)
        numbers = np.arange(1.0, 1 + math.prod(self.shapes[slot])) * (-1.0) ** KEYS.index(slot) + 11 * 2.0**-9
        stored = FORMATS[self.edited_dtype if slot == self.edited else self.dtype]
        return stored.decode(stored.encode(numbers)).reshape(self.shapes[slot])

    def after(self, slot: str) -> tuple[str, Floats]:
        """What a slot should hold afterwards: its dtype and values; not for ``deep.0.weight``, which is drawn."""
        own = {"count": "int64", "scratch": "float32"}.get(slot, self.dtype)
        if self.tied and not self.assigns and slot in SLOTS[:2]:
            # One Parameter, into which each of its names is copied: the last one counts.
            slot = next((name for name in SLOTS[1::-1] if name not in self.missing), slot)
        if slot in self.missing or slot == "scratch":
            return own, self.start(slot)
        values, dtype = self.entry(slot), own
        if slot == self.edited and slot != "count":
            dtype = CASTS.get(self.edit, own)
            if self.edit == "expanded":
                values = np.broadcast_to(values.flat[0], values.shape)
        if slot == "count":
            return own, values
        held = FORMATS[dtype].decode(FORMATS[dtype].encode(values))
        final = dtype if self.assigns else own
        return final, FORMATS[final].decode(FORMATS[final].encode(held))

    def strides(self, slot: str) -> tuple[int, ...] | None:
        """The strides afterwards, in elements; None where they are not known."""
        if slot in self.missing or not self.assigns or slot == "scratch":
            own = slot == "words.weight" or (self.tied and slot == "deep.0.weight")
            return view_of(self.shapes[slot], self.layout).strides if own else None
        if slot != self.edited:
            return None
        if len(self.shapes[slot]) < 2 or self.columns == 1:  # whose only column has any stride
            return None
        return {"turned": (1, 3), "expanded": (0, 0)}.get(self.edit)

    @cached_property
    def replaced(self) -> list[bool]:
        """Whether each slot gets another object."""
        return [self.assigns and slot in KEYS and slot not in self.missing for slot in SLOTS]

    def trains(self, slot: str) -> bool:
        """Whether a slot requires grad: as before, whatever the checkpoint's entry does."""
        words = slot == "words.weight" or (self.tied and slot == "deep.0.weight")
        frozen = self.prior == "frozen" or (self.prior == "half_frozen" and words)
        return SLOTS.index(slot) < 3 and not frozen

    def inputs(self) -> dict[str, Input]:
        """The tensors to feed: the weight, the bias and the checkpoint's."""
        fmt = FORMATS[self.dtype]
        fed = {
            "weight": Input(fmt.encode(self.start("words.weight")), self.dtype, self.layout),
            "bias": Input(fmt.encode(self.start("deep.0.bias")), self.dtype),
        }
        for slot, name in FED.items():
            dtype = self.edited_dtype if slot == self.edited else self.dtype
            stored = self.stored if slot in SLOTS[:2] else "contiguous"
            fed[name] = Input(FORMATS[dtype].encode(self.entry(slot)), dtype, stored)
        return fed

    def facts(self) -> dict[str, Any]:
        """The axes and: refused, assigns, partial (something is missing), surplus."""
        return {
            **{name: value for name, value in self.axes.items() if name not in ("missing", "extra", "note")},
            "refused": self.refused,
            "assigns": self.assigns,
            "is_strict": self.is_strict,
            "partial": bool(self.missing),
            "surplus": bool(self.extra),
            "noted": bool(self.note),
            "falsy_note": bool(self.note) and not self.note[0],
        }


def plan(case: LoadStateDictCase) -> Plan:
    options = {
        "edit": EDITS[case.edit],
        "prior": PRIORS[case.prior],
        "checkpoint": {"keys": case.keys, "edited": case.edited, "extra": case.extra, "container": case.container},
        "call": case.call,
        "tied": case.tied,
        "note": case.note,
        "forgives": case.forgives,
    }
    return Plan(restored, case.inputs(), options)


def repair(case: LoadStateDictCase) -> LoadStateDictCase:
    """The case with an edit that its slot can have."""
    changes: dict[str, Any] = {}
    if case.layout == "expanded":
        changes["layout"] = "column_slice"
    if case.edited == "mean" and case.edit in ("parameter", "frozen_parameter", "in_a_graph"):
        changes["edit"] = "fits"  # a Parameter in a buffer's place becomes a Parameter
    elif case.edited == "count" and case.edit not in ("listed", "absent"):
        changes["edit"] = "fits"  # a vector of one number is loaded into a scalar, as old checkpoints have it
    elif case.edit == "in_a_graph":
        changes["no_grad"] = False
    return case.but(**changes)


MISSING = ((), *((key,) for key in KEYS), ("words.weight", "deep.0.bias"), KEYS)
SURPLUS = ((), *((key,) for key in EXTRAS), ("extra", "words.extra"))
NOTES: tuple[tuple[Any, ...], ...] = ((), (0,), (None,), (False,), ("",), ({},), ([],), ({"epoch": 0},))
AXES: dict[str, tuple[Any, ...]] = {
    "edited": KEYS,
    "edit": tuple(EDITS),
    "missing": MISSING,
    "extra": (*SURPLUS, NEIGHBOURS),
    "strict": (True, False, 0, 1),
    "assign": (False, True, 0, 1),
    "passed": ("keyword", "all", "strict", "none"),
    "prior": tuple(PRIORS),
    "container": ("dict", "ordered", "state"),
    "order": ("kept", "reversed"),
    "no_grad": (False, True),
    "tied": (False, True),
    "forgives": (False, True),
    "renamed": (False, True),
    "note": NOTES,
    "dtype": tuple(FORMATS),
    "layout": LAYOUTS,
    "columns": (2, 3, 1),
}


def scope() -> Iterator[LoadStateDictCase]:
    """Every edit of every entry, everything missing, everything unknown; strict or not, copied or assigned."""
    return map(repair, _every())


def _every() -> Iterator[LoadStateDictCase]:
    both, priors = (True, False), tuple(PRIORS)
    for seed, (key, edit, strict, assign) in enumerate(itertools.product(KEYS, EDITS, both, both)):
        yield LoadStateDictCase(
            key, edit, strict=strict, assign=assign, prior=priors[seed % 5], passed=("keyword", "all")[seed % 2],
            tied=seed % 3 == 0, columns=2 + seed % 2, note=NOTES[seed % len(NOTES)], dtype=tuple(FORMATS)[seed % 7 % 4],
            layout=("contiguous", "transposed", "offset")[seed % 5 % 3], seed=seed,
        )  # fmt: skip
    changed = itertools.product(MISSING, SURPLUS, both, both)
    alike = itertools.product([()], [(extra,) for extra in NEIGHBOURS], both, both)
    hooked = itertools.product(MISSING, SURPLUS[:3], both, both)
    for name, kinds in (("changed", changed), ("alike", alike), ("hooked", hooked)):
        for seed, (missing, extra, strict, assign) in enumerate(kinds):
            case = LoadStateDictCase(missing=missing, extra=extra, strict=strict, assign=assign, tied=bool(seed % 2))
            if name == "hooked":
                yield case.but(forgives=True)
            else:
                yield case.but(seed=seed, prior=priors[seed % 5] if name == "changed" else "nothing")
    for container, assign, tied, edit in itertools.product(AXES["container"], both, both, ("fits", "double")):
        case = LoadStateDictCase("deep.0.weight", edit, assign=assign, container=container)
        yield case.but(tied=tied, renamed=True)
    layouts = ("transposed", "strided", "column_slice")
    laid = itertools.product(SLOTS[:2], ("fits", "single", "double"), layouts, FORMATS)
    for seed, (key, edit, stored, dtype) in enumerate(laid):
        case = LoadStateDictCase(key, edit, assign=seed % 5 == 4, dtype=dtype, columns=2 + seed % 2, seed=seed)
        yield case.but(stored=stored)


def draw(draws: stream.Stream) -> LoadStateDictCase:
    """A random case: each axis at its first value half of the time."""
    chosen = {name: draws.choice(values) if draws.chance(2) else values[0] for name, values in AXES.items()}
    return repair(LoadStateDictCase(**chosen, seed=draws.between(0, 255)))


SPACE = Space(LoadStateDictCase, AXES, repair, scope, flags=("edit", "assign", "prior"), draw=draw, strength=2)
