"""Faults of decompositions and lowerings: planted into torch's tables, executed in the modes that read these, and judged.

A case is compiled anew for each fault.  Of each mode there are the first case of each signature, for which a run makes a graph,
and those that are aimed: what the graph then does to the others of the signature is not asked.
"""

import copy
import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from unittest import mock

import torch
from torch.utils._pytree import tree_flatten, tree_leaves

from embcheck.core.deck import aimed_cases
from embcheck.core.item import PROFILES
from embcheck.core.law import Family
from embcheck.core.ledger import Ledger
from embcheck.core.outcome import Outcome
from embcheck.core.result import NotApplicable, Unreachable
from embcheck.engine.execution import Execution
from embcheck.engine.reduce import size
from embcheck.modes.lattice import FREE
from embcheck.modes.mode import Mode, modes_of
from selfcheck.aiming import ENOUGH
from selfcheck.candidates import Candidate, Candidates, Found, every_case, shipped
from selfcheck.drawn import Fault
from selfcheck.fault_runner import used
from selfcheck.judging import UNJUDGED, DrawnResult, Judging, Record
from selfcheck.planting import Function, Sites
from selfcheck.site import Call, Site
from selfcheck.tensor_plans import differs
from selfcheck.traced import TRACED_SITES, forget_graphs, tables

#: The families that make calls which modes change, and the modes that read the tables: with tensors, or as they compile.
_FAMILIES = ("lookup", "gradient", "padding", "embedding_bag", "max_norm")
_CALLING = ("decompositions", "core_decompositions", "inductor_decompositions")
_COMPILING = ("aot_decomposed", "inductor", "inductor_no_grad", "inductor_static")
#: Seconds for one fault, which is compiled for each case.
_LIMIT = 60.0
#: What makes no other graph, of bags.
_FREE = FREE | {"numel", "bags"}


def deck(profile: str, seed: int, sites: Iterable[str]) -> tuple[list[Candidate], Ledger]:
    """The cases of a run with ``--mode all`` that reach these sites, but for those that the ledger forbids to execute."""
    lowers = all(site.startswith("lowering.") for site in sites)
    made, found, seen = Candidates(shipped()), list[Candidate](), set[Any]()
    for name in _FAMILIES:
        family = made.families[name]
        modes = [
            mode for mode in modes_of(family, "all") if mode in (_COMPILING[1:] if lowers else _CALLING + _COMPILING)
        ]
        aimed = {(mode, case) for mode in modes for case in aimed_cases(family, mode)}
        for item, case in every_case(family, PROFILES[profile], seed, tuple(modes)):
            key = name, item.mode, _graph(case)
            if key in seen and (item.mode, case) not in aimed:
                continue
            seen.add(key)
            candidate = made.candidate(name, item.mode, case)
            found += [] if candidate is None else [candidate]
    return found, made.ledger


def _graph(case: Any) -> Any:
    """What makes another graph where sizes are dynamic: the signature, and which sizes are none or one."""
    facts = case.facts()
    sizes = [facts.get(name, 2) for name in ("num_embeddings", "embedding_dim", "numel", "bag_count")]
    fixed = (f"{name}={value!r}" for name, value in case.axes.items() if name not in _FREE)
    return tuple(fixed), tuple(min(each, 2) for each in (*sizes, *getattr(case, "shape", ())))


class TracedSites(Sites):
    """What stands in torch's tables for the operators of some sites."""

    kernels: Mapping[str, Site] = {}

    def __init__(self, names: Iterable[str]) -> None:
        super().__init__()
        self._sites = [TRACED_SITES[name] for name in names]

    def _wrap(self) -> None:
        import torch._functorch.config
        import torch._inductor.config

        # A graph of an earlier process, which was compiled without a fault, must not serve: the backward's, too, which is
        # compiled when it is called.
        self._stack.enter_context(torch._inductor.config.patch({"fx_graph_cache": False}))
        self._stack.enter_context(torch._functorch.config.patch({"enable_autograd_cache": False}))
        for site in self._sites:
            for table in tables(site):
                right = table.get(site.operator)
                if right is not None:
                    table[site.operator] = functools.wraps(right)(functools.partial(self._traced, site, right))
                    self._stack.callback(table.__setitem__, site.operator, right)
        self._stack.callback(forget_graphs)
        forget_graphs()

    def _traced(self, site: Site, right: Function, *given: Any, **named: Any) -> Any:
        if _for_sizes((given, named)):
            return right(*given, **named)
        return self._called(site, right, given, named)

    def _written_down(self, site: Site, told: Call, result: Any, again: Function | None) -> None:
        """What faults change is not planned: it would be in the graph."""
        self._met(site, told.facts)

    def _keep(self, site: Site, told: Call, result: Any) -> None:
        """Nor is there a damage that asks for what a call gave before."""


def sites_of(names: Sequence[str]) -> Sites:
    """What stands in the place of some sites: of graphs alone, or of none."""
    return Sites(names) if TRACED_SITES.keys().isdisjoint(names) else TracedSites(names)


