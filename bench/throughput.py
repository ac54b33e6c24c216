"""Checked cases per second and core: the raw loop, embcheck's engines, and a plain Hypothesis suite.

    python -m bench.throughput [--rounds 5] [--cases 3000]

The three take turns in one process and one thread, so that what else the machine does falls on all of them;
medians over the rounds are reported.  embcheck's share is what a gate runs of the lookup, gradient and padding
families: each engine's cases are drawn, expanded, executed and judged inside of the clock, and the engines are
weighted by how many cases the gate takes from each.  The raw loop gets the very same cases as prepared records.  Start-up is
reported apart; optimizers and compilation have no part in it.
"""

from __future__ import annotations

import time

_STARTED = time.perf_counter()

import itertools  # noqa: E402
import json  # noqa: E402
import statistics  # noqa: E402
import warnings  # noqa: E402
from collections.abc import Callable, Iterator  # noqa: E402
from dataclasses import replace  # noqa: E402
from typing import Annotated, Any, NamedTuple  # noqa: E402

import torch  # noqa: E402
import typer  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402

import properties.test_gradient  # noqa: E402
import properties.test_lookup  # noqa: E402
import properties.test_padding  # noqa: E402, F401
from bench import plain, raw  # noqa: E402
from embcheck.case import Case  # noqa: E402
from embcheck.engine import DECK, ENGINES, PROFILES, Item, Judge, cases, decks  # noqa: E402
from embcheck.law import FAMILIES  # noqa: E402
from embcheck.ledger import Ledger  # noqa: E402
from embcheck.mode import MODES  # noqa: E402

_IMPORTED = time.perf_counter()
GATE = PROFILES["gate"]
#: Neighbouring cases that are drawn at a time from an enumeration.
CHUNK = 8
#: plain runs in each round, as a share of the others' cases: it is some twenty times slower.
PLAIN_SHARE = 20


class Taken(NamedTuple):
    """The cases that a round took from one engine, and the seconds that drawing and judging them took."""

    cases: list[Case]
    seconds: float


