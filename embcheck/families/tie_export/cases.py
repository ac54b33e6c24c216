"""A tied model on a route as a case, and what it must be afterwards: all in integers and halves of them, which are exact."""

import itertools
from collections.abc import Iterator
from functools import cached_property
from typing import Annotated, Any

import numpy as np

from embcheck.core import oracle, stream
from embcheck.core.axes import Axes, Input, values_of
from embcheck.core.format import Floats
from embcheck.core.law import Plan
from embcheck.core.space import Space
from embcheck.families.tie_export.programs import PARAMETRIZATIONS, STRUCTURES, parametrized, passed, stacked
from embcheck.families.tie_export.routes import GRAPHS, PASSAGES, SCRIPTS, SLOW

ROUTES = {**PASSAGES, **GRAPHS, **SCRIPTS, **SLOW}
DEVICES = ("cpu", "meta")

#: What each structure calls its modules that have the weight: tables, whose rows are added, and the head.
NAMES = {"flat": ("embedding", "head"), "head_first": ("embedding", "head"), "shared": ("source", "target", "head")}
#: Routes whose model holds the same Parameters as the one that it was made of; others have their own.
SAME = ("loaded", "assigned", "assigned_variables", "parametrized_and_back", "symbolic", "symbolic_transformed", "scripted",
        "traced", "exported", "exported_decomposed", "exported_strictly", "compiled", "compiled_and_retied")  # fmt: skip
#: What a parametrization makes of the weight, where that is exact.
FACTORS = {"doubled": 2.0, "halved": 1.0}
#: Those whose original tensor is the weight as it is, for they have no right_inverse, or one that changes nothing.
PLAIN = ("doubled", "normed_spectrally")
#: The models of an ensemble, by what their weights are multiplied with.
MODELS = (1, -2, 3)


class TieExportCase(Axes):
    """An embedding and a head with one weight, on a route."""

    #: what happens: the model passes a "route", its head is "parametrized", or there is an "ensemble" of it
    what: Annotated[str, ("route",)] = "route"
    route: Annotated[str, tuple(PASSAGES)] = "loaded"
    structure: Annotated[str, tuple(STRUCTURES)] = "flat"
    bias: Annotated[bool, (False, True)] = False
    padding_idx: Annotated[int | None, (None, 1, 0)] = None
    frozen: Annotated[bool, (False, True)] = False
    rows: Annotated[int, (4, 3, 1, 6)] = 4
    width: Annotated[int, (3, 1, 2)] = 3
    length: Annotated[int, (3, 1, 5)] = 3
    seed: int = 0

    @cached_property
    def weight(self) -> Floats:
        """The weight: integers −3…3; for an orthogonal head its columns are orthogonal, and of length one."""
        if self.route == "orthogonal":
            turned = np.eye(self.rows)[:, : self.width]
            return np.roll(turned, 1, axis=0) * np.where(np.arange(self.width) % 2, 1.0, -1.0)
        return stream.small("weight", self.seed, (self.rows, self.width), 3)

    @cached_property
    def bias_values(self) -> Floats:
        return np.arange(1.0, self.rows + 1) if self.bias else np.zeros(self.rows)

    @cached_property
    def tokens(self) -> Any:
        """The tokens; one of them is padding if there is a padding row."""
        found = stream.below(stream.derive("tokens", self.seed), self.length, self.rows)
        if self.padding_idx is not None:
            found[-1] = self.padding_idx
        return found

    @cached_property
    def upstream(self) -> Floats:
        """The gradient of the outputs, integers −2…2."""
        return stream.small("upstream", self.seed, (self.length, self.rows), 2)

    def inputs(self) -> dict[str, Input]:
        weight = Input(self.weight.astype(np.float32), "float32", self.layout)
        fed = {"weight": weight, "tokens": Input(self.tokens, "int64")}
        if self.what == "route":
            fed["upstream"] = Input(self.upstream.astype(np.float32), "float32")
        if self.bias:
            fed["bias"] = Input(self.bias_values.astype(np.float32), "float32")
        return fed

    @property
    def layout(self) -> str:
        """How the weight lies in memory."""
        return "transposed" if self.seed % 2 else "contiguous"

    @property
    def looked_up(self) -> int:
        """How many tables have the weight."""
        return len(NAMES[self.structure]) - 1

    @property
    def prefix(self) -> str:
        """What stands before each name: a compiled model wraps another."""
        return "_orig_mod." if self.route.startswith("compiled") else ""

    @property
    def names(self) -> list[str]:
        own = [f"{module}.weight" for module in NAMES[self.structure]] + ["head.bias"] * self.bias
        return sorted(self.prefix + name for name in own)

    @property
    def copies(self) -> bool:
        """Whether the model that comes out has Parameters of its own."""
        return self.what == "route" and self.route not in SAME

    @property
    def named(self) -> bool:
        """Whether every name is due: a graph has the modules that it calls, each by the first of its names."""
        return not (self.route.startswith("symbolic") and self.structure == "shared")

    def value(self, weight: Floats, bias: Floats) -> Floats:
        """The outputs of a model, shape (N, V)."""
        found: Floats = self.looked_up * weight[self.tokens] @ weight.T + bias
        return found

    @cached_property
    def gradient(self) -> Floats:
        """The gradient of the weight: what the head gets, and what is looked up unless it is padding."""
        if self.frozen:
            return np.zeros_like(self.weight)
        times = self.looked_up
        kept = self.tokens != (-1 if self.padding_idx is None else self.padding_idx)
        back = times * self.upstream @ self.weight
        found: Floats = self.upstream.T @ (times * self.weight[self.tokens])
        return found + oracle.accumulate(self.tokens[kept], self.rows, back[kept])

    @cached_property
    def stepped(self) -> tuple[Floats, Floats]:
        """The weight and the bias after a step of SGD with a rate of 1/2."""
        bias = self.bias_values - (self.upstream.sum(0) / 2 if self.bias else 0)
        return self.weight - self.gradient / 2, bias

    def facts(self) -> dict[str, Any]:
        return {
            **self.axes,
            "layout": self.layout,
            "copies": self.copies,
            "named": self.named,
            "padded": self.padding_idx is not None,
        }


