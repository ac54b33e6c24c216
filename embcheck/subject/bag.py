"""A layer that reduces bags of rows of one table."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import torch

from embcheck.core.declaration import FLAGS as FLAGS_OF
from embcheck.core.declaration import Declaration
from embcheck.core.law import FAMILIES, Family
from embcheck.families.embedding_bag.cases import BagCase
from embcheck.families.embedding_bag.programs import BAG_ENTRIES
from embcheck.families.lookup.spelling import converted
from embcheck.subject.building import builder_of, learns
from embcheck.subject.fitting import fixed, sent, unbatched

#: The flags that a constructor may take.
FLAGS = tuple(flag for flag in FLAGS_OF["bag"] if flag != "per_sample_weights")


class Bagging(torch.nn.Module):
    """A layer that is called with indices, offsets and per_sample_weights, without those that are None at the end."""

    def __init__(self, layer: torch.nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, indices: Any, offsets: Any = None, samples: Any = None) -> Any:
        if samples is not None:
            return self.layer(indices, offsets, samples)
        return self.layer(indices) if offsets is None else self.layer(indices, offsets)


def takes_samples(layer: torch.nn.Module) -> bool:
    """Whether a layer can be called with something behind the indices and the offsets."""
    try:
        inspect.signature(layer.forward).bind(None, None, None)
    except TypeError:
        return False
    return True


def bags(factory: Callable[..., Any], declared: Declaration, name: str) -> Iterator[Family]:
    """The laws of bags on a layer ``(indices, offsets, per_sample_weights)`` with one table."""
    builder = builder_of(factory, declared, FLAGS, torch.nn.EmbeddingBag)

    def build(weight: torch.Tensor, **flags: Any) -> tuple[torch.Tensor, Any]:
        layer = converted(builder.layer(weight.shape[0], weight.shape[1], flags), weight.dtype)
        table = builder.table(layer, tuple(weight.shape))
        table.data = weight.detach()
        return table, Bagging(layer)

    ending = "    table.data = weight.detach()\n    return table, Bagging(layer)\n\n\n"
    build.script = builder.script(ending) + inspect.getsource(Bagging)  # type: ignore[attr-defined]
    BAG_ENTRIES[name] = build
    defaults = {flag: BagCase._field_defaults[flag] for flag in FLAGS if flag not in builder.taken}
    if "per_sample_weights" in declared.lacks or not takes_samples(builder.layer(*builder.size, {})):
        defaults |= {"weights": None}
    if not learns(builder):
        defaults |= {"learns": "none"}
    plain = fixed(declared, defaults | {"mistake": None})
    yield sent(FAMILIES["embedding_bag"], unbatched(plain), ("entry", name), builder.domain)
