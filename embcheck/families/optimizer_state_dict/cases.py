"""A training that is resumed, as a case: which optimizer, how far it is, how its state is read, carried and loaded."""

from __future__ import annotations

import math
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

import numpy as np

from embcheck.core import stream
from embcheck.core.axes import Axes, Input
from embcheck.core.format import FORMATS
from embcheck.families.tied_training.optimizers import KINDS

#: The names of the tied weight in each tie, in the order in which the model lists them.
NAMES: dict[str, tuple[str, ...]] = {
    "head_takes_embedding": ("embedding.weight", "head.weight"),
    "embedding_takes_head": ("head.weight", "embedding.weight"),
    "nested": ("encoder.1.words.weight", "decoder.1.weight"),
    "three_way": ("source.weight", "target.weight", "head.weight"),
    "same_module_twice": ("source.weight", "target.weight", "head.weight"),
    "tied_again": ("0.weight", "1.weight"),
}
#: The groups of members; 0 is the tied weight, 1 the other one.
GROUPS: dict[str, tuple[tuple[int, ...], ...]] = {
    "pair": ((0, 1),),
    "alone": ((0,),),
    "reversed": ((1, 0),),
    "two_groups": ((1,), (0,)),
    "empty_last": ((0, 1), ()),
    "empty_first": ((), (0, 1)),
    "empty_between": ((1,), (), (0,)),
}
#: Members that are frozen while the state is read and loaded; those that had no gradient before.
FROZEN = {"none": (), "tied": (0,), "side": (1,)}
#: The rates of groups.
RATES = (0.5, 0.125, 0.25)
#: Flags with which an optimizer keeps more than it must.
RICH: dict[str, tuple[tuple[str, Any], ...]] = {
    "SGD": (("momentum", 0.5), ("dampening", 0.5)),
    "Adam": (("amsgrad", True), ("betas", (0.5, 0.75))),
    "AdamW": (("amsgrad", True), ("betas", (0.5, 0.75))),
    "Adagrad": (("lr_decay", 0.5), ("initial_accumulator_value", 0.25)),
    "RMSprop": (("momentum", 0.5), ("centered", True)),
    "NAdam": (("weight_decay", 0.25), ("momentum_decay", 0.5)),
    "RAdam": (("weight_decay", 0.25), ("betas", (0.5, 0.75))),
    "Adamax": (("betas", (0.5, 0.75)),),
    "Adadelta": (("rho", 0.5), ("weight_decay", 0.25)),
    "ASGD": (("t0", 1), ("lambd", 0.25)),
    "Rprop": (("etas", (0.25, 1.5)),),
    "Adafactor": (("beta2_decay", -0.5), ("weight_decay", 0.25)),
    "Muon": (("momentum", 0.5), ("nesterov", False)),
    "LBFGS": (("history_size", 2), ("max_iter", 2)),
    "SparseAdam": (("betas", (0.5, 0.75)),),
}
#: Routes through torch.distributed.checkpoint.state_dict, by the Parameters' names.
BY_NAME = ("named", "flat", "whole")


class _ResumptionAxes(NamedTuple):
    """The axes, simplest value first."""

    optimizer: str = "Adam"
    route: str = "plain"
    #: how a state goes from one to the other
    carried: str = "copied"
    #: steps before the state is read; two come after
    steps: int = 1
    tie: str = "head_takes_embedding"
    groups: str = "pair"
    frozen: str = "none"
    #: whose first gradient comes after the state was read
    idle: str = "none"
    #: whether there are gradients while the state is read
    graded: bool = False
    #: whether the one who loads has taken a step before
    warm: bool = False
    #: whether the one who loads lists its parameters and groups in another order
    turned: bool = False
    rich: bool = True
    #: foreach or fused: of the one who gives its state, and of the one who loads it
    path: str = ""
    loader: str = ""
    scaled: bool = False
    #: whether the learning rate is a tensor
    tensor_hyperparameters: bool = False
    seed: int = 0


