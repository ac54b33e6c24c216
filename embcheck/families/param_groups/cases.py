"""Several parameters with one optimizer as a case: their shapes, dtypes and groups, and the steps that are due."""

import itertools
import math
from collections.abc import Callable
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from embcheck.core.axes import Axes, Input
from embcheck.core.bound import Rounded
from embcheck.core.format import FORMATS, Floats, Format
from embcheck.families.param_groups import flat_memory
from embcheck.families.param_groups.mixes import MIXES, PARTS, Member, groups_of
from embcheck.families.tied_training import oracle
from embcheck.families.tied_training.algorithms import FORMULAS
from embcheck.families.tied_training.data import whole
from embcheck.families.tied_training.exact import exact_sgd
from embcheck.families.tied_training.optimizers import KINDS

#: A member's numbers are fed, and its steps computed of them.
_kept_whole = lru_cache(maxsize=256)(whole)
#: How gradients lie that lie otherwise than their parameters.
LAID = ("", "strided", "rows", "expanded")
#: What float16 holds three times and bfloat16 does not.
_FINE_HALF = 1 + 2.0**-8
#: How the members are listed: which of them make a group, one of them perhaps after the first step.
GROUPINGS = ("together", "each", "late", "reversed")
#: Whether a member, of which there is a last one, lacks a gradient in a step.
_LACKS: dict[str, Callable[[int, int, int], bool]] = {
    "none": lambda member, step, last: False,
    "first_never": lambda member, step, last: member == 0,
    "first_at_first": lambda member, step, last: member == 0 and step == 0,
    "last_once": lambda member, step, last: member == last and step == 1,
    "by_turns": lambda member, step, last: (member + step) % 2 == 1,
}
ABSENCES = tuple(_LACKS)
#: All that a first step depends on beside the gradient: how much of it a memory takes, and with what that begins.
BEGINNINGS = frozenset(
    {"betas", "momentum", "dampening", "rho", "weight_decay", "momentum_decay", "lr_decay", "initial_accumulator_value",
     "amsgrad", "centered", "etas", "step_sizes", "beta2_decay"}
)  # fmt: skip