def _for_sizes(given: Any) -> bool:
    """Whether a call makes no graph: fake tensors that none records are asked for their sizes."""
    from torch._subclasses.fake_tensor import FakeTensor
    from torch.fx.experimental.proxy_tensor import get_proxy_mode

    return any(isinstance(each, FakeTensor) for each in tree_leaves(given)) and get_proxy_mode() is None


# -- graphs that inductor lowers and writes no code for: what is called is the graph itself, in a fraction of the time ----


class _Lowered(BaseException):
    """Stands in the place of the code: inductor handles what is an `Exception`."""


def _lower(graph: Any, example: Sequence[Any], **options: Any) -> Any:
    from torch._inductor.compile_fx import compile_fx_inner
    from torch._inductor.graph import GraphLowering

    kept = copy.deepcopy(graph)
    with mock.patch.object(GraphLowering, "compile_to_module", side_effect=_Lowered):
        try:
            return compile_fx_inner(graph, example, **options)
        except _Lowered:
            pass

    def run(given: list[Any]) -> Any:
        return kept(*given)

    run._boxed_call = True  # type: ignore[attr-defined]  # takes its arguments in a list, as what inductor compiles does
    return run


@contextmanager
def without_code() -> Iterator[None]:
    """Inside of it the modes of inductor lower and compile nothing."""
    from torch._inductor.compile_fx import compile_fx

    found = torch._dynamo.lookup_backend
    lowering = functools.partial(compile_fx, inner_compile=_lower)
    with mock.patch.object(
        torch._dynamo, "lookup_backend", lambda name: lowering if name == "inductor" else found(name)
    ):
        yield


# -- cases that are judged -----------------------------------------------------------------------------------------------


class TracedJudging(Judging):
    """Judges cases of a deck while `TracedSites` are installed; a fault changes a case if the outcome is another."""

    clock = staticmethod(used)  # what inductor starts works, too

    def __init__(self, candidates: Sequence[Candidate], ledger: Ledger, sites: Sites) -> None:
        super().__init__(candidates, ledger, sites)
        self._made: Any = None
        self._seen: list[Any] = []
        self._right: dict[int, list[Any]] = {}
        self._recording = False

    def record(self, faults: Sequence[Fault], chosen: Iterable[int]) -> Record:
        """A clean run of some cases; of those that are compiled it is seen which calls are made, and no code is written."""
        self._recording = True
        try:
            with without_code():
                return super().record(faults, chosen)
        finally:
            self._recording = False

    def result(self, fault: Fault, met: Sequence[int], changed: Sequence[int]) -> DrawnResult:
        """Judges the cases that a fault hits, the cheapest first, until a law sees it."""
        begun = found = DrawnResult(str(fault), "not reached", len(met))
        order = sorted(met, key=self._place)
        if not order:
            return found
        if not self._raising(fault, order):
            return replace(found, status="inert", told=UNJUDGED)
        differing = 0
        for found, position in zip(self._in_turn(fault, order, begun), order, strict=False):
            if found.laws:
                return replace(found, status="killed", changed=len(met))
            differing += not _alike(self._seen, self._without(position))
            found = replace(found, changed=differing)
            if found.seconds > _LIMIT:
                return replace(found, status="survived" if differing else "time-out")
        if differing:
            return replace(found, status="unknown" if found.told else "survived")
        return replace(found, status="equivalent" if len(order) >= ENOUGH else "inert", told="nothing changes")

    def _words(self, candidate: Candidate) -> str:
        return f"{candidate.mode.name}: {candidate.case!r}"

    def _place(self, position: int) -> tuple[Any, ...]:
        """What is judged first; code for what must be refused may read what lies behind a table, last."""
        _, mode, _, case = self.candidates[position]
        return case.refused, mode.cost, size(case), position

    def _without(self, position: int) -> list[Any]:
        """What a case shows without a fault."""
        if position not in self._right:
            self._judged(self.candidates[position])
            self._right[position] = self._seen
        return self._right[position]

    def _judged(self, candidate: Candidate) -> Found:
        if candidate.mode.name in _COMPILING and self._made != (candidate.case, self.sites.planted):
            self._made = candidate.case, self.sites.planted
            forget_graphs()
        self.sites.forget()
        self._seen = []
        if self._recording and candidate.mode.name in _COMPILING:
            self._execute(candidate.family, candidate.mode, candidate.fresh)
            return {}, {}
        return self.made.judged(candidate, self._execute)

    def _execute(self, family: Family, mode: Mode, case: Any) -> Outcome | NotApplicable | Unreachable:
        out = Execution()(family, mode, case)
        if isinstance(out, Outcome):
            self._seen.append((dict(out.seen), repr(out.error)))
        return out


def _alike(one: Any, other: Any) -> bool:
    """Whether two outcomes are the same by the oracle's equality."""
    (left, form), (right, same) = tree_flatten(one), tree_flatten(other)
    return form == same and all(map(_equal, left, right))


def _equal(one: Any, other: Any) -> bool:
    if not isinstance(one, torch.Tensor):
        return bool(one is other or repr(one) == repr(other))
    one, other = one.detach().to_dense(), other.detach().to_dense()
    return (one.shape, one.stride(), one.dtype) == (other.shape, other.stride(), other.dtype) and not differs(
        one, other
    )
