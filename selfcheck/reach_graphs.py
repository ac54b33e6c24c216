"""The cases that *full* runs in modes of decompositions and of inductor beside its own: built for conditions of drawn faults.

Where sizes are constants each case is a graph of its own, so that a call has the sizes that are wished.
"""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from embcheck.core import stream
from embcheck.core.case import LookupCase
from embcheck.core.facts import conditions
from embcheck.core.layout import SHARED
from embcheck.core.ledger import Ledger
from embcheck.core.stream import Stream
from embcheck.core.targets import Unmet, Wish
from embcheck.engine.execution import Execution
from embcheck.families.embedding_bag.cases import BagCase
from embcheck.families.lookup.aimed_tokens import attempts
from selfcheck.aiming import BUILDERS
from selfcheck.calls import Hits, Seen, counted, seen
from selfcheck.candidates import Candidate, Candidates
from selfcheck.drawn import Fault, always, faults
from selfcheck.reach import Aimed, Say, best, striped
from selfcheck.site import Facts, Site
from selfcheck.traced import TRACED_SITES, forget_graphs
from selfcheck.tracing import TracedSites, without_code


class Part(NamedTuple):
    """A mode, the sites whose calls its graphs make, of how many faults conditions are looked at, for each of which so many
    cases are built, and what those may cost that are chosen, each as many as it has calls; and what those may cost that are chosen
    for other faults, which none of these meets."""

    mode: str
    sites: str
    drawn: int
    turns: int
    budget: float
    missed: float


CALLED = Part("decompositions", "decomposition.", 3000, 2, 900.0, 120.0)
LOWERED = Part("inductor_static", "lowering.", 1400, 1, 330.0, 150.0)
PARTS = (CALLED, LOWERED)
_SEED = 20261126
#: Of how many other faults it is seen which of them no chosen case meets.
_OTHERS, _OTHER_SEED = 3000, 20261127
#: The axes of a table and of tokens, in the words of those who build.
_TABLE = {"dtype": "dtype", "rows": "num_embeddings", "columns": "embedding_dim", "layout": "layout"}
_TOKENS = {"rank": "rank", "numel": "numel", "dtype": "index_dtype", "layout": "index_layout"}
#: What may be wished of the padding: its place, and how many rows there are.
_PLACES = {
    "=-1": ("padding=none",), "=0": ("padding=first",), "=1": ("padding=last",),
    ">=0": ("padding=first", "padding=last"), ">1": ("padding=last & num_embeddings>=3",),
}  # fmt: skip
#: Other facts by the names that they have there, and conditions that are told otherwise.
_NAMES = {
    **{fact: fact for fact in ("earlier", "scale_grad_by_freq", "include_last_offset", "per_sample_weights")},
    "num_weights": "num_embeddings", "offsets_rows": "bags", "mode=0": "mode=sum", "mode=1": "mode=mean", "mode=2": "mode=max",
    "per_sample_weights=None": "per_sample_weights=False",
}  # fmt: skip
#: Sites that sum the rows of a table, and what must be so of the tokens for a damage to show there: a row that none names is zero.
_SUMS = ("embedding_dense_backward", "_unsafe_index_put", "_unsafe_masked_index_put_accumulate")
#: Sites that change rows which were looked up.
_OF_ROWS = ("masked_fill", "div")
_SHOWN = {
    "(last)": ("last_row",), "(first)": ("first_row",), "swap": ("first_row",), "padding_idx=": ("padding_hit",),
    "scale_grad_by_freq=": ("max_count>=2",),
}  # fmt: skip
_SHOWN_OF_BAGS = {
    "(last)": ("empty_last=False",), "(first)": ("empty_first=False",), "padding_idx=": ("padding_hit",),
    "mode=": ("largest_bag>=2",), "indices=": ("several_in_bags",),
}  # fmt: skip
#: Damages that show only where tokens differ: of rows that were looked up, and of sums.
_TOKEN_ORDERS = ("give(indices=", "give(index=", "give(grad_output=shifted)", "give(values=shifted)")
_ORDERS = (("shift", "swap", "repeat(first)", *_TOKEN_ORDERS), _TOKEN_ORDERS)
#: What the first and the second case that meets a condition is worth: each is sure to be judged, and makes a graph.
_WORTH = (1.0, 0.3)
#: What the builders lay no table or gradient as.
_EXPANDED = "layout=expanded"
#: No case has more elements.
_LARGEST = 1 << 15
#: Of each site the fault that hits every call.
_EACH = tuple(always([*TRACED_SITES]))