class ParamGroupsCase(Axes):
    """``steps`` steps of an optimizer on the parameters of a mix."""

    optimizer: str = "SGD"
    mix: str = "pair"
    grouping: str = "together"
    absence: str = "none"
    #: which path is asked for: foreach, fused, or none
    path: str = ""
    #: pairs of name and value, and those of one group
    flags: tuple[tuple[str, Any], ...] = ()
    own: tuple[tuple[str, Any], ...] = ()
    interrupt: str = "nothing"
    steps: int = 3
    #: gradients are zeroed in place and added to, not made anew
    held: bool = False
    frozen: bool = False
    closure: bool = False
    #: gradients so small that what keeps a division from zero shows
    faint: bool = False
    #: matrices' gradients lie in the other order of axes
    crosswise: bool = False
    #: gradients of matrices name the rows that they have, for odd seeds twice
    sparse: bool = False
    #: torch's default device or dtype while the optimizer is made and steps, and from which step on
    setting: str = "nothing"
    since: int = 0
    seed: int = 0
    #: how gradients lie: as their parameters, with gaps between elements or rows, or one number for all of a row
    laid: str = ""
    #: the step before which what interrupts comes
    at: int = 1

    @property
    def members(self) -> tuple[Member, ...]:
        return tuple(itertools.chain.from_iterable(groups_of(self.mix)))

    @property
    def ranks(self) -> set[int]:
        """How many axes the parameters have, if all have elements; else none."""
        return set() if any(0 in each.shape for each in self.members) else {len(each.shape) for each in self.members}

    @property
    def differentiable(self) -> bool:
        """Whether steps can be differentiated, which no parameter that requires a gradient may take in place."""
        return bool(self.asked.get("differentiable"))

    @property
    def compared(self) -> bool:
        """Whether each parameter is stepped by an optimizer of its own, too, which takes as long as all else: one seed of three.

        Not where another path evaluates in another order.
        """
        return self.seed % 3 == 0 and self.interrupt != "path" and not self._one_by_one

    @property
    def _one_by_one(self) -> bool:
        """Whether foreach steps a dense gradient one by one, for a sparse one beside it, and together where it is alone."""
        foreach = self.path == "foreach" or bool(self.asked.get("foreach"))
        return foreach and self.sparse and len({len(each.shape) < 2 for each in self.members}) > 1

    @cached_property
    def asked(self) -> dict[str, Any]:
        """The flags that are passed to the constructor; an eps that half precision can hold."""
        flags = {"lr": 0.5, **dict(self.flags)} if self.optimizer != "Adadelta" else dict(self.flags)
        flags |= {self.path: True} if self.path else {}
        narrow = self.optimizer != "Adafactor" and any(member.dtype == "float16" for member in self.members)
        return {**({"eps": 2.0**-6} if narrow and "eps" in KINDS[self.optimizer].flags else {}), **flags}

    @cached_property
    def groups(self) -> tuple[tuple[tuple[int, ...], dict[str, Any]], ...]:
        """The members of each group and its own options."""
        everyone = tuple(range(len(self.members)))
        if self.mix not in MIXES:
            ends = itertools.accumulate(map(len, groups_of(self.mix)), initial=0)
            parts = [everyone[start:end] for start, end in itertools.pairwise(ends)]
        else:
            half = max(1, len(everyone) // 2)
            grouped: dict[str, list[tuple[int, ...]]] = {
                "together": [everyone],
                "each": [(m,) for m in everyone],
                "late": [everyone[:half], everyone[half:]],
                "reversed": [everyone[::-1]],
            }
            parts = list(filter(None, grouped[self.grouping]))
        return tuple((part, dict(self.own) if part is parts[-1] else {}) for part in parts)

    @property
    def late(self) -> int:
        """How many groups there are from the start."""
        return 1 if self.grouping == "late" and self.mix in MIXES else len(self.groups)

    def options(self, member: int) -> dict[str, Any]:
        """The options under which a member is stepped."""
        own = next(own for names, own in self.groups if member in names)
        return {**KINDS[self.optimizer].defaults, **self.asked, **own}

    @cached_property
    def given(self) -> tuple[tuple[bool, ...], ...]:
        """Whether there is a gradient, by step and member."""
        count, lacks = len(self.members), _LACKS[self.absence]
        return tuple(tuple(not lacks(m, k, count - 1) for m in range(count)) for k in range(self.steps))

    def joins(self, member: int) -> int:
        """The step from which on a member is stepped."""
        place = next(k for k, (names, _) in enumerate(self.groups) if member in names)
        return 1 if place >= self.late else 0

    def weight(self, member: int) -> Floats:
        """The values at first: integers ±1…±3; for odd seeds times what no narrower format holds.

        For even ones weight decay cancels some gradients.
        """
        fmt = self.format(member)
        fine = _FINE_HALF if fmt.name == "float16" else fmt.fine
        return (fine if self.seed % 2 else 1.0) * self._small("weight", member, self.members[member].parts, 3)

    def gradient(self, member: int) -> Floats:
        """The gradients, shape ``(steps, …)``: ±1, ±2, ±4, of every size in some step; a 128th of it if faint. Sparse ones name a
        row of zeros in every second step: its state decays all the same.  Every other last element has none but zeros: what
        does not move shows what is off by the least."""
        words = self._small("gradient", member, (self.steps, *self.members[member].parts), 3)
        spread: Floats = np.sign(words) * 2.0 ** (np.abs(words) - (8 if self.faint else 1))
        if (self.seed // 2 + member) % 2 and spread[0].size > 1:
            spread.reshape(self.steps, -1)[:, -1] = 0.0
        if self.laid == "expanded" and spread.ndim > 1:
            spread[:] = spread[..., :1]
        if self.sparse and spread.ndim > 2:
            spread[1::2, :1] = 0.0
        return spread

    def _stands(self, member: int) -> bool:
        """Whether a row or a column of a parameter, or an element of a vector, has no gradient but zeros."""
        moved = np.atleast_1d(self.gradient(member).any(0))
        lines = (moved.any(-1), moved.any(-2)) if moved.ndim > 1 else (moved,)
        return bool(moved.size) and not all(each.all() for each in lines)

    def _small(self, name: str, member: int, shape: tuple[int, ...], most: int) -> Floats:
        return _kept_whole(shape, most, "company", name, member, self.seed % 16)

    def format(self, member: int) -> Format:
        dtype = self.members[member].dtype
        return FORMATS[PARTS.get(dtype, dtype)]

    def inputs(self) -> dict[str, Input]:
        """The tensors to feed: a weight for each member, and its gradients."""
        fed = {}
        for m, member in enumerate(self.members):
            for name, values, layout in (
                ("weight", self.weight(m), member.layout),
                ("gradient", self.gradient(m), "contiguous"),
            ):
                stored = self.format(m).encode(values)
                if member.dtype in PARTS:
                    stored = np.ascontiguousarray(stored).view(member.dtype)[..., 0]
                fed[f"{name}{m}"] = Input(stored, member.dtype, layout)
        return fed

    @property
    def half_vector(self) -> bool:
        """Whether one in half precision fills the shortest vector register, of eight numbers."""
        return any(m.dtype in ("float16", "bfloat16") and math.prod(m.shape) >= 8 for m in self.members)

    @property
    def uncoalesced(self) -> bool:
        """Whether sparse gradients name their rows twice; not those of SGD, which adds one piece after the other, and rounds."""
        return self.sparse and self.seed % 2 == 1 and self.optimizer != "SGD"

    @property
    def lie(self) -> str:
        """How gradients lie, by the name that programs have for it."""
        if self.sparse:
            return "uncoalesced" if self.uncoalesced else "sparse"
        return self.laid or "crosswise" * self.crosswise

    @property
    def fused_strides(self) -> bool:
        """Whether a fused step meets a parameter that has gaps or lies otherwise than its gradient."""
        fused = self.path == "fused" and not self.sparse
        return fused and any(0 not in m.shape and not flat_memory.in_place(*m[::2], self.lie) for m in self.members)

    @property
    def fused_strides_differ(self) -> bool:
        """Whether a fused step meets what fused_strides says, or other strides of a gradient of one element or none."""
        fused = self.path == "fused" and not self.sparse
        return self.fused_strides or (
            fused and any(flat_memory.strides_differ(*m[::2], self.lie) for m in self.members)
        )

    def due(self, member: int) -> tuple[Floats, Floats]:
        """The values of a member after each step by the documented algorithm, and their bound; exact, of SGD, if no step rounds."""
        return self._stepped(member, self.weight(member), self.gradient(member))

    def due_of_an_average(self, member: int) -> tuple[Floats, Floats]:
        """The same of gradients that are each 1 − momentum times as large, whose sum is an average."""
        share = 1 - self.options(member)["momentum"]
        return self._stepped(member, self.weight(member), share * self.gradient(member))

    def due_of_flat_memory(self, member: int) -> tuple[Floats, Floats]:
        """The same if parameter and gradient are walked as flat memory, up to as many places as there are elements."""
        shape, _, layout = self.members[member]
        gradients, moved = flat_memory.read_flat(shape, layout, self.lie, self.gradient(member))
        weight = self.weight(member)
        values, bounds = self._stepped(member, weight, gradients)
        return np.where(moved, values, weight), np.where(moved, bounds, 0.0)

    def _stepped(self, member: int, weight: Floats, gradients: Floats) -> tuple[Floats, Floats]:
        flags, fmt, joins = self.options(member), self.format(member), self.joins(member)
        due: list[Rounded | None] = [
            Rounded(gradients[k], fmt) if k >= joins and self.given[k][member] else None for k in range(self.steps)
        ]
        steps = oracle.Steps(flags, weight, due, [float(flags["lr"])] * self.steps, fmt)
        exact = exact_sgd(steps) if self.optimizer == "SGD" else None
        with np.errstate(all="ignore"):
            return exact or oracle.run(FORMULAS[self.optimizer], steps)

    def facts(self) -> dict[str, Any]:
        """largest: how many elements the largest parameter has."""
        firsts = {min((k for k, has in enumerate(self.given) if has[m] and k >= self.joins(m)), default=-1)
                  for names, _ in self.groups for m in names} - {-1}  # fmt: skip
        flags = {
            name: self.asked.get(name) or dict(self.own).get(name)
            for name in ("nesterov", "foreach", "fused", "amsgrad", "momentum", "differentiable", "lr_decay")
        }
        switch = self.asked.get("decoupled_weight_decay", False)
        set_to = {(name, value) for options in (self.asked, dict(self.own)) for name, value in options.items()}
        return {
            **{name: value for name, value in self.axes.items() if name not in ("flags", "own")},
            **flags,
            **{
                name: getattr(self, name)
                for name in ("fused_strides", "fused_strides_differ", "uncoalesced", "half_vector")
            },
            "with_momentum": bool(flags["momentum"]),
            "with_nesterov": bool(flags["nesterov"]),
            "own_decoupled": bool(self.asked.get("weight_decay"))
            and dict(self.own).get("decoupled_weight_decay", switch) != switch,
            "own_accumulator": "initial_accumulator_value" in dict(self.own),
            "state_reloaded": self.interrupt in ("reloaded", "saved", "itself"),
            "not_single": any(member.dtype != "float32" for member in self.members),
            "one_starts_late": len(firsts) > 1,
            "zero_rate": ("lr", 0) in set_to,
            "plain_momentum": ("nesterov", False) in set_to,
            "clamped_average": self.optimizer == "Muon"
            and any(
                options["eps"] >= 1 and options["momentum"] for options in map(self.options, range(len(self.members)))
            ),
            # Asked of the only optimizer that divides by rows and columns, for all gradients are made for it.
            "without_gradient": self.optimizer == "Adafactor" and any(map(self._stands, range(len(self.members)))),
            "in_bfloat16": any(member.dtype == "bfloat16" for member in self.members),
            "all_beginnings": BEGINNINGS & set(KINDS[self.optimizer].flags) <= set(self.asked),
            "several_groups": len(self.groups) > 1,
            "absent": self.absence != "none",
            "default_path": self.interrupt == "path"
            or (self.asked.get("foreach", dict(self.own).get("foreach")) is None and not flags["fused"]),
            "own_option": bool(self.own),
            "falsy_option": any(not value for _, value in self.own),
            "mixed_dtypes": len({member.dtype for member in self.members}) > 1,
            "largest": max(math.prod(member.shape) for member in self.members),
            "scalar": any(member.shape == () for member in self.members),
        }
