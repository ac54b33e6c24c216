"""Faults of ties, copies and casts."""

from __future__ import annotations

import copy
from typing import Any

import torch

from embcheck.audit.specimen import Config, Specimen, Tensor, Untied, planted


@planted("tie is missing")
class HeadIsACopy(Specimen):
    """The head gets a copy of the table."""

    def tie_weights(self) -> None:
        self.head.weight = torch.nn.Parameter(self.table.weight.detach().clone())


@planted("two Parameters over one memory")
class HeadSharesData(Specimen):
    """The head's Parameter is another over the table's memory."""

    def tie_weights(self) -> None:
        self.head.weight = torch.nn.Parameter(self.table.weight.data)


@planted("two Parameters over one memory")
class HeadDataAssigned(Specimen):
    """The tie is made by assigning .data."""

    def tie_weights(self) -> None:
        self.head.weight.data = self.table.weight.data


@planted("tie is undeclared")
class TiedAgainstItsConfiguration(Untied):
    """Table and head are one although the configuration says untied."""

    def tie_weights(self) -> None:
        self.head.weight = self.table.weight


@planted("tie is missing")
class NeverTied(Specimen):
    """The configuration says tied, and nobody does it."""

    def tie_weights(self) -> None:
        pass


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


@planted("listed twice")
class ListedTwice(Specimen):
    """parameters() lists table and head although they are one."""

    def parameters(self, recurse: bool = True) -> Any:
        yield from (p for module in (self.table, self.norm, self.mix, self.head) for p in module.parameters())


@planted("alias is lost")
class DeepCopyUnties(Specimen):
    """A deep copy copies table and head apart."""

    def __deepcopy__(self, memo: dict[int, Any]) -> Specimen:
        other = type(self)(copy.deepcopy(self.config))
        other.load_state_dict(self.state_dict())
        other.head.weight = torch.nn.Parameter(other.head.weight.detach().clone())
        return other.eval()


@planted("memory is shared")
class DeepCopyShares(Specimen):
    """A deep copy keeps the original's table."""

    def __deepcopy__(self, memo: dict[int, Any]) -> Specimen:
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


@planted("alias is lost")
class PickleUnties(Specimen):
    """Unpickling gives the head a Parameter of its own."""

    def __setstate__(self, state: dict[str, Any]) -> None:
        restored: Any = super()
        restored.__setstate__(state)
        self.head.weight = torch.nn.Parameter(self.head.weight.detach().clone())


@planted("cast is partial", "alias is lost")
class CastSkipsTheHead(Specimen):
    """A cast leaves the head alone."""

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        rest: Any = (self.norm, self.mix)
        for module in rest:
            module._apply(fn)
        self.table.weight = torch.nn.Parameter(fn(self.table.weight.detach()))
        return self
