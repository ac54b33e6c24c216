"""A layer that reduces bags of rows of one table."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import torch

from embcheck.adaptation.fitting import fixed, place, sent, unbatched
from embcheck.bag.case import BagCase
from embcheck.bag.program import BAG_ENTRIES
from embcheck.declaration import FLAGS as FLAGS_OF
from embcheck.declaration import Declaration, passed, unlike
from embcheck.law import FAMILIES, Family
from embcheck.lookup.entry import converted, table_of

#: The flags that a constructor may take.
FLAGS = tuple(flag for flag in FLAGS_OF["bag"] if flag != "per_sample_weights")
#: What a counterexample's script says in place of the closures.
_SCRIPT = """\
sys.path.insert(0, ".")
from {module} import {top}


def build(weight, **flags):
    given = {said} | {{flag: value for flag, value in flags.items() if flag in {taken}}}
    layer = {name}(weight.shape[0], weight.shape[1], **given).to(weight.dtype)
    (table,) = [p for p in layer.parameters() if p.shape == weight.shape]
    table.data = weight.detach()
    return table, Bagging(layer)


"""


class Bagging(torch.nn.Module):
    """A layer that is called with indices, offsets and per_sample_weights, without those that are None at the end."""

    def __init__(self, layer: torch.nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, indices: Any, offsets: Any = None, samples: Any = None) -> Any:
        if samples is not None:
            return self.layer(indices, offsets, samples)
        return self.layer(indices) if offsets is None else self.layer(indices, offsets)


def bags(factory: Callable[..., Any], declared: Declaration, name: str) -> Iterator[Family]:
    """The laws of bags on a layer ``(indices, offsets, per_sample_weights)`` with one table."""
    taken = passed(factory, declared, FLAGS)
    said = unlike(factory, torch.nn.EmbeddingBag, taken)

    def build(weight: torch.Tensor, **flags: Any) -> tuple[torch.Tensor, Any]:
        given = said | {flag: value for flag, value in flags.items() if flag in taken}
        layer = converted(factory(weight.shape[0], weight.shape[1], **given), weight.dtype)
        table = table_of(layer, (weight.shape[0], weight.shape[1]), name)
        table.data = weight.detach()
        return table, Bagging(layer)

    spelled = _SCRIPT.format(**place(factory), said=said, taken=sorted(taken))
    build.script = spelled + inspect.getsource(Bagging)  # type: ignore[attr-defined]
    BAG_ENTRIES[name] = build
    defaults = {flag: BagCase._field_defaults[flag] for flag in FLAGS if flag not in taken}
    if "per_sample_weights" in declared.lacks:
        defaults |= {"weights": None}
    plain = fixed(declared, defaults | {"mistake": None})
    yield sent(FAMILIES["bag"], unbatched(plain), ("entry", name))
