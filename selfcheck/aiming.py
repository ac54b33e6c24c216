"""Aims at a fault: cases are built that meet its condition, with thresholds from both sides.

What they show decides whether a fault is *equivalent* (`Aimed.equivalent`), and whether one that no case of a profile
kills would be killed if the profile had such cases.
"""

import operator
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

from embcheck.core import stream
from embcheck.core.facts import Condition
from embcheck.core.stream import Stream
from embcheck.core.targets import Wish
from embcheck.families.conversion.space import linear_case
from embcheck.families.embedding_bag.space import KERNELS, bag_case
from embcheck.families.lookup.aimed import lookup_case, product_case
from embcheck.families.lookup.aimed_tokens import attempts
from embcheck.families.max_norm.space import renorm_case
from embcheck.families.one_hot.cases import one_hot_case
from selfcheck.contradictions import implied
from selfcheck.drawn import Fault

#: So many built calls have to meet a condition before a fault that changes none of them is equivalent.
ENOUGH = 200
#: Sites whose calls are built as lookups alone, with one 1 in a row: what changes none of those may change others.
_NARROW = ("mm", "addmm")
#: Cases that are built at most, and built before it is given up that none meets the condition.
_MOST, HOPELESS = 800, 60


#: What is never nothing in cases that are built.
_SIZES = (
    *("numel", "num_embeddings", "embedding_dim", "elements", "bags", "largest_bag", "max_count"),
    *("rows", "inner", "columns"),
)


class Aimed(NamedTuple):
    """What cases that were built for a fault showed: how many met its condition, how many it changed, whether one was killed."""

    met: int = 0
    changed: int = 0
    laws: tuple[str, ...] = ()
    case: str = ""

    def equivalent(self, fault: Fault) -> bool:
        """Whether enough calls met the condition and none gave anything else, as values."""
        return self.met >= ENOUGH and not self.changed and fault.site not in _NARROW


def built(fault: Fault) -> Iterator[tuple[str, Any]]:
    """Cases with their families whose calls are to meet a fault's condition, no two alike, as long as that is to be had."""
    wished = implied(fault.needs, fault.site)
    if wished is None:
        return
    seen: set[Any] = set()
    for turn in range(_MOST):
        found = attempted(fault.site, wished, "aimed", str(fault), turn)
        if found is None:
            return
        if found[1] not in seen:
            seen.add(found[1])
            yield found


def attempted(site: str, wished: list[Condition], *seeds: str | int) -> tuple[str, Any] | None:
    """A case with its family whose calls of a site are to meet conditions; None if none was found."""
    return attempts(Wish(Stream(stream.derive(*seeds)), _renamed(site, wished)), BUILDERS[site])


def _renamed(site: str, wished: list[Condition]) -> list[Condition]:
    """Conditions in the words of the builders: one_hot's classes are the rows of its table, and its width; that there is
    something at all they know."""
    wished = [each for each in wished if not (each.compare is operator.ge and each.number == 1 and each.fact in _SIZES)]
    if site != "one_hot":
        return wished
    names = ("num_classes", "num_embeddings", "embedding_dim")
    return [each._replace(fact=name) for each in wished for name in (names if each.fact in names else (each.fact,))]


# -- what is built for each site ----------------------------------------------------------------------------------------


def _forward(wish: Wish) -> tuple[str, Any]:
    case = lookup_case(wish)
    scaled = case.sparse and case.scale_grad_by_freq  # of which there is no gradient
    return ("lookup" if scaled or wish.draws.chance(3) else "gradient"), case


def _bag(kernel: str, wish: Wish) -> tuple[str, Any]:
    return "embedding_bag", bag_case(wish, kernel)


def _product(wish: Wish) -> tuple[str, Any]:
    apart = not (wish.meets("left_layout", "contiguous") or wish.meets("left_layout", "transposed"))
    return _linear(wish, ("none",)) if apart else ("gradient", product_case(wish))


def _linear(wish: Wish, biases: tuple[str, ...] = ("whole", "frozen")) -> tuple[str, Any]:
    return "conversion", linear_case(wish, biases)


BUILDERS: dict[str, Callable[[Wish], tuple[str, Any]]] = {
    "embedding": _forward,
    "index_select": lambda wish: (
        ("lookup", "gradient")[wish.draws.chance(2)],
        lookup_case(wish, sparse=False, ranks=(1,)),
    ),
    "embedding_dense_backward": lambda wish: ("gradient", lookup_case(wish, backward=True, sparse=False)),
    "embedding_sparse_backward": lambda wish: ("gradient", lookup_case(wish, backward=True, sparse=True)),
    "embedding_renorm_": lambda wish: ("max_norm", renorm_case(wish)),
    "one_hot": lambda wish: ("one_hot", one_hot_case(wish)),
    "mm": _product,
    "addmm": _linear,
    **{kernel: partial(_bag, kernel) for kernel in KERNELS},
}
