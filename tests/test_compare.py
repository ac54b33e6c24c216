"""Two runs side by side: what broke, what was fixed, what is not compared, and what a baseline excuses."""

from dataclasses import replace
from pathlib import Path

import pytest
from command import Command
from records import written

from embcheck.core.verdict import Counterexample, Status, Verdict
from embcheck.record.compare import Baseline, Change, Move, across, compare, differences_of_setup
from embcheck.record.record import Record
from embcheck.report.changes import closing, lines
from embcheck.runner.run import settle

NA, HOLDS, KNOWN, UNKNOWN, VIOLATED = Status


def verdict(status: Status, *kinds: str, law: str = "law", mode: str = "eager", worst: float | None = None) -> Verdict:
    """A verdict with a counterexample for each kind; ``kind@case`` names the case."""
    examples = tuple(
        Counterexample(law, "f", "torch", mode, "cpu", case or "LookupCase()", kind, "wrong")
        for kind, _, case in (name.partition("@") for name in kinds)
    )
    return Verdict(law, "f", "torch", mode, "all", status, worst=worst, counterexamples=examples)


def changes(before: list[Verdict], after: list[Verdict]) -> list[Change]:
    return compare(*(Record({}, each, footer={"stopped": "finished"}) for each in (before, after)))


def test_what_a_record_lacks_that_was_cut_off_is_not_gone() -> None:
    cut, whole = [verdict(HOLDS)], [verdict(HOLDS), verdict(HOLDS, law="other")]
    assert [change.move for change in changes(whole, cut)] == [Move.GONE]
    assert compare(Record({}, whole), Record({}, cut)) == []


@pytest.mark.parametrize(
    ("before", "after", "move", "words"),
    [
        (HOLDS, VIOLATED, Move.BROKEN, "holds → violated"),
        (KNOWN, VIOLATED, Move.BROKEN, "known → violated"),
        (HOLDS, UNKNOWN, Move.UNDECIDED, "holds → unknown"),
        (HOLDS, KNOWN, Move.KNOWN, "holds → known"),
        (VIOLATED, HOLDS, Move.FIXED, "violated → holds"),
        (KNOWN, HOLDS, Move.FIXED, "known → holds"),
        (VIOLATED, KNOWN, Move.EASED, "violated → known"),
        (UNKNOWN, HOLDS, Move.DECIDED, "unknown → holds"),
        (None, HOLDS, Move.NEW, "not there → holds"),
        (None, VIOLATED, Move.NEW, "not there → violated"),
        (NA, HOLDS, Move.NEW, "not applicable → holds"),
        (NA, VIOLATED, Move.BROKEN, "not applicable → violated"),
        (NA, UNKNOWN, Move.UNDECIDED, "not applicable → unknown"),
        (HOLDS, None, Move.GONE, "holds → not there"),
        (VIOLATED, NA, Move.GONE, "violated → not applicable"),
    ],
)
def test_every_move_has_a_name(before: Status | None, after: Status | None, move: Move, words: str) -> None:
    (change,) = changes([verdict(before)] if before is not None else [], [verdict(after)] if after is not None else [])
    assert (change.move, change.words) == (move, words)


@pytest.mark.parametrize(("was", "now"), [(KNOWN, HOLDS), (HOLDS, KNOWN)])
def test_what_is_known_on_other_cases_alone_is_neither_fixed_nor_broken(was: Status, now: Status) -> None:
    old, new = ({"settings": {"profile": name, "seed": "0"}} for name in ("gate", "quick"))
    before, after = replace(verdict(was), digest="a"), replace(verdict(now), digest="b")
    (change,) = compare(Record(old, [before]), Record(new, [after]))
    assert (change.move, closing([change])) == (Move.OTHER_CASES, "laws: 1 known on other cases")
    same, one = (
        compare(Record(old, [before]), Record(*record))
        for record in ((old, [after]), (new, [replace(after, digest="a")]))
    )
    assert Move.OTHER_CASES not in (same[0].move, one[0].move)


def test_what_stays_is_no_change() -> None:
    assert changes([], [verdict(NA)]) == []
    assert [status for status in Status if changes([verdict(status)], [verdict(status)])] == []


def test_a_further_kind_of_difference_or_another_case_is_a_further_break() -> None:
    one, two = verdict(VIOLATED, "a"), verdict(VIOLATED, "a", "b")
    (worse,), (better,) = changes([one], [two]), changes([two], [one])
    assert (worse.move, worse.causes, better.move) == (Move.BROKEN, (("b", "LookupCase()"),), Move.EASED)
    assert worse.words == "still violated, on other cases: b"
    sparse, dense = verdict(VIOLATED, "value@LookupCase(sparse=True)"), verdict(VIOLATED, "value@LookupCase()")
    (change,) = changes([sparse], [dense])
    assert (change.move, change.words) == (Move.BROKEN, "still violated, on other cases: value")
    assert [line.plain for line in lines([change])][-1] == "      LookupCase()   wrong"


def test_of_several_items_those_that_ran_in_both_are_compared() -> None:
    right, wrong = replace(verdict(HOLDS), part="0/2"), replace(verdict(VIOLATED, "value"), part="1/2")
    assert changes([right], [right, wrong]) == []


