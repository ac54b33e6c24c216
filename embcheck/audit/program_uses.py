"""Follows a weight through a forward pass, for the programs about values; see `embcheck.audit.program`."""

from __future__ import annotations

from typing import Any

import torch

from embcheck.audit.program import wave


class Uses(torch.overrides.TorchFunctionMode):
    """Follows one weight: its lookups and products, through whatever view of it, and what reads it otherwise.

    What has the weight's values and no graph (``weight.detach().clone()``) is a use too: it counts as the elements
    that were copied.  With ``step`` what the lookups give is moved by so much.
    """

    def __init__(self, weight: Any, step: float = 0.0) -> None:
        super().__init__()
        self.weight, self.step = weight, step
        self.lookups: list[dict[str, Any]] = []
        self.products: list[dict[str, Any]] = []
        self.others: list[str] = []
        self.length = weight.untyped_storage().nbytes() // weight.element_size()
        #: By address: a tensor that keeps the memory, and of which element of the weight's memory each is the value.
        self.memories: dict[int, tuple[Any, torch.Tensor]] = {
            weight.untyped_storage().data_ptr(): (weight, torch.arange(self.length))
        }

    def elements(self, thing: Any) -> torch.Tensor | None:
        """Which elements of the weight's memory a tensor holds; None if it holds none."""
        if not isinstance(thing, torch.Tensor) or thing.layout != torch.strided or not thing.numel():
            return None
        kept, numbers = self.memories.get(thing.untyped_storage().data_ptr(), (None, None))
        if kept is None or numbers is None or kept.dtype != thing.dtype:
            return None
        return numbers.as_strided(thing.size(), thing.stride(), thing.storage_offset())

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        given = [*args, *kwargs.values()]
        flat = [(place, one) for place, thing in enumerate(given)
                for one in (thing if isinstance(thing, (list, tuple)) else (thing,))]  # fmt: skip
        read = [(place, one, self.elements(one)) for place, one in flat]
        read = [(place, one, held) for place, one, held in read if held is not None]
        if not read or not isinstance(out, torch.Tensor) or self.elements(out) is not None:
            return out
        place, one, held = read[0]
        if len(read) > 1 or held is None or one.dim() != 2:
            self.read_otherwise(func, out)
            return out
        name = getattr(func, "__name__", str(func))
        if (ids := rows_asked(name, place, given)) is not None:
            self.lookups.append(use := {"ids": ids.detach() % one.shape[0], "held": held})
            if self.step:
                out = out + self.step * wave(out, 2.3)
        elif name in ("linear", "matmul", "__matmul__", "mm") and place == 1 and out.requires_grad:
            self.products.append(use := {"x": given[0].detach().clone(), "rows": name == "linear", "held": held})
        elif not out.requires_grad and out.shape == one.shape and torch.equal(out.to(one.dtype), one.detach()):
            self.keep(out, held)
            return out
        else:
            self.read_otherwise(func, out)
            return out
        if out.requires_grad:
            out.register_hook(lambda grad: use.__setitem__("grad", grad.detach().clone()))
        return out

    def read_otherwise(self, func: Any, out: torch.Tensor) -> None:
        """Remembers an operator that is no lookup and no product, if a gradient comes through it."""
        if out.requires_grad:
            self.others.append(getattr(func, "__name__", str(func)))

    def keep(self, copy: torch.Tensor, held: torch.Tensor) -> None:
        """Remembers a copy without a graph, and of which elements."""
        numbers = torch.zeros(copy.untyped_storage().nbytes() // copy.element_size(), dtype=torch.long)
        numbers.as_strided(copy.size(), copy.stride(), copy.storage_offset()).copy_(held)
        self.memories[copy.untyped_storage().data_ptr()] = copy, numbers

    def row_asked(self, row: int) -> bool:
        """Whether a lookup asked for a row of the weight."""
        mine = numbers_of(self.weight)[row]
        return any(bool(torch.isin(use["held"][use["ids"].reshape(-1)], mine).any()) for use in self.lookups)

    def summed(self, padding: int | None) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """What all uses give the weight, without the padding row's lookups; the sum of absolute values; the terms."""
        total, size, count = (torch.zeros(self.length, dtype=torch.float64) for _ in range(3))
        fixed = torch.zeros(0, dtype=torch.long) if padding is None else numbers_of(self.weight)[padding]
        for use in self.lookups:
            if (grad := use.get("grad")) is None:
                continue
            asked = use["held"][use["ids"].reshape(-1)]
            rows = grad.double().reshape(asked.shape) * ~torch.isin(asked, fixed)
            for sums, given in ((total, rows), (size, rows.abs()), (count, torch.ones_like(rows))):
                sums.index_add_(0, asked.reshape(-1), given.reshape(-1))
        for use in self.products:
            if (grad := use.get("grad")) is None:
                continue
            x, y = use["x"].double().reshape(-1, use["x"].shape[-1]), grad.double().reshape(-1, grad.shape[-1])
            a, b = (y, x) if use["rows"] else (x, y)
            for sums, given in ((total, a.T @ b), (size, a.abs().T @ b.abs()), (count, 0 * (a.T @ b) + len(x))):
                sums.index_add_(0, use["held"].reshape(-1), given.reshape(-1))
        place = self.weight.size(), self.weight.stride(), self.weight.storage_offset()
        return total.as_strided(*place), size.as_strided(*place), count.as_strided(*place)


def numbers_of(weight: Any) -> torch.Tensor:
    """The number of each element in the weight's memory."""
    length = weight.untyped_storage().nbytes() // weight.element_size()
    return torch.arange(length).as_strided(weight.size(), weight.stride(), weight.storage_offset())


def rows_asked(name: str, place: int, given: list[Any]) -> torch.Tensor | None:
    """The ids of a lookup in whatever spelling; None if the operator is none."""
    if name == "embedding" and place == 1:
        ids = given[0]
    elif name == "__getitem__" and place == 0:
        ids = given[1]
    elif name == "index_select" and place == 0 and given[1] == 0:
        ids = given[2]
    else:
        return None
    whole = isinstance(ids, torch.Tensor) and ids.dtype in (torch.int8, torch.int16, torch.int32, torch.int64)
    return ids.long() if whole else None
