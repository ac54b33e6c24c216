"""A layer with one table: lookup, gradient, padding and max_norm; or one that reduces bags of its rows."""

import inspect
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

import numpy as np
import torch

from embcheck.core.case import LookupCase
from embcheck.core.declaration import FLAGS as FLAGS_OF
from embcheck.core.declaration import Declaration
from embcheck.core.law import FAMILIES, Family
from embcheck.core.weight_map import MATHEMATICS, Mathematics
from embcheck.families.embedding_bag.cases import BagCase
from embcheck.families.embedding_bag.programs import BAG_ENTRIES
from embcheck.families.lookup.spelling import ENTRIES, FLAGS, Entry, Lookup, converted
from embcheck.families.max_norm.programs import SPELLINGS
from embcheck.subject.building import Builder, builder_of, learns, table_in
from embcheck.subject.fitting import Fit, absent, fixed, sent, then, unbatched

#: The families that speak of any table.
TABLE_FAMILIES = ("lookup", "gradient", "padding", "max_norm")


def tables(factory: Callable[..., Any], declared: Declaration, name: str) -> Iterator[Family]:
    """Lookup, gradient, padding and renorm of a layer with one table."""
    builder = builder_of(factory, declared, FLAGS, torch.nn.Embedding)
    ENTRIES[name] = SPELLINGS[name] = _entry(builder, name)
    if declared.mathematics is not None:
        MATHEMATICS[name] = declared.mathematics
    lacking = {flag: LookupCase._field_defaults[flag] for flag in builder.limits.lacks}
    frozen = "" if learns(builder) else f"its table is frozen: no gradient reaches {builder.path}"
    fit = fixed(declared, lacking | ({"requires_grad": False} if frozen else {}))
    fit = _of_mathematics(fit, declared.mathematics) if declared.mathematics else fit
    if declared.product:  # torch's one_hot knows no number of classes that is zero
        fit = then(fit, lambda case: case if case.num_embeddings else None)
    random = "values are not asked: random=True is declared" if declared.domain.random else ""
    undeclared = "max_norm is not declared of what it makes of its weight"
    reasons = {
        "gradient": frozen,
        "padding": frozen
        or random
        or ("" if "padding_idx" in declared.fixed else builder.limits.lacks.get("padding_idx", "")),
        "max_norm": random or builder.limits.lacks.get("max_norm", undeclared if declared.mathematics else ""),
    }
    for family in map(FAMILIES.__getitem__, TABLE_FAMILIES):
        why = reasons.get(family.name)
        yield absent(family, why) if why else sent(family, unbatched(fit), ("entry", name), builder.domain)


def _entry(builder: Builder, name: str) -> Entry:
    """The subject's entry: a layer whose table holds the case's."""

    def build(weight: torch.Tensor, **flags: Any) -> tuple[torch.Tensor, Lookup]:
        layer = converted(builder.layer(weight.shape[0], weight.shape[1], flags), weight.dtype)
        table = builder.table(layer, tuple(weight.shape))
        with torch.no_grad():
            table.copy_(weight)
        return table, layer

    ending = "    with torch.no_grad():\n        table.copy_(weight)\n    return table, layer\n"
    build.script, build.uses = builder.script(ending), [table_in]  # type: ignore[attr-defined]
    flags = builder.limits.taken | builder.declared.fixed.keys()
    return Entry(name, build, flags, builder.declared.product, module=True, aliases=False, own=False)


#: Where a declared function's value and pullback are what the law speaks of.
_FOLLOWING = frozenset({"backward_call", "autograd_grad", "retained", "two_passes", "two_lookups"})


def _of_mathematics(plain: Fit, mathematics: Mathematics) -> Fit:
    """Cases whose values f neither overflows nor makes special, on routes whose laws speak of dW alone; none of a width
    for which f has no value, such as a scale of 1/√0."""

    @lru_cache(maxsize=256)
    def has_value(width: int) -> bool:
        try:
            mathematics.value(np.zeros((1, width)))
        except (ArithmeticError, ValueError):
            return False
        return True

    def fit(case: Any) -> Any:
        if not has_value(case.embedding_dim):
            return None
        changes: dict[str, Any] = {}
        if case.values == "special" or case.dtype == "float16":
            changes["values"] = "small"
        if case.upstream not in ("code", "ones", "real"):
            changes["upstream"] = "code"
        if case.route not in _FOLLOWING:
            changes["route"] = "backward_call"
        return plain(case.but(**changes) if changes else case)

    return fit


#: The flags that a constructor may take.
BAG_FLAGS = tuple(flag for flag in FLAGS_OF["bag"] if flag != "per_sample_weights")


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
    builder = builder_of(factory, declared, BAG_FLAGS, torch.nn.EmbeddingBag)

    def build(weight: torch.Tensor, **flags: Any) -> tuple[torch.Tensor, Any]:
        layer = converted(builder.layer(weight.shape[0], weight.shape[1], flags), weight.dtype)
        table = builder.table(layer, tuple(weight.shape))
        table.data = weight.detach()
        return table, Bagging(layer)

    ending = "    table.data = weight.detach()\n    return table, Bagging(layer)\n\n\n"
    build.script = builder.script(ending) + inspect.getsource(Bagging)  # type: ignore[attr-defined]
    build.uses = [table_in]  # type: ignore[attr-defined]
    BAG_ENTRIES[name] = build
    defaults = {flag: BagCase._field_defaults[flag] for flag in BAG_FLAGS if flag not in builder.limits.taken}
    if "per_sample_weights" in declared.lacks or not takes_samples(builder.layer(*builder.limits.size, {})):
        defaults |= {"weights": None}
    if not learns(builder):
        defaults |= {"learns": "none"}
    plain = fixed(declared, defaults | {"mistake": None})
    yield sent(FAMILIES["embedding_bag"], unbatched(plain), ("entry", name), builder.domain)
