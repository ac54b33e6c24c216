"""Checked cases per second and core: the raw loop, embcheck's engines, and a plain Hypothesis suite.

    python -m bench.throughput [--rounds 5] [--cases 3000] [--profile full]

All three look up and differentiate by `torch.nn.functional.embedding` itself, once, in tables of the sizes that the plain
suite draws.  embcheck's cases are those of its engines, each brought to that size and call; flags, dtypes, layouts,
patterns and value regimes stay.

embcheck draws, expands, executes and judges inside of the clock.  The raw loop gets the same cases as prepared records.
Families count alike, engines by how many cases the profile takes from each.  The clock is the process's CPU time, the three
take turns, and medians over the rounds are reported, so that what else the machine does matters little.
Start-up is not counted; optimizers and compilation have no part in it.
"""

import itertools
import json
import statistics
import time
import warnings
from collections.abc import Iterator
from dataclasses import replace
from typing import Annotated, Any

import torch
import typer
from rich.console import Console
from rich.table import Table

from bench import plain, raw
from embcheck.core.case import LookupCase
from embcheck.core.item import DECK, ENGINES, PROFILES, Item, Profile
from embcheck.core.law import FAMILIES
from embcheck.core.ledger import Ledger
from embcheck.engine.run_item import batches
from embcheck.engine.selection import cases
from embcheck.engine.tally import Tallies
from embcheck.modes.mode import MODES
from embcheck.subject.collect import load_families
from selfcheck.candidates import Collected

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


