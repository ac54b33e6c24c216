"""What AMX gets wrong is known where it applies and judged without it: seen with recorded machines and a planted fault."""

import itertools
from dataclasses import replace
from datetime import date
from typing import Any

import pytest
import torch
from records import MACHINES

from embcheck.core.case import LookupCase
from embcheck.core.ledger import SHIPPED, load
from embcheck.core.onednn import reads_on
from embcheck.core.result import Difference
from embcheck.engine.tally import Tallies
from embcheck.families.conversion.cases import ConversionCase
from embcheck.modes.mode import MODES
from embcheck.subject.collect import load_families
from selfcheck.fault import FAULTS, patched
from selfcheck.faults.bugs import leaks

AMX = FAULTS["products_read_on_behind_rows"]
FAMILIES = load_families()
ENTRY = "amx-reads-on-behind-rows"
LEDGER = load(SHIPPED, "2.13.0", date(2026, 11, 1))
pytestmark = pytest.mark.skipif(not hasattr(torch.library, "get_kernel"), reason="this torch gives no kernel back")

DENSE = ConversionCase(33, 17, shape=(17,), input="dense", values="small", input_layout="column_slice")
LINEAR = LookupCase(
    2, 67, shape=(31,), layout="transposed", upstream_layout="swapped", entry="linear", route="preset_zeros"
)
#: What has NaN or infinity behind its rows and is multiplied in bfloat16; its family.
CASES: dict[str, tuple[str, Any]] = {
    "a conversion": ("conversion", DENSE.but(dtype="bfloat16")),
    "a batch": ("conversion", DENSE.but(shape=(2, 17), dtype="bfloat16")),
    "a conversion's gradient": ("conversion", DENSE.but(shape=(31,), dtype="bfloat16", upstream_layout="swapped")),
    "a gradient of one_hot's product": ("gradient_routes", LINEAR.but(dtype="bfloat16")),
}
RIGHT: dict[str, tuple[str, Any]] = {
    "one tile of rows": ("conversion", DENSE.but(shape=(5,), dtype="bfloat16")),
    "no tail": ("conversion", DENSE.but(num_embeddings=36, embedding_dim=64, shape=(36,), dtype="bfloat16")),
    "single precision": ("conversion", DENSE),
}


def judged(name: str, machine: str) -> Tallies:
    """The tallies of all laws of the case's family on that case."""
    family, case = (CASES | RIGHT)[name]
    tallies = Tallies(FAMILIES[family], MODES["eager"], LEDGER.on(MACHINES[machine]))
    tallies(case)
    return tallies


def violated(tallies: Tallies) -> set[str]:
    assert tallies.cases == 1
    assert not any(tally.unknown for tally in tallies.each)
    return {tally.law.name for tally in tallies.each if tally.violations}


@pytest.mark.parametrize("name", CASES)
def test_on_such_a_machine_it_is_known_and_elsewhere_it_would_be_red(name: str) -> None:
    with AMX.plant():
        there, elsewhere = judged(name, "xeon-amx"), judged(name, "epyc")
        capped = judged(name, "xeon-amx-capped")
    assert violated(there) == set()
    assert sum(tally.entries.get(ENTRY, 0) for tally in there.each) >= 1
    assert violated(elsewhere) == violated(capped) != set()
    assert {kind for tally in elsewhere.each for kind in tally.kinds} <= {"bound: NaN", "value: NaN", "bits: NaN"}


@pytest.mark.skipif(leaks(), reason="torch does it itself on this machine")
@pytest.mark.parametrize("name", [*CASES, *RIGHT])
def test_without_the_bug_everything_holds(name: str) -> None:
    assert violated(judged(name, "epyc")) == set()


@pytest.mark.parametrize("name", RIGHT)
def test_it_is_not_known_where_the_bug_is_not(name: str) -> None:
    with AMX.plant():
        assert violated(judged(name, "epyc")) == set()
    assert not RIGHT[name][1].facts()["reads_on"]


def test_the_region_is_the_measured_one() -> None:
    """On a Xeon 94 of the widths from 1 to 129 leak with 32 and with 64 rows, none with 2 and with 5."""
    for rows, count in ((2, 0), (5, 0), (32, 94), (64, 94)):
        assert sum(reads_on(rows, width, 64, gaps=False) for width in range(1, 130)) == count
    assert [width for width in range(31, 41) if not reads_on(32, width, 64)] == [32, 36, 40]


@pytest.mark.skipif(not leaks(), reason="torch on this machine does not read on")
def test_the_region_is_this_machines() -> None:
    """Where torch does it itself, the region has the products that it leaks in and no others."""
    sizes = itertools.product((5, 16, 17, 32, 33, 65), (*range(1, 70), 94, 96, 127, 129), (1, 2, 17, 48))
    for (rows, width, columns), gap in itertools.product(sizes, (0, 1)):
        x = torch.full((rows, width + gap), torch.inf, dtype=torch.bfloat16)[:, :width]
        x[0] = 1.0
        product = torch.nn.functional.linear(x, torch.ones(columns, width, dtype=torch.bfloat16))
        leaking = reads_on(rows, width, columns, gaps=bool(gap))
        assert bool(product[0].isnan().any()) == leaking, (rows, width, columns, gap)


@pytest.mark.parametrize("name", ["a conversion", "a batch"])
def test_the_region_goes_on_being_judged(name: str) -> None:
    """Where NaN is excused, the same products are judged with finite numbers behind the rows: a second bug is seen."""
    with AMX.plant():
        right = torch.nn.functional.linear

        def twice_with_many_rows(x: Any, weight: Any, bias: Any = None) -> Any:
            value = right(x, weight, bias)
            return value * 2 if x.shape[:-1].numel() > 16 else value

        with patched(torch.nn.functional, linear=twice_with_many_rows):
            tallies = judged(name, "xeon-amx")
            (tally,) = [tally for tally in tallies.each if tally.law.name == "converted_module_computes_its_formula"]
            assert list(tally.kinds) == ["bound"], "not the NaN that is known"
            case, found = tally.kinds["bound"]
            again = tallies.fails(tally.law, case, "bound")
    assert isinstance(again, Difference), "the reducer finds it again"
    assert replace(again) == found
