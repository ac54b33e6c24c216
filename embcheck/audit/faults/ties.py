"""Faults of ties, copies and casts."""

from __future__ import annotations

import copy
from typing import Any

import torch

from embcheck.audit.specimen import Config, Specimen, Tensor, Untied, planted


@planted("tie is missing", method="tie_weights")
def head_is_a_copy(self: Specimen) -> None:
    """The head gets a copy of the table."""
    self.head.weight = torch.nn.Parameter(self.table.weight.detach().clone())


@planted("two Parameters over one memory", method="tie_weights")
def head_shares_data(self: Specimen) -> None:
    """The head's Parameter is another over the table's memory."""
    self.head.weight = torch.nn.Parameter(self.table.weight.data)


@planted("two Parameters over one memory", method="tie_weights")
def head_data_assigned(self: Specimen) -> None:
    """The tie is made by assigning .data."""
    self.head.weight.data = self.table.weight.data


@planted("tie is undeclared", method="tie_weights", base=Untied)
def tied_against_its_configuration(self: Specimen) -> None:
    """Table and head are one although the configuration says untied."""
    self.head.weight = self.table.weight


@planted("tie is missing", method="tie_weights")
def never_tied(self: Specimen) -> None:
    """The configuration says tied, and nobody does it."""


@planted("not among the parameters")
class TableInAList(Untied):
    """The table is kept in a plain list, where no module finds it."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.tables = [self.table]
        del self.table

    def look_up(self, input_ids: Tensor) -> Tensor:
        rows: Tensor = self.tables[0](input_ids)
        return rows

    def get_input_embeddings(self) -> Any:
        return self.tables[0]


@planted("listed twice", method="parameters")
def listed_twice(self: Specimen, recurse: bool = True) -> Any:
    """parameters() lists table and head although they are one."""
    yield from (p for module in (self.table, self.norm, self.mix, self.head) for p in module.parameters())


@planted("alias is lost", method="__deepcopy__")
def deep_copy_unties(self: Specimen, memo: dict[int, Any]) -> Specimen:
    """A deep copy copies table and head apart."""
    other = type(self)(copy.deepcopy(self.config))
    other.load_state_dict(self.state_dict())
    other.head.weight = torch.nn.Parameter(other.head.weight.detach().clone())
    return other.eval()


@planted("memory is shared", method="__deepcopy__")
def deep_copy_shares(self: Specimen, memo: dict[int, Any]) -> Specimen:
    """A deep copy keeps the original's table."""
    other = type(self)(copy.deepcopy(self.config))
    other.load_state_dict(self.state_dict())
    other.table.weight = other.head.weight = self.table.weight
    return other.eval()


class _Product:
    """Holds a weight as a copy of the model does not see it."""

    def __init__(self, weight: Tensor) -> None:
        self.weight = weight

    def __deepcopy__(self, memo: dict[int, Any]) -> _Product:
        return self

    def __call__(self, hidden: Tensor) -> Tensor:
        return hidden @ self.weight.T


@planted("copy does not follow", "original moves")
class HeadHoldsTheTable(Specimen):
    """The head's product is a closure over the table: that of a copy is the original's."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.product = _Product(self.table.weight)

    def logits(self, hidden: Tensor) -> Tensor:
        return self.product(hidden)


@planted("alias is lost", method="__setstate__")
def pickle_unties(self: Specimen, state: dict[str, Any]) -> None:
    """Unpickling gives the head a Parameter of its own."""
    torch.nn.Module.__setstate__(self, state)
    self.head.weight = torch.nn.Parameter(self.head.weight.detach().clone())


@planted("cast is partial", "alias is lost", method="_apply")
def cast_skips_the_head(self: Specimen, fn: Any, recurse: bool = True) -> Any:
    """A cast leaves the head alone."""
    rest: Any = (self.norm, self.mix)
    for module in rest:
        module._apply(fn)
    self.table.weight = torch.nn.Parameter(fn(self.table.weight.detach()))
    return self