# -- what is wished -----------------------------------------------------------------------------------------------------


def wished(fault: Fault, turn: int) -> list[str]:
    """What a case is to be whose calls a fault hits and changes, as far as those who build can be told."""
    of, _, name = fault.site.partition(".")
    made = ["scale_grad_by_freq"] if name == "div" else []
    shown = _SHOWN if name in _SUMS else _SHOWN_OF_BAGS if name.startswith("_embedding_bag") else {}
    made += next((list(needed) for words, needed in shown.items() if words in fault.damage), [])
    if name == "masked_fill" and "_dtype" not in fault.condition:  # what is in half precision is copied before
        made.append(("dtype=float32", "dtype=float64")[turn % 2])
    made += ["rank>=1"] * (name == "index")  # by a tensor without axes a row is selected
    made += ["include_last_offset=False"] * (name.endswith("weights_backward") or "offsets_rows=1" in fault.condition)
    # The gradient of a single row that is looked up is a row.
    flat = ("indices_rank=0", "values_rank=1", "grad_output_rank=1", *["self_rank=1"] * (name in _OF_ROWS))
    texts = " & ".join(fault.needs).split(" & ")
    for text in texts:
        fact = re.split("[<>=]", text)[0]
        compared = text.removeprefix(fact)
        tensor, _, what = fact.rpartition("_")
        if fact == "padding_idx":
            places = _PLACES[compared]
            made.append(places[turn % len(places)])
        elif text in _NAMES or fact in _NAMES:
            made.append(_NAMES.get(text) or _NAMES[fact] + compared)
        elif tensor in {"indices", "index"} and name != "index" and what in _TOKENS:
            made.append(_TOKENS[what] + compared)
        elif what == "rank":  # of what has a column more than the tokens have axes
            made.append(f"rank{compared[:-1]}{int(compared[-1]) - (tensor != 'indices')}")
        elif what == "rows" and (tensor in {"indices", "index", "values", "grad_output"} or name in _OF_ROWS):
            plain = turn % 2 == 0 and "_rank" not in fault.condition
            made.append(
                f"numel{compared}" + " & rank=1" * plain if set(flat).isdisjoint(texts) else f"embedding_dim{compared}"
            )
        elif what in _TABLE and not (what == "layout" and of == "lowering"):
            made.append(_TABLE[what] + compared)
    return made


