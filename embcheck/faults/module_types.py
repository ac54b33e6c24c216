"""Faults of what a layer is: of which class from_pretrained makes one, and which conversions it accepts."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch

from embcheck.faults.entry import Embedding, Wrong, entry
from embcheck.faults.kernels import Tensor

EmbeddingBag = torch.nn.EmbeddingBag


class OwnTable(torch.nn.Embedding):
    """A subclass."""


class OwnBag(torch.nn.EmbeddingBag):
    """A subclass."""


def made(kind: Any, original: Wrong) -> Wrong:
    """from_pretrained that makes a ``kind``, whatever class is asked."""
    return lambda cls, *given, **flags: original(kind, *given, **flags)


def is_plain(own: Any) -> bool:
    """Whether a subclass makes a layer of another class."""
    return type(own.from_pretrained(torch.ones(3, 2))) is not own


for kind, own, family in ((Embedding, OwnTable, "construction"), (EmbeddingBag, OwnBag, "bag_layer")):
    entry(
        f"pretrained_{own.__name__.lower()}_is_plain", family, f"A subclass's from_pretrained makes a plain {kind.__name__}.",
        kind, "from_pretrained", partial(made, kind), partial(is_plain, own),
    )  # fmt: skip


def _unconverted(kinds: tuple[Any, ...], original: Wrong) -> Wrong:
    """Module.to that ignores dtypes of integers, of layers of these classes."""

    def to(self: Any, *given: Any, **flags: Any) -> Any:
        dtypes = [one.dtype if isinstance(one, Tensor) else one for one in (*given, *flags.values())]
        whole = any(isinstance(one, torch.dtype) and not one.is_floating_point and not one.is_complex for one in dtypes)
        return self if whole and isinstance(self, kinds) else original(self, *given, **flags)

    return to


def converts(kind: Any) -> bool:
    """Whether a conversion to integers is accepted."""
    try:
        kind(3, 2).to(torch.int32)
    except TypeError:
        return False
    return True


for kind, family in ((Embedding, "construction"), (EmbeddingBag, "bag")):
    entry(
        f"{kind.__name__.lower()}_to_integers_is_accepted", family, f"{kind.__name__}.to(torch.int32) does nothing.",
        torch.nn.Module, "to", partial(_unconverted, (kind,)), partial(converts, kind),
    )  # fmt: skip
