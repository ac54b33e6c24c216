"""A layer with one table: lookup, gradient, padding and renorm."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

import numpy as np
import torch

from embcheck.core.case import LookupCase
from embcheck.core.declaration import Declaration
from embcheck.core.law import FAMILIES, Family
from embcheck.core.weight_map import MATHEMATICS, Mathematics
from embcheck.families.lookup.spelling import ENTRIES, FLAGS, Entry, Lookup, converted
from embcheck.families.max_norm.programs import SPELLINGS
from embcheck.subject.building import Builder, builder_of, learns
from embcheck.subject.fitting import Fit, absent, fixed, sent, then, unbatched

#: The families that speak of any table.
TABLE_FAMILIES = ("lookup", "gradient", "padding", "max_norm")


def tables(factory: Callable[..., Any], declared: Declaration, name: str) -> Iterator[Family]:
    """Lookup, gradient, padding and renorm of a layer with one table."""
    builder = builder_of(factory, declared, FLAGS, torch.nn.Embedding)
    ENTRIES[name] = SPELLINGS[name] = _entry(builder, name)
    if declared.mathematics is not None:
        MATHEMATICS[name] = declared.mathematics
    lacking = {flag: LookupCase._field_defaults[flag] for flag in builder.lacks}
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
        or ("" if "padding_idx" in declared.fixed else builder.lacks.get("padding_idx", "")),
        "max_norm": random or builder.lacks.get("max_norm", undeclared if declared.mathematics else ""),
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
    build.script = builder.script(ending)  # type: ignore[attr-defined]
    flags = builder.taken | builder.declared.fixed.keys()
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
