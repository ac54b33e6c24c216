"""Faults of what a layer is: of which class from_pretrained makes one, and which conversions it accepts."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch

from selfcheck.faults.entry import Embedding, Wrong, entry

EmbeddingBag = torch.nn.EmbeddingBag


class OwnTable(torch.nn.Embedding):
    """A subclass."""


class OwnBag(torch.nn.EmbeddingBag):
    """A subclass."""


def made(kind: Any, original: Wrong) -> Wrong:
    """from_pretrained that makes a ``kind``, whatever class is asked."""
    return lambda cls, *given, **flags: original(kind, *given, **flags)


for kind, own, family in ((Embedding, OwnTable, "construction"), (EmbeddingBag, OwnBag, "embedding_bag_module")):
    entry(
        f"pretrained_{own.__name__.lower()}_is_plain", family, f"A subclass's from_pretrained makes a plain {kind.__name__}.",
        kind, "from_pretrained", partial(made, kind),
    )  # fmt: skip
