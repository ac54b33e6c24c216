"""Programs that follow a weight: which operators of a forward pass read it, and what each gives its gradient.

See `embcheck.audit.program`.
"""

from __future__ import annotations

from typing import Any

import torch

from embcheck.audit.program import memory, wave


class Uses(torch.overrides.TorchFunctionMode):
    """Follows one weight: its lookups and products, through whatever view of it, and what reads it otherwise.

    What has the weight's values and no graph (``weight.detach().clone()``) is a use too: it counts as the elements
    that were copied.  What the ``moved`` of a ``kind`` of uses give, by their numbers, is moved by ``step``.
    """

    def __init__(self, weight: Any, step: float = 0.0, kind: str = "lookups", moved: Any = ()) -> None:
        super().__init__()
        self.weight, self.step, self.kind, self.moved = weight, step, kind, moved
        self.lookups: list[dict[str, Any]] = []
        self.products: list[dict[str, Any]] = []
        self.others: list[dict[str, Any]] = []
        self.length = weight.untyped_storage().nbytes() // weight.element_size()
        #: By address: a tensor that keeps the memory, and of which element of the weight's memory each is the value.
        self.memories: dict[int | None, Any] = {memory(weight): (weight, torch.arange(self.length))}

    def elements(self, thing: Any) -> Any:
        """Which elements of the weight's memory a tensor holds; None if it holds none."""
        if not isinstance(thing, torch.Tensor) or thing.layout != torch.strided or not thing.numel():
            return None
        kept, numbers = self.memories.get(thing.untyped_storage().data_ptr(), (None, None))
        if kept is None or kept.dtype != thing.dtype:
            return None
        return numbers.as_strided(thing.size(), thing.stride(), thing.storage_offset())

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        given = [*args, *kwargs.values()]
        flat = [
            (k, one) for k, thing in enumerate(given) for one in (thing if type(thing) in (list, tuple) else [thing])
        ]
        read = [(place, one, self.elements(one)) for place, one in flat if self.elements(one) is not None]
        if not read or not isinstance(out, torch.Tensor) or self.elements(out) is not None:
            return out
        place, one, held = read[0]
        name, alone = getattr(func, "__name__", str(func)), len(read) == 1 and one.dim() == 2
        if alone and (asked := rows_asked(name, place, given, kwargs)) is not None:
            self.lookups.append(use := {"name": name, "held": held, **asked})
        elif alone and name in ("linear", "matmul", "__matmul__", "mm") and place == 1 and out.requires_grad:
            self.products.append(use := {"x": given[0].detach().clone(), "rows": name == "linear", "held": held})
        elif out.requires_grad:  # no lookup and no product, and a gradient comes through it
            self.others.append(use := {"name": name})
        else:
            if alone and out.shape == one.shape and torch.equal(out.to(one.dtype), one.detach()):
                self.keep(out, held)
            return out
        uses = getattr(self, self.kind)
        if uses and use is uses[-1] and len(uses) - 1 in self.moved:
            out = out + self.step * wave(out, 2.3)
        if out.requires_grad:
            out.register_hook(lambda grad: use.__setitem__("grad", grad.detach().clone()))
        return out

    @property
    def unfollowed(self) -> str:
        """Why what the other operators send can't be told."""
        names = ", ".join(dict.fromkeys(use["name"] for use in self.others))
        return (
            f"the weight is read by {names}, for which there is no oracle" if names else "no operator that is followed"
        )

    def keep(self, copy: torch.Tensor, held: torch.Tensor) -> None:
        """Remembers a copy without a graph, and of which elements."""
        numbers = torch.zeros(copy.untyped_storage().nbytes() // copy.element_size(), dtype=torch.long)
        numbers.as_strided(copy.size(), copy.stride(), copy.storage_offset()).copy_(held)
        self.memories[copy.untyped_storage().data_ptr()] = copy, numbers

    def rows(self, thing: torch.Tensor) -> torch.Tensor:
        """The weight, or what has its shape, as its lookups have it: a row for each token, also of one that is kept transposed."""
        turned = bool(self.lookups) and all(
            torch.equal(use["held"], self.elements(self.weight).T) for use in self.lookups
        )
        return thing.T if turned else thing

    def asked(self, row: int) -> int:
        """How often lookups asked for a row of the table."""
        first = self.rows(self.elements(self.weight))[row, 0]
        return sum(int((use["held"][use["ids"]] == first).sum()) for use in self.lookups)

    def summed(self, padding: int | None, of: Any = None) -> tuple[torch.Tensor, torch.Tensor]:
        """What all uses, or those ``of`` a kind, give the weight's `rows`, without the padding row's lookups; and by how much
        a gradient may be off.

        Each element is a sum of n products: it is off by at most (n + 4) u / (1 - (n + 4) u) of the sum of their absolute
        values, u the unit roundoff of the weight's dtype.
        """
        sums, mine = torch.zeros(3, self.length, dtype=torch.float64), self.rows(self.elements(self.weight))
        fixed = mine[:0] if padding is None else mine[padding]
        for use in [use for use in (self.lookups + self.products if of is None else of) if "grad" in use]:
            held, y = use["held"], use["grad"].double()
            if "ids" in use:
                held = held[use["ids"]]
                given = y.reshape(-1, y.shape[-1])[use["bags"]] * use["factors"][:, None] * ~torch.isin(held, fixed)
                parts = given, given.abs(), torch.ones_like(given)
            else:
                x, y = use["x"].double().reshape(-1, use["x"].shape[-1]), y.reshape(-1, y.shape[-1])
                a, b = (y, x) if use["rows"] else (x, y)
                parts = a.T @ b, a.abs().T @ b.abs(), torch.full_like(a.T @ b, len(x))
            sums.index_add_(1, held.reshape(-1), torch.stack(parts).reshape(3, -1))
        total, size, count = (each[mine] for each in sums)
        kind = torch.finfo(self.weight.dtype)
        share = (count + 4) * kind.eps / 2
        return total, share / (1 - share) * size + kind.tiny * (count + 1)

    def sent_by(self, of: Any, got: torch.Tensor, padding: int | None) -> Any:
        """In which of the weight's `rows` a gradient is just what the uses ``of`` a kind give."""
        total, bound = self.summed(padding, of)
        return ((got.double() - total).abs() <= bound).all(1)


def rows_asked(name: str, place: int, given: list[Any], flags: dict[str, Any]) -> dict[str, Any] | None:
    """What a lookup in whatever spelling, or a sum or mean of lookups, asks for; None if the operator is neither.

    ``ids`` are the tokens, ``bags`` the rows of the output to which each contributes, ``factors`` what its gradient is
    multiplied with.
    """
    spellings = {("embedding", 1): 0, ("__getitem__", 0): 1, ("index_select", 0): 2, ("embedding_bag", 1): 0}
    ids = given[spellings[name, place]] if (name, place) in spellings else None
    if not isinstance(ids, torch.Tensor) or ids.dtype not in (torch.int8, torch.int16, torch.int32, torch.int64):
        return None
    if name == "index_select" and given[1] != 0:
        return None
    tokens = ids.detach().reshape(-1).long() % given[place].shape[0]
    if name == "embedding_bag":
        return bags_asked(ids, tokens, **flags)
    factors = torch.ones(len(tokens), dtype=torch.float64)
    if flags.get("scale_grad_by_freq"):
        factors /= tokens.bincount()[tokens]
    return {"ids": tokens, "bags": torch.arange(len(tokens)), "factors": factors}


def bags_asked(ids: torch.Tensor, tokens: torch.Tensor, offsets: Any, **flags: Any) -> dict[str, Any] | None:
    """What a sum or mean asks for, as `rows_asked` says it; None for a maximum, and for what torch is known to get wrong: a
    division by counts, and tokens behind the last offset."""
    places, factors = torch.arange(len(tokens)), torch.ones(len(tokens), dtype=torch.float64)
    if ids.dim() == 2:
        bags, count = places // max(ids.shape[1], 1), ids.shape[0]
    else:
        bags = torch.searchsorted(offsets.long(), places, right=True) - 1
        count = len(offsets) - flags["include_last_offset"]
    if flags["mode"] == "max" or flags["scale_grad_by_freq"] or bool((bags >= count).any()):
        return None
    if flags["padding_idx"] is not None:
        factors *= tokens != flags["padding_idx"]
    if flags["per_sample_weights"] is not None:
        factors *= flags["per_sample_weights"].detach().reshape(-1)
    if flags["mode"] == "mean":
        sizes = torch.zeros(count, dtype=torch.float64).index_add_(0, bags, factors)
        factors /= sizes[bags].clamp(min=1)
    return {"ids": tokens, "bags": bags, "factors": factors}