class Cell:
    """One engine of one family: takes a number of cases from it each round, spread over all that it has."""

    def __init__(self, family: str, engine: str) -> None:
        self.family, self.engine = FAMILIES[family], engine
        self.item = Item(family, "torch", "eager", engine)
        #: cases in a gate
        self.size = GATE.random if engine == "random" else sum(1 for _ in cases(self.family, self.item, GATE, 0))
        self._turn = 0
        self._found: Iterator[Any] = iter(())

    def take(self, wanted: int) -> Taken:
        """Draws and judges about ``wanted`` cases."""
        judge = Judge(self.family, MODES["eager"], Ledger(()))
        return self._deal(judge, wanted) if self.engine == "random" else self._enumerate(judge, wanted)

    def _deal(self, judge: Judge, wanted: int) -> Taken:
        dealt: list[Case] = []

        def judged(case: Any) -> None:
            dealt.append(Case(*case))  # a copy, so that the judged case's arrays are freed
            judge(case)

        self._turn += 1
        budget = replace(GATE, random=DECK * max(1, round(wanted / DECK * self.family.cost)))
        started = time.perf_counter()
        decks(self.family, self.item, budget, self._turn, judged)
        return Taken(dealt, time.perf_counter() - started)

    def _enumerate(self, judge: Judge, wanted: int) -> Taken:
        taken: list[Case] = []
        seconds = 0.0
        skipped = max(0, CHUNK * self.size // max(wanted, 1) - CHUNK)
        while len(taken) < wanted:
            started = time.perf_counter()
            chunk = list(itertools.islice(self._found, CHUNK))
            copies = [Case(*case) for case in chunk]
            for case in chunk:
                judge(case)
            seconds += time.perf_counter() - started
            taken += copies
            # What lies between the chunks is drawn by a gate, but not by this round.
            last = next(itertools.islice(self._found, skipped, None), None)
            if not chunk or last is None:
                self._turn += 1
                self._found = itertools.islice(cases(self.family, self.item, GATE, 0), self._turn % CHUNK, None)
        return Taken(taken, seconds)


def timed(work: Callable[[], Any]) -> float:
    """Seconds that ``work`` takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def main(
    rounds: Annotated[int, typer.Option(help="How often each of the three takes its turn.")] = 5,
    cases: Annotated[int, typer.Option(help="Cases per round.")] = 3000,
) -> None:
    """Prints a table and, as the last line, JSON: cases per second of raw, embcheck and plain, and their ratios."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    cells = [Cell(family, engine) for family in ("lookup", "gradient", "padding") for engine in ENGINES]
    total = sum(cell.size for cell in cells)
    first = timed(lambda: [cell.take(DECK) for cell in cells] and plain.run(2))

    judged: list[list[float]] = [[] for _ in cells]  # seconds per case, by cell and round
    rawly: list[list[float]] = [[] for _ in cells]
    plainly: list[float] = []
    compared = wrong = 0
    for turn in range(rounds):
        for cell, ours, theirs in zip(cells, judged, rawly, strict=True):
            taken = cell.take(max(CHUNK, cases * cell.size // total))
            specs = [raw.spec(cell.family.name, case) for case in taken.cases]
            started = time.perf_counter()
            wrong += raw.loop(specs, seed=turn)
            theirs.append((time.perf_counter() - started) / len(specs))
            ours.append(taken.seconds / len(specs))
            compared += len(specs)
        started = time.perf_counter()
        checked = plain.run(max(2, cases // PLAIN_SHARE // 3))
        plainly.append((time.perf_counter() - started) / checked)

    shares = [cell.size / total for cell in cells]

    def together(seconds: list[list[float]]) -> list[float]:
        """Seconds per case of all engines together, in each round."""
        return [sum(s * cell[turn] for s, cell in zip(shares, seconds, strict=True)) for turn in range(rounds)]

    all_ours, all_raw = together(judged), together(rawly)
    table = Table(title="Checked cases per second and core")
    for name in ("family", "engine", "share", "raw", "embcheck", "embcheck/raw"):
        table.add_column(name, justify="left" if name in ("family", "engine") else "right")
    rows = [(cell.family.name, cell.engine, share) for cell, share in zip(cells, shares, strict=True)]
    for (family, engine, share), ours, theirs in zip(
        [*rows, ("all", "together", 1.0)], [*judged, all_ours], [*rawly, all_raw], strict=True
    ):
        table.add_row(family, engine, f"{share:.1%}", rate(theirs), rate(ours), f"{ratio(theirs, ours):.2f}")
    console = Console()
    console.print(table)
    console.print(
        f"plain Hypothesis suite: {rate(plainly)} cases per second; embcheck/plain {ratio(plainly, all_ours):.1f}\n"
        f"start-up, not counted: imports {_IMPORTED - _STARTED:.1f} s, first cases {first:.1f} s\n"
        f"raw: {wrong} of {compared} cases did not come out as expected"
    )
    print(
        json.dumps(
            {
                "raw": round(1 / statistics.median(all_raw), 1),
                "embcheck": round(1 / statistics.median(all_ours), 1),
                "plain": round(1 / statistics.median(plainly), 1),
                "embcheck/raw": round(ratio(all_raw, all_ours), 3),
                "embcheck/plain": round(ratio(plainly, all_ours), 2),
                "rounds": rounds,
                "cases": compared,
                "raw_unexpected": wrong,
            }
        )
    )


def rate(seconds: list[float]) -> str:
    """Cases per second, in the median round."""
    return f"{1 / statistics.median(seconds):,.0f}"


def ratio(theirs: list[float], ours: list[float]) -> float:
    """How many times as fast we are as they, in the median round."""
    return statistics.median(a / b for a, b in zip(theirs, ours, strict=True))


if __name__ == "__main__":
    typer.run(main)
