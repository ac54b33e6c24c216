"""Checked cases per second and core: the raw loop, embcheck's engines, and a plain Hypothesis suite.

    python -m bench.throughput [--rounds 5] [--cases 3000]

*Direct* is the comparison of like with like, and what the last line's ``raw``, ``embcheck`` and ``plain`` speak of: all
three look up and differentiate by `torch.nn.functional.embedding` itself, once, in tables of the sizes that the plain
suite draws.  embcheck's cases are those of its engines, each brought to that size and call; flags, dtypes, layouts,
patterns and value regimes stay.  *Gate* is the same without that: every spelling, route, history and size, as a gate
runs them.  There torch's own work is the larger part, and there is no plain suite to compare with.

embcheck draws, expands, executes and judges inside of the clock.  The raw loop gets the same cases as prepared records.
Families count alike, engines by how many cases a gate takes from each.  The clock is the process's CPU time, the three
take turns, and medians over the rounds are reported, so that what else the machine does matters little.
Start-up is reported apart; optimizers and compilation have no part in it.
"""

from __future__ import annotations

import time

_STARTED = time.perf_counter()

import itertools  # noqa: E402
import json  # noqa: E402
import statistics  # noqa: E402
import warnings  # noqa: E402
from collections.abc import Iterator  # noqa: E402
from dataclasses import replace  # noqa: E402
from typing import Annotated, Any, NamedTuple  # noqa: E402

import torch  # noqa: E402
import typer  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402

import properties.core.test_gradient  # noqa: E402
import properties.core.test_lookup  # noqa: E402
import properties.core.test_padding  # noqa: E402, F401
from bench import plain, raw  # noqa: E402
from embcheck.core.case import LookupCase  # noqa: E402
from embcheck.core.item import DECK, PROFILES, Item  # noqa: E402
from embcheck.core.law import FAMILIES  # noqa: E402
from embcheck.core.ledger import Ledger  # noqa: E402
from embcheck.engine.run_item import batches  # noqa: E402
from embcheck.engine.selection import cases  # noqa: E402
from embcheck.engine.tally import Tallies  # noqa: E402
from embcheck.modes.mode import MODES  # noqa: E402

_IMPORTED = time.perf_counter()
GATE = PROFILES["full"]
#: Neighbouring cases that are drawn at a time from an enumeration.
CHUNK = 8
#: The plain suite checks this share of the others' cases in a round, since each takes it so long.
PLAIN_SHARE = 20

clock = time.process_time


def direct(case: LookupCase) -> LookupCase:
    """The case by one call of the functional, with sizes that the plain suite draws."""
    rows = case.num_embeddings if case.num_embeddings <= plain.ROWS else case.num_embeddings % plain.ROWS + 1
    return case.but(
        num_embeddings=rows,
        embedding_dim=case.embedding_dim if case.embedding_dim <= plain.WIDTH else case.embedding_dim % plain.WIDTH + 1,
        shape=case.shape if case.numel <= plain.TOKENS else (case.numel % plain.TOKENS,),
        padding_idx=case.padding_idx if case.padding_idx is None or not rows else case.padding_idx % rows,
        entry="functional",
        route="backward_call",
        history="fresh",
        threads=1,
    )


class Taken(NamedTuple):
    """Cases that were taken from an engine, and the seconds that drawing and judging them took."""

    cases: list[LookupCase]
    seconds: float


class Drawn:
    """In a judge's place: keeps what an engine draws."""

    worst: float | None = None

    def __init__(self) -> None:
        self.cases: list[Any] = []

    def __call__(self, case: Any) -> None:
        self.cases.append(case)