def plan(case: TieExportCase) -> Plan:
    built = (STRUCTURES[case.structure], case.padding_idx, case.frozen)
    if case.what == "parametrized":
        return Plan(parametrized, case.inputs(), {"built": built, "parametrization": PARAMETRIZATIONS[case.route]})
    if case.what == "ensemble":
        return Plan(stacked, case.inputs(), {"built": built, "device": case.route})
    return Plan(passed, case.inputs(), {"built": built, "passage": ROUTES[case.route], "prefix": case.prefix})


def repair(case: TieExportCase) -> TieExportCase:
    """The case with a route of its kind, and a padding row that is there; norms need rows that are not zero."""
    routes: Any = {"route": ROUTES, "parametrized": PARAMETRIZATIONS, "ensemble": DEVICES}[case.what]
    if case.route not in routes:
        case = case.but(route=next(iter(routes)))
    if case.padding_idx is not None and case.padding_idx >= case.rows:
        case = case.but(padding_idx=case.rows - 1)
    if case.route == "orthogonal" and case.width > case.rows:
        case = case.but(width=case.rows)
    return case


AXES = values_of(TieExportCase)


def scope() -> Iterator[TieExportCase]:
    """Every route with every structure, of which some have a bias, a padding row or a weight that is frozen; slow ones
    with few."""
    kinds = itertools.product(STRUCTURES, AXES["bias"], (None, 1), AXES["frozen"])
    happening = (("route", PASSAGES), ("parametrized", PARAMETRIZATIONS), ("ensemble", DEVICES))
    for seed, (structure, bias, padding, frozen) in enumerate(kinds):
        for what, routes in happening:
            for route in routes:
                yield TieExportCase(what, route, structure, bias, padding, frozen, seed=seed)
    for k, (seed, structure) in itertools.product(range(4), enumerate(STRUCTURES)):
        some = TieExportCase(
            "route", "", structure, k % 2 == 1, (None, 1)[(k + seed) % 2], (k, seed) == (3, 0), seed=seed
        )
        yield from (some.but(route=route) for route in GRAPHS if k < 3)
        yield from (some.but(route=route) for route in SCRIPTS if k in (seed, 3))
    for seed, route in enumerate(SLOW):
        plain = TieExportCase("route", route, bias=seed % 2 == 0, seed=seed)
        yield plain
        if route != "exported_saved":
            yield plain.but(structure="head_first", bias=not plain.bias, padding_idx=1)
    yield TieExportCase("route", "unflattened", "shared", True)
    yield TieExportCase("route", "exported", frozen=True)


SPACE = Space(TieExportCase, AXES, repair, lambda: map(repair, scope()), flags=("structure", "bias"), strength=2)