class OptimizerStateDictCase(Axes, _ResumptionAxes):  # type: ignore[misc]
    """An optimizer of a tied model and another matrix, whose state another optimizer goes on with."""

    @property
    def by_name(self) -> bool:
        """Whether parameters are told apart by their names, not by their places."""
        return self.route in BY_NAME

    @cached_property
    def members(self) -> tuple[int, ...]:
        """The members that the optimizer has, in the order of its groups."""
        return tuple(m for names in GROUPS[self.groups] for m in names)

    @cached_property
    def names(self) -> tuple[str, str]:
        """The members' names; the tied weight's is its first one."""
        return NAMES[self.tie][0], "side.weight"

    @cached_property
    def flags(self) -> dict[str, Any]:
        """What the giver is built with beside the rates."""
        flags = dict(RICH[self.optimizer]) if self.rich else {}
        if self.optimizer == "LBFGS":
            flags["max_iter"] = 2
        return flags | ({self.path: True} if self.path else {})

    @cached_property
    def own(self) -> dict[str, Any]:
        """What the one who loads is built with: options come from the state; a flattened one has what this one keeps."""
        flags = {name: value for name, value in self.flags.items() if name != self.path} if self.route == "flat" else {}
        return flags | ({self.loader: True} if self.loader else {})

    @property
    def keeps(self) -> bool:
        """Whether the optimizer has any state after a step."""
        return self.optimizer != "SGD" or self.rich

    def stateful(self, member: int) -> bool:
        """Whether the giver has a state of a member when it is read: once it had a gradient; of Adagrad at once."""
        if member not in self.members or not self.keeps:
            return False
        if self.optimizer == "LBFGS":
            return self.steps > 0 and member == self.members[0]
        return self.optimizer == "Adagrad" or (self.steps > 0 and member not in FROZEN[self.idle])

    @cached_property
    def entries(self) -> tuple[int, ...]:
        """The members of which the giver has a state."""
        return tuple(m for m in sorted(self.members) if self.stateful(m))

    @property
    def blank(self) -> bool:
        """Whether there is neither a state nor a gradient, so that reading by name takes a step."""
        return self.by_name and not self.graded and not self.entries

    @property
    def lacking(self) -> bool:
        """Whether a parameter that requires grad has no state, of which strict loading by name would complain."""
        frozen = FROZEN[self.frozen]
        return self.keeps and any(not self.stateful(m) and m not in frozen for m in self.members)

    def rate(self, member: int) -> float:
        """The learning rate of a member's group."""
        return RATES[next(place for place, names in enumerate(GROUPS[self.groups]) if member in names)]

    def inputs(self) -> dict[str, Input]:
        """The tensors that are fed: small integers."""
        shapes = {
            "weight": (3, 2),
            "side": (2, 2),
            "pulls": (self.steps + 3, 3, 2),
            "side_pulls": (self.steps + 3, 2, 2),
        }
        return {word: _small(word, self.seed % 8, shape) for word, shape in shapes.items()}

    def facts(self) -> dict[str, Any]:
        """The axes and: by_name, keeps, fresh, blank (there is neither a state nor a gradient: reading by name takes a
        step), started (loading does), packed (there is a state to pack), lacking, frozen_state (a frozen parameter has a
        state), hollow (an empty group is not the last), several_groups, with_empty (there is one), changes_path."""
        frozen, blank = FROZEN[self.frozen], self.blank
        return {
            **self.axes,
            "by_name": self.by_name,
            "keeps": self.keeps,
            "fresh": self.steps == 0,
            "blank": blank,
            "started": blank or (self.by_name and self.optimizer != "Adagrad" and not (self.warm and self.keeps)),
            "packed": bool(self.entries) or (blank and self.keeps),
            "handed_state": self.carried == "handed" and bool(self.entries or (blank and self.keeps)),
            "lacking": self.lacking and not blank,
            "several_groups": len(GROUPS[self.groups]) > 1,
            "frozen_state": any(m in self.entries for m in frozen),
            "frozen_one": bool(frozen),
            "hollow": self.groups in ("empty_first", "empty_between"),
            "with_empty": self.groups.startswith("empty"),
            "several_names": len(NAMES[self.tie]) > 2,
            "changes_path": self.path != self.loader,
            "counts": KINDS[self.optimizer].counts,
        }


@lru_cache(maxsize=256)
def _small(word: str, variant: int, shape: tuple[int, ...]) -> Input:
    words = stream.words(stream.derive("resumption", word, variant), math.prod(shape))
    sign = np.where(words >> np.uint64(63), -1.0, 1.0)
    values = (sign * (1.0 + ((words >> np.uint64(8)) % np.uint64(3)))).reshape(shape)
    return Input(FORMATS["float32"].encode(values), "float32")