class Cell:
    """One engine of one family: takes a number of cases from it each round, spread over all that it has."""

    def __init__(self, family: str, engine: str, profile: Profile) -> None:
        self.family, self.engine, self.profile = FAMILIES[family], engine, profile
        self.item = Item(family, "torch", "eager", engine)
        #: cases in a run
        self.size = profile.random if engine == "random" else sum(1 for _ in cases(self.family, self.item, profile, 0))
        #: seconds per case of each round
        self.ours: list[float] = []
        self.raw: list[float] = []
        self._turn = 0
        self._found: Iterator[Any] = iter(())

    def round(self, wanted: int, turn: int) -> tuple[int, int]:
        """Lets embcheck and the raw loop take their turn; how many cases that were, and how many the loop found wrong."""
        taken, seconds = self._take(wanted)
        specs = [raw.spec(self.family.name, case) for case in taken]
        started = clock()
        wrong = raw.loop(specs, seed=turn)
        self.raw.append((clock() - started) / len(specs))
        self.ours.append(seconds / len(specs))
        return len(specs), wrong

    def _take(self, wanted: int) -> tuple[list[LookupCase], float]:
        """Cases of the engine, and the seconds that drawing and judging them took."""
        tallies = Tallies(self.family, MODES["eager"], Ledger(()))
        taken: list[LookupCase] = []
        seconds = 0.0
        for drawn, spent in self._decks(wanted) if self.engine == "random" else self._chunks(wanted):
            fitted = [direct(case) for case in drawn]
            taken += [LookupCase(*case) for case in fitted]  # copies, since a case keeps what it expanded to
            started = clock()
            for case in fitted:
                tallies(case)
            seconds += spent + clock() - started
        return taken, seconds

    def _decks(self, wanted: int) -> Iterator[tuple[list[Any], float]]:
        """The cases of some decks, and the seconds that drawing them took."""
        self._turn += 1
        budget = replace(self.profile, aimed=0, random=DECK * max(1, round(wanted / DECK * self.family.cost)))
        drawn = Collected()
        started = clock()
        batches(self.family, self.item, budget, self._turn, drawn, None)  # type: ignore[arg-type]
        yield drawn, clock() - started

    def _chunks(self, wanted: int) -> Iterator[tuple[list[Any], float]]:
        """Neighbouring cases from all over an enumeration, and the seconds that drawing them took."""
        skipped = max(0, CHUNK * self.size // max(wanted, 1) - CHUNK)
        count = 0
        while count < wanted:
            started = clock()
            chunk = list(itertools.islice(self._found, CHUNK))
            yield chunk, clock() - started
            count += len(chunk)
            # What lies between the chunks is drawn by a run, but not by this round.
            if not chunk or next(itertools.islice(self._found, skipped, None), None) is None:
                self._turn += 1
                self._found = itertools.islice(cases(self.family, self.item, self.profile, 0), self._turn % CHUNK, None)


def together(shares: list[float], seconds: list[list[float]]) -> list[float]:
    """Seconds per case of some cells, weighted by their shares, in each round."""
    whole = sum(shares)
    return [sum(s * cell for s, cell in zip(shares, row, strict=True)) / whole for row in zip(*seconds, strict=True)]


def rate(seconds: list[float]) -> float:
    """Cases per second, in the median round."""
    return round(1 / statistics.median(seconds), 1)


def ratio(theirs: list[float], ours: list[float]) -> float:
    """How many times as fast we are as they, in the median round."""
    return round(statistics.median(a / b for a, b in zip(theirs, ours, strict=True)), 3)


def main(
    rounds: Annotated[int, typer.Option(help="How often each takes its turn.")] = 5,
    number: Annotated[int, typer.Option("--cases", help="Cases in a round.")] = 3000,
    profile: Annotated[str, typer.Option(help="Profile whose enumerations and shares are taken.")] = "full",
) -> None:
    """Prints a table and, as the last line, JSON: cases per second of raw, embcheck and plain, and their ratios; those that are
    enumerated and those that are drawn apart."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    load_families()
    cells = [
        Cell(family, engine, PROFILES[profile]) for family in ("lookup", "gradient", "padding") for engine in ENGINES
    ]
    sizes = {cell.family.name: sum(o.size for o in cells if o.family is cell.family) for cell in cells}
    shares = [cell.size / sizes[cell.family.name] / len(sizes) for cell in cells]
    plainly: list[float] = []
    compared = unexpected = 0
    for turn in range(-1, rounds):  # the first round warms up
        for cell, share in zip(cells, shares, strict=True):
            count, wrong = cell.round(max(CHUNK, round(number * share)) if turn >= 0 else DECK, turn + 1)
            compared, unexpected = compared + count, unexpected + wrong
        started = clock()
        checked = plain.run(max(2, number // PLAIN_SHARE // 3))
        plainly.append((clock() - started) / checked)
    del plainly[0]
    table = Table(title="checked cases per second and core")
    for name in ("family", "engine", "share", "raw", "embcheck", "embcheck/raw"):
        table.add_column(name, justify="left" if name in ("family", "engine") else "right")
    found: dict[str, Any] = {}
    parts = {f"{cell.family.name} {cell.engine}": [cell] for cell in cells}
    parts |= {"all enumerated": [cell for cell in cells if cell.engine != "random"]}
    parts |= {"all drawn": [cell for cell in cells if cell.engine == "random"], "all together": cells}
    for words, part in parts.items():
        held = [share for cell, share in zip(cells, shares, strict=True) if cell in part]
        ours, theirs = (together(held, sides) for sides in ([c.ours[1:] for c in part], [c.raw[1:] for c in part]))
        figures = rate(theirs), rate(ours), ratio(theirs, ours)
        table.add_row(
            *words.split(), f"{sum(held):.1%}", *(f"{each:,.0f}" for each in figures[:2]), f"{figures[2]:.3f}"
        )
        if words.startswith("all "):
            found[words.split()[1]] = dict(zip(("raw", "embcheck", "embcheck/raw"), figures, strict=True))
    Console().print(table, f"raw: {unexpected} of {compared} cases did not come out as expected")
    found |= {"plain": rate(plainly), "embcheck/plain": ratio(plainly, ours)}  # of all together, the last part
    print(json.dumps(found | {"rounds": rounds, "cases": compared, "raw_unexpected": unexpected}))


if __name__ == "__main__":
    typer.run(main)