def built(fault: Fault, turn: int, mode: str) -> tuple[str, Any] | None:
    """A case that is to meet a fault's condition in a mode, with its family; None if there is none."""
    name = fault.site.partition(".")[2]
    kernel = name if name in BUILDERS else "embedding_dense_backward"  # as for whose calls the case is built
    asked = wished(fault, turn)
    later = "earlier>=1" in asked
    texts = [condition for text in asked if text != _EXPANDED for condition in conditions(text)]
    wish = Wish(Stream(stream.derive("graphs", str(fault), turn)), texts)
    found = attempts(wish, lambda each: _small(*BUILDERS[kernel](each)))
    if found is None:
        return None
    family, case = found
    if case.route == "several":
        case = case.but(route="backward_call", history="once_alike" if later else "fresh")
    if "padding_idx=1" in fault.condition.split(" & "):
        case = case.but(padding_idx=1)
    if turn % 2 and family != "embedding_bag" and case.index_layout == case.upstream_layout == "contiguous":
        case = case.but(shape=case.shape[-2:] + case.shape[:-2])  # the axes of one are behind the others
    if mode == LOWERED.mode and family == "lookup":
        family, case = "gradient", case.but(requires_grad=True, sparse=False)
    if _EXPANDED in asked:
        strides = SHARED[case.embedding_dim == 1 or turn % 2]
        if kernel == "embedding_dense_backward":
            case = case.but(upstream_layout=strides)
        else:
            family, case = "lookup", case.but(layout=strides)
    if name == "index":
        case = case.but(entry="indexed", padding_idx=None, scale_grad_by_freq=False, sparse=False, upstream="code")
    if mode == LOWERED.mode:  # what was called alike before makes no other graph
        case = case.but(**_before(family, case, kernel) if later else {"history": "fresh"})
    return family, case


def _small(family: str, case: Any) -> tuple[str, Any]:
    if max(case.num_embeddings, case.numel) * case.embedding_dim > _LARGEST:
        raise Unmet("elements")
    return family, case


def _before(family: str, case: Any, kernel: str) -> dict[str, str]:
    """The axes that make calls of other sizes before the one that is judged, and before its derivative."""
    if family == "embedding_bag":  # what stands behind the last bag must not be longer
        return {"history": "other_shape" if case.include_last_offset else "once_longer"}
    if case.shape:
        return {"history": "once_longer"}
    return {"route": "two_shapes", "history": "fresh"} if kernel == "embedding" else {"history": "longer_between"}


# -- what is met --------------------------------------------------------------------------------------------------------