def test_what_one_record_did_not_select_is_counted_and_not_broken(tmp_path: Path, command: Command) -> None:
    scope, random = (replace(verdict(HOLDS), engine=engine, cases=3) for engine in ("scope", "random"))
    wrong = replace(verdict(VIOLATED, "value"), engine="scope")
    other = verdict(VIOLATED, "value", law="other")
    assert changes([random], [wrong, random]) == [], "the scope was not selected in the first"
    assert [change.move for change in changes([scope, random], [wrong, random])] == [Move.BROKEN]
    (new,) = changes([random], [random, other])
    assert new.move is Move.NEW
    told = [line.plain for line in lines([new])]
    assert told == ["judged in the second alone, not compared", "  laws: 1 violated", "  other (eager): violated"]
    further = changes([], [replace(verdict(HOLDS), mode=mode) for mode in ("eager", "vmap")])
    assert lines(further)[1].plain == "  laws: 1 holds   (in eager, vmap)"
    one, two = written(tmp_path / "one", random), written(tmp_path / "two", random, wrong, other)
    command("diff", one, two)
    command("diff", written(tmp_path / "three", scope), two, ends=1)


@pytest.mark.parametrize(
    ("one", "other", "moves"),
    [
        ("product", "scope", [Move.NEW, Move.GONE]),
        ("random 0/2", "random 1/2", [Move.NEW, Move.GONE]),
        ("random 0/2", "random 0/2", [Move.BROKEN]),
        ("random 0/2", "random 0/1", [Move.BROKEN]),
    ],
)
def test_what_no_item_of_both_judged_is_not_compared(one: str, other: str, moves: list[Move]) -> None:
    (engine, _, part), (engine_too, _, part_too) = one.partition(" "), other.partition(" ")
    right = replace(verdict(HOLDS), engine=engine, part=part)
    wrong = replace(verdict(VIOLATED, "value"), engine=engine_too, part=part_too)
    assert [change.move for change in changes([right], [wrong])] == moves


def test_modes_are_compared_each_by_itself_the_worst_first_and_a_law_counts_once() -> None:
    modes = ("eager", "vmap", "export", "meta", "fake")
    found = changes([verdict(HOLDS, mode=mode) for mode in modes], [verdict(VIOLATED, mode=mode) for mode in modes])
    assert (len(found), closing(found)) == (5, "laws: 1 broken")
    before = [verdict(HOLDS), verdict(HOLDS, mode="vmap"), verdict(HOLDS, worst=0.25, law="near")]
    after = [verdict(HOLDS), verdict(VIOLATED, mode="vmap"), verdict(HOLDS, worst=0.75, law="near")]
    first, second = changes(before, after)
    assert (first.mode, first.move) == ("vmap", Move.BROKEN)
    assert (second.law, second.words) == ("near", "0.25 → 0.75")
    assert closing([first, second]) == "laws: 1 broken, 1 with another ratio"
    assert first.before is not None
    gone = replace(first, move=Move.GONE, before=replace(first.before, family="ledger"), after=None)
    assert closing([first, gone]) == "laws: 1 broken · witnesses of the ledger: 1 gone"


def excused(old: list[Verdict], new: list[Verdict]) -> bool:
    """Whether a baseline excuses all that fails; marked and merged as a run does."""
    baseline = Baseline(Record({}, old))
    marked = [baseline.marked(each) for each in new]
    settled = settle(marked, ())
    failing = {each.key for each in settled if each.status >= UNKNOWN}
    return bool(failing) and failing == baseline.excused(marked, settled)


def test_what_is_unknown_beside_a_known_violation_is_not_excused() -> None:
    old = [verdict(VIOLATED, "a")]
    dark = replace(verdict(UNKNOWN), reasons=("the oracle raised ValueError",))
    assert not excused(old, [verdict(VIOLATED, "a"), dark])
    assert excused(old, [verdict(VIOLATED, "a"), replace(verdict(NA), reasons=("not applicable: no vmap (3 cases)",))])
    owing = replace(verdict(VIOLATED, "a"), must_cover=("empty",))
    settled = settle([owing], {"f"})
    assert settled[0].status == VIOLATED
    assert not Baseline(Record({}, old)).excused([owing], settled), "an obligation that no case met is not excused"


def test_what_differs_beside_the_verdicts_is_told() -> None:
    header = {"settings": {"seed": "0"}, "versions": {"torch": "2.9.1", "numpy": "2.0"}, "python": "3.9", "source": "x"}
    machine = {"cpu": "A", "isa": ["avx2"], "cores": 2}
    a = Record({**header, "machine": machine})
    b = Record({**header, "settings": {"seed": "1"}, "versions": {"torch": "2.13.0", "numpy": "2.1"},
                "machine": {"cpu": "B", "isa": ["avx2", "amx_bf16"], "cores": 4}})  # fmt: skip
    assert differences_of_setup(a, b) == ["seed 0 → 1", "numpy 2.0 → 2.1"]
    told = "compared across torch 2.9.1 → 2.13.0 and machines (cpu A → B, isa avx2 → avx2 amx_bf16)"
    assert across(a, b) == told
    assert differences_of_setup(a, a) == []
    split = Record(
        {**header, "settings": {"seed": "0", "shard": "2/2", "ledger": "mine.toml", "only_ledger": "own.toml"}}
    )
    assert differences_of_setup(a, split) == ["ledger – → mine.toml", "only_ledger – → own.toml", "shard – → 2/2"]
    assert across(a, a) == ""
    live = Record(
        {**a.header, "machine": {**machine, "isa": ("avx2",), "cores": 64, "cpu_capability": "AVX2", "blas": "mkl"}}
    )
    assert across(a, live) == "", "the first has proved nothing, and a record in a file has lists"
    other = Record({**live.header, "machine": {**live.header["machine"], "cpu_capability": "DEFAULT"}})
    assert across(live, other) == "compared across machines (cpu_capability AVX2 → DEFAULT)"
    assert across(a, Record(header)) == "compared across machines, perhaps (the second record does not say its own)"