class Cell:
    """One engine of one family: takes a number of cases from it each round, spread over all that it has."""

    def __init__(self, family: str, engine: str, workload: str) -> None:
        self.family, self.engine, self.workload = FAMILIES[family], engine, workload
        self.item = Item(family, "torch", "eager", engine)
        #: cases in a gate
        self.size = GATE.random if engine == "random" else sum(1 for _ in cases(self.family, self.item, GATE, 0))
        self._turn = 0
        self._found: Iterator[Any] = iter(())

    def take(self, wanted: int) -> Taken:
        tallies = Tallies(self.family, MODES["eager"], Ledger(()))
        taken: list[LookupCase] = []
        seconds = 0.0
        for drawn, spent in self._decks(wanted) if self.engine == "random" else self._chunks(wanted):
            fitted = [direct(case) if self.workload == "direct" else case for case in drawn]
            # Copies, since a case keeps what it expanded to.
            taken += [LookupCase(*case) for case in fitted]
            started = clock()
            for case in fitted:
                tallies(case)
            seconds += spent + clock() - started
        return Taken(taken, seconds)

    def _decks(self, wanted: int) -> Iterator[tuple[list[Any], float]]:
        """The cases of some decks, and the seconds that drawing them took."""
        self._turn += 1
        budget = replace(GATE, aimed=0, random=DECK * max(1, round(wanted / DECK * self.family.cost)))
        drawn = Drawn()
        started = clock()
        batches(self.family, self.item, budget, self._turn, drawn, None)  # type: ignore[arg-type]
        spent = clock() - started
        while drawn.cases:
            chunk, drawn.cases = drawn.cases[:DECK], drawn.cases[DECK:]
            yield chunk, spent
            spent = 0.0

    def _chunks(self, wanted: int) -> Iterator[tuple[list[Any], float]]:
        """Neighbouring cases from all over an enumeration, and the seconds that drawing them took."""
        skipped = max(0, CHUNK * self.size // max(wanted, 1) - CHUNK)
        count = 0
        while count < wanted:
            started = clock()
            chunk = list(itertools.islice(self._found, CHUNK))
            yield chunk, clock() - started
            count += len(chunk)
            # What lies between the chunks is drawn by a gate, but not by this round.
            if not chunk or next(itertools.islice(self._found, skipped, None), None) is None:
                self._turn += 1
                self._found = itertools.islice(cases(self.family, self.item, GATE, 0), self._turn % CHUNK, None)


class Workload:
    """All cells of a workload, and what they and the raw loop took for each round's cases."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.cells = [
            Cell(family, engine, name)
            for family in ("lookup", "gradient", "padding")
            for engine in ("scope", "product", "random")
        ]
        sizes = {
            cell.family.name: sum(other.size for other in self.cells if other.family is cell.family)
            for cell in self.cells
        }
        self.shares = [cell.size / sizes[cell.family.name] / len(sizes) for cell in self.cells]
        self.ours: list[list[float]] = [[] for _ in self.cells]  # seconds per case, by cell and round
        self.raw: list[list[float]] = [[] for _ in self.cells]
        self.compared = self.unexpected = 0

    def round(self, wanted: int, turn: int) -> None:
        """Lets embcheck and the raw loop take their turn in each cell."""
        for cell, share, ours, theirs in zip(self.cells, self.shares, self.ours, self.raw, strict=True):
            taken = cell.take(max(CHUNK, round(wanted * share)))
            specs = [raw.spec(cell.family.name, case) for case in taken.cases]
            started = clock()
            self.unexpected += raw.loop(specs, seed=turn)
            theirs.append((clock() - started) / len(specs))
            ours.append(taken.seconds / len(specs))
            self.compared += len(specs)

    def together(self, seconds: list[list[float]]) -> list[float]:
        """Seconds per case of all cells, weighted by their shares, in each round."""
        rounds = zip(*seconds, strict=True)
        return [sum(s * cell for s, cell in zip(self.shares, row, strict=True)) for row in rounds]

    def table(self) -> Table:
        """Cases per second, by cell and together."""
        table = Table(title=f"{self.name}: checked cases per second and core")
        for name in ("family", "engine", "share", "raw", "embcheck", "embcheck/raw"):
            table.add_column(name, justify="left" if name in ("family", "engine") else "right")
        for cell, share, ours, theirs in zip(self.cells, self.shares, self.ours, self.raw, strict=True):
            values = f"{share:.1%}", f"{rate(theirs):,.0f}", f"{rate(ours):,.0f}", f"{ratio(theirs, ours):.2f}"
            table.add_row(cell.family.name, cell.engine, *values)
        ours, theirs = self.together(self.ours), self.together(self.raw)
        table.add_section()
        table.add_row("all", "together", "", f"{rate(theirs):,.0f}", f"{rate(ours):,.0f}", f"{ratio(theirs, ours):.2f}")
        return table


def rate(seconds: list[float]) -> float:
    """Cases per second, in the median round."""
    return round(1 / statistics.median(seconds), 1)


def ratio(theirs: list[float], ours: list[float]) -> float:
    """How many times as fast we are as they, in the median round."""
    return round(statistics.median(a / b for a, b in zip(theirs, ours, strict=True)), 3)


def main(
    rounds: Annotated[int, typer.Option(help="How often each takes its turn.")] = 5,
    cases: Annotated[int, typer.Option(help="Cases of each workload in a round.")] = 3000,
) -> None:
    """Prints tables and, as the last line, JSON: cases per second of raw, embcheck and plain, and their ratios."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    started = time.perf_counter()
    direct, gate = Workload("direct"), Workload("gate")
    counted = time.perf_counter()
    for cell in (*direct.cells, *gate.cells):
        cell.take(DECK)
    plain.run(2)
    ready = time.perf_counter()

    plainly: list[float] = []
    for turn in range(rounds):
        direct.round(cases, turn)
        clocked = clock()
        checked = plain.run(max(2, cases // PLAIN_SHARE // 3))
        plainly.append((clock() - clocked) / checked)
        gate.round(cases, turn)

    console = Console()
    console.print(direct.table(), gate.table())
    ours, theirs = direct.together(direct.ours), direct.together(direct.raw)
    console.print(
        f"plain Hypothesis suite: {rate(plainly):,.0f} cases per second; embcheck/plain {ratio(plainly, ours):.1f}\n"
        f"start-up, not counted: imports {_IMPORTED - _STARTED:.1f} s, counting a gate's cases "
        f"{counted - started:.1f} s, first cases {ready - counted:.1f} s\n"
        f"raw: {direct.unexpected} of {direct.compared} direct and {gate.unexpected} of {gate.compared} gate cases "
        "did not come out as expected"
    )
    found: dict[str, Any] = {
        "raw": rate(theirs),
        "embcheck": rate(ours),
        "plain": rate(plainly),
        "embcheck/raw": ratio(theirs, ours),
        "embcheck/plain": ratio(plainly, ours),
        "gate": {
            "raw": rate(gate.together(gate.raw)),
            "embcheck": rate(gate.together(gate.ours)),
            "embcheck/raw": ratio(gate.together(gate.raw), gate.together(gate.ours)),
        },
        "rounds": rounds,
        "cases": direct.compared + gate.compared,
        "raw_unexpected": direct.unexpected + gate.unexpected,
    }
    print(json.dumps(found))


if __name__ == "__main__":
    typer.run(main)