class Recorder(TracedSites):
    """Writes down the facts of each call that makes a graph, and tells which of some faults a case meets.

    It is installed in the first process that asks which, which should be a fork.
    """

    def __init__(self, wanted: Sequence[Fault] = _EACH) -> None:
        super().__init__(TRACED_SITES)
        self.calls: dict[str, list[dict[str, Any]]] = {}
        self._wanted = wanted
        self.watch(wanted)

    def _asked(self, fault: Fault) -> tuple[Sequence[str], str]:
        # Of whether tokens differ a graph knows nothing, and `_shows` does.
        return [need for need in fault.needs if need != "tokens_differ"], ""

    def _met(self, site: Site, facts: Facts) -> dict[str, list[int]]:
        self.calls.setdefault(site.name, []).append(facts)
        return {}

    def of(self, candidate: Candidate) -> Mapping[str, list[dict[str, Any]]]:
        """The facts of the calls of a case, by site; inductor writes no code for it."""
        if candidate.mode.name == LOWERED.mode:
            forget_graphs()
        self.forget()
        self.calls = {}
        with without_code():
            Execution()(candidate.family, candidate.mode, candidate.fresh)
        return self.calls

    def hits(self, candidate: Candidate) -> Hits:
        """The faults, by position, that a case's calls meet, so that it shows."""
        if self._library is None:
            torch.set_num_threads(1)
            self.install()
        met, case = set[int](), candidate.case
        for site, every in self.of(candidate).items():
            # The first calls of a history are those before the one that is judged.
            for facts in every[len(every) // 2 :] if getattr(case, "history", "fresh") != "fresh" else every:
                met.update(*self._watched[site].met(facts).values())
        return np.array(sorted(each for each in met if _shows(self._wanted[each], case)), np.int32)


def _shows(fault: Fault, case: Any) -> bool:
    """Whether what a fault does can show: not all tokens are padding, or alike where another order is to show, and what is done
    to a row of a sum is done to one that a token names, and that is not padding."""
    if not isinstance(case, LookupCase):
        return _shows_of_bags(fault, case)
    if not case.numel:
        return True
    name, padding = fault.site.partition(".")[2], case.padding_row
    if fault.damage.startswith(_ORDERS[name in _SUMS]) and case.max_count == case.numel:
        return False
    if name in (*_SUMS, *_OF_ROWS) and padding is not None and case.counts[padding] == case.numel:
        return "padding_idx=" in fault.damage or "mask=" in fault.damage
    last = case.num_embeddings - 1
    shown = {
        "padding_idx=": padding is None or case.counts[padding],
        "scale_grad_by_freq=": case.max_count > 1,
        "(first)": case.counts[0] and padding != 0,
        "(last)": case.counts[last] and padding != last,
    }
    return name not in _SUMS or all(shows for word, shows in shown.items() if word in fault.damage)


def _shows_of_bags(fault: Fault, case: BagCase) -> bool:
    """The same of bags and of the gradients of samples: of a bag that reduces nothing, and of padding, comes zero."""
    tokens, kept = case.tokens[: case.numel], case.kept
    sizes = kept.astype(np.int64) if fault.site.endswith("weights_backward") else case.sizes
    padding = case.lookup.padding_row
    shown = {
        "(first)": sizes[:1],
        "(last)": sizes[-1:],
        "swap": sizes[:2],
        "mode=": sizes > 1,
        "indices=first": (tokens[-1:] != tokens[:1]) & kept[-1:] & (case.trailing == 0),
        "indices=shifted": np.roll(case.tokens, 1)[: case.numel] != tokens,
        "padding_idx=none": ~kept,
        "padding_idx=next": ~kept if padding is None else ~kept | (tokens == padding + 1),
    }
    some = sizes.any() or "padding_idx=" in fault.damage
    return bool(some) and all(np.any(where) for word, where in shown.items() if word in fault.damage)


# -- in the process that forks ------------------------------------------------------------------------------------------


def aimed(jobs: int, ledger: Ledger, say: Say) -> Aimed:
    """For *full*, for each mode and family, the cases that add most conditions of drawn faults; then cases for those of other
    faults that none of these meets: what is drawn later is mostly others, too.

    To be called in a process that has computed nothing with torch by several threads.
    """
    made, found = Candidates(ledger), defaultdict[tuple[str, str, str], list[Any]](list)
    for part in PARTS:
        chosen = _chosen(part, _faults(part, 2 * part.drawn, _SEED), part.budget, made, jobs, say)
        others = _faults(part, _OTHERS, _OTHER_SEED)
        again = seen(chosen, lambda each: made.fitted(each.family, each.case, each.mode), Recorder(others).hits, jobs)
        met = counted(again, len(others)) > 0
        say(f"{met.sum()} of {len(others)} other conditions are met by the cases that were chosen")
        left = [each for each, known in zip(others, met, strict=True) if not known]
        for each in (*chosen, *_chosen(part, left, part.missed, made, jobs, say)):
            found[each.family, each.mode, "full"].append(each.case)
    return found


def _faults(part: Part, count: int, seed: int) -> list[Fault]:
    """Those of so many drawn faults that are at a part's sites."""
    return [each for each in faults(count, seed, "", "graphs") if each.site.startswith(part.sites)]


def _chosen(part: Part, wanted: list[Fault], budget: float, made: Candidates, jobs: int, say: Say) -> list[Seen]:
    """Of the cases that are built for some faults those that add most conditions for their cost."""

    def fitted(task: tuple[Fault, int]) -> Candidate | None:
        found = built(*task, part.mode)
        return None if found is None else made.fitted(*found, part.mode)

    tasks = striped([(fault, turn) for fault in wanted for turn in range(part.turns)], 64)
    cases = seen(tasks, fitted, Recorder(wanted).hits, jobs)
    say(f"{len(cases)} of {len(tasks)} are built")
    costs = [1.0 + (each.case.history != "fresh" or each.case.route == "two_shapes") for each in cases]
    return best(cases, costs, np.zeros(len(wanted), np.int64), budget, _WORTH, say)
