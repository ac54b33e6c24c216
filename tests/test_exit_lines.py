"""How scripts end: with 1 for their own difference alone, with 0 for what is right, with 2 for anything else."""

import math
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import torch
from command import Patch
from warm import SLOW

from embcheck.core.axes import parse
from embcheck.core.comparison import identical, left_alone, same, within
from embcheck.core.outcome import AROUND, Missing, Outcome
from embcheck.core.result import Difference, Violated
from embcheck.engine import exit_lines
from embcheck.engine.crashes.alone import exit_status
from embcheck.engine.evaluate import evaluate
from embcheck.engine.execute import read, run
from embcheck.engine.exit_lines import OTHERWISE, call_and_exit, compared
from embcheck.engine.literal import input_lines
from embcheck.modes.mode import MODES
from embcheck.subject.collect import load_families


def ends(lines: list[str], **names: Any) -> int | None:
    """The exit status of lines that see some names."""
    return exit_status(lambda: exec("\n".join(["import sys", OTHERWISE, *lines]), {"torch": torch, **names}))


NAN, INF = math.nan, math.inf


@pytest.mark.parametrize(
    ("got", "expected", "bound", "status"),
    [
        (2.0, 3.0, 0.0, {2.0: 1, 3.0: 0, 4.0: 2, NAN: 2, INF: 2}),
        (2, 3, 0.0, {2: 1, 3: 0, 4: 2, "x": 2, None: 2}),
        (NAN, 3.0, 0.0, {NAN: 1, 3.0: 0, 2.0: 2}),
        (2.0, NAN, 0.0, {2.0: 1, NAN: 0, 3.0: 2}),
        (INF, 3.0, 0.0, {INF: 1, -INF: 2, 3.0: 0, 4.0: 2}),
        (2.0, 3.0, 0.25, {2.0: 1, 2.25: 1, 2.75: 0, 3.25: 0, 2.5: 2, 3.5: 2, NAN: 2}),
        (0.1, 0.3, 0.0, {0.1: 1, 0.1 + 1e-12: 1, 0.11: 2, 0.3: 0, 0.3 + 1e-12: 2}),
        (NAN, 3.0, INF, {NAN: 1, 3.0: 0, 1e30: 0}),
        ([1, 2], [1], 0.0, {(1,): 2}),
        (True, False, 0.0, {True: 1, False: 0, None: 2}),
        (1 + 2j, 3j, 0.0, {1 + 2j: 1, 3j: 0, 1j: 2}),
    ],
)
def test_values(got: Any, expected: Any, bound: float, status: Mapping[Any, int]) -> None:
    lines = compared(Difference("value", 'seen["x"]', got, expected, "", bound))
    assert {repr(now): ends(lines, seen={"x": now}) for now in status} == {repr(k): v for k, v in status.items()}
    assert ends(lines, seen={"x": expected}) == 0
    if type(got) in (bool, int, float, complex):
        assert ends(lines, seen={"x": torch.tensor(got, dtype=None if type(got) is not float else torch.float64)}) == 1
    assert ends(lines, seen={"x": torch.zeros(3)}) == 2, "no single value"
    assert ends(lines, seen={}) == 2, "no such observation"


def test_what_can_be_wrong_in_one_way_only(capfd: pytest.CaptureFixture[str]) -> None:
    many = compared(Difference("too many", 'seen["x"]', 7, 5, ""))
    assert [ends(many, seen={"x": n}) for n in (4, 5, 6, 7)] == [0, 0, 1, 1]
    left = left_alone(Outcome({"surroundings": ["the grad mode"]}, read).surroundings)
    assert isinstance(left, Difference)
    told: tuple[list[str], ...] = (["the grad mode"], [], ["the default dtype"])
    assert [ends(compared(left), seen={"surroundings": each}) for each in told] == [1, 0, 2]
    untrue = compared(Difference("untrue", 'seen["x"]', False, True, ""))
    assert [ends(untrue, seen={"x": x}) for x in (True, False, 0, [1])] == [0, 1, 1, 0]
    bits = compared(Difference("bits: zero", 'seen["x"][0]', -(2**31), 0, "", bits=True))
    assert [ends(bits, seen={"x": torch.tensor([x])}) for x in (-0.0, 0.0, 1.0)] == [1, 0, 2]
    capfd.readouterr()  # beside bits the number is printed
    bits = compared(Difference("bits: zero", 'seen["x"][0]', 0, 1065353216, "", bits=True))
    assert ends(bits, seen={"x": torch.tensor([0.0])}) == 1
    assert capfd.readouterr().out == "got 0.0\nits bits 0 expected 1065353216\n"


PAIR = 'seen["x"]', 'seen["y"]'


@pytest.mark.parametrize(
    ("got", "expected", "bound", "statuses"),
    [
        # two observations: another pair of numbers that are apart is the same difference
        (2.0, 3.0, 0.0, {(2.0, 3.0): 1, (5.0, 7.0): 1, (7.0, 7.0): 0, (NAN, NAN): 0, (NAN, 7.0): 2, (7.0, INF): 2}),
        (2, 3, 0.0, {(5, 7): 1, (7, 7): 0, (None, 7): 2}),
        (NAN, 3.0, 0.0, {(NAN, 7.0): 1, (7.0, 7.0): 0, (5.0, 7.0): 2, (NAN, NAN): 0}),
        (2.0, NAN, 0.0, {(5.0, NAN): 1, (NAN, NAN): 0, (5.0, 7.0): 2}),
        (INF, 3.0, 0.0, {(INF, 7.0): 1, (-INF, INF): 1, (INF, INF): 0, (5.0, 7.0): 2}),
        (2.0, 3.0, 0.25, {(5.0, 7.0): 1, (7.0, 7.25): 0, (7.0, 7.5): 1, (INF, INF): 0, (INF, 7.0): 2}),
        ([1, 2], [1], 0.0, {((1,), (2,)): 1, ((3,), (3,)): 0, (None, (3,)): 2}),
        (None, [1], 0.0, {(None, (3,)): 1, ((3,), (3,)): 0, ((4,), (3,)): 2}),
        (True, False, 0.0, {(False, True): 1, (True, True): 0, (None, True): 2}),
    ],
)
def test_two_observations(got: Any, expected: Any, bound: float, statuses: Mapping[tuple[Any, Any], int]) -> None:
    lines = compared(Difference("value", PAIR[0], got, expected, "", bound, beside=PAIR[1]))
    assert {repr(pair): ends(lines, seen=dict(zip("xy", pair, strict=True))) for pair in statuses} == {
        repr(pair): status for pair, status in statuses.items()
    }
    assert ends(lines, seen={"x": got}) == 2, "no such observation"


def test_two_observations_bit_for_bit() -> None:
    def pair(x: float, y: float) -> dict[str, Any]:
        return {"x": torch.tensor([x]), "y": torch.tensor([y])}

    def found(x: float, y: float) -> list[str]:
        out = Outcome(pair(x, y), read)
        difference = identical(out.x, out.y)
        assert isinstance(difference, Difference)
        assert (difference.path, difference.beside) == ('seen["x"][0]', 'seen["y"][0]')
        return compared(difference)

    zeros, values = found(-0.0, 0.0), found(2.0, 3.0)
    pairs = ((-0.0, 0.0), (0.0, -0.0), (0.0, 0.0), (1.0, 2.0))
    assert [ends(zeros, seen=pair(*each)) for each in pairs] == [1, 1, 0, 2]
    assert [ends(values, seen=pair(*each)) for each in ((2.0, 3.0), (5.0, 7.0), (7.0, 7.0))] == [1, 1, 0]


@pytest.mark.parametrize("compare", [same, identical, lambda got, expected: within(got, expected, 0.25)])
def test_an_expected_observation_is_compared_as_its_elements_are(compare: Any) -> None:
    """The verdict is the same as of the numbers that it holds; only the place is told as well."""
    x, y = torch.tensor([[1.0, -0.0, NAN]]), torch.tensor([[1.0, 0.0, NAN], [1.0, 4.0, NAN]])
    out = Outcome({"x": x, "y": y, "none": None, "sparse": y.to_sparse(1)}, read)
    for got in (out.x[0], out.y[0], out.y[1], out.y):
        for expected in (out.x[0], out.y[0], out.y[1], out.sparse):
            numbers = expected.bits if compare is identical else expected.values
            told, plain = compare(got, expected), compare(got, numbers)
            assert told == plain
            if isinstance(told, Difference):
                assert told.beside.startswith(f"{expected.place}[") or told.kind == "shape"
                assert ends(compared(told), seen=out.seen) == 1
    with pytest.raises(Missing):
        compare(out.y, out.none)


WORDS = "raised ValueError (no such size 3), expected KeyError"


@pytest.mark.parametrize(
    ("found", "refused", "statuses"),
    [
        # nothing, that error, one of another message, one of another type
        (Difference("raised ValueError", "error", "raised ValueError: no such size 3", None, ""), False, (0, 1, 2, 2)),
        (Difference("raised ValueError", "error", "raised ValueError: ", None, ""), False, (0, 2, 2, 2)),
        (Difference("raised ValueError", "error", "raised ValueError: at 0x7f00 no such size", None, ""), False, (0, 1, 2, 2)),
        (Difference("accepted", "error", "no error", "ValueError or IndexError", ""), True, (1, 0, 0, 2)),
        (Difference("raised ValueError", "error", "ValueError", "KeyError", WORDS), True, (2, 1, 2, 0)),
        (Difference("value", 'seen["x"]', 1, 2, ""), False, (1, 2, 2, 2)),
        (Difference("setting", "torch.is_grad_enabled()", False, True, ""), False, (0, 2, 2, 2)),
        (Difference("setting", "torch.is_grad_enabled()", False, True, ""), True, (0, 0, 0, 0)),
        (Difference("setting", "torch.is_grad_enabled()", True, False, ""), False, (1, 1, 1, 1)),
        (Difference("unreadable", 'seen["x"]', 1, None, ""), False, (1, 2, 2, 2)),
    ],
)  # fmt: skip
def test_errors(found: Difference, refused: bool, statuses: tuple[int, ...]) -> None:
    lines = call_and_exit("seen = call()", {}, found, refused)
    errors = None, ValueError("no such size 3"), ValueError("another"), KeyError("x")
    assert tuple(ends(lines, call=Mock(side_effect=error, return_value={"x": 1})) for error in errors) == statuses


@pytest.mark.parametrize("around", [True, False])
def test_memory(around: bool) -> None:
    """Told apart are a tensor's own elements and what lies around them, which nothing may write."""
    case: Any = parse("LookupCase(num_embeddings=2, embedding_dim=2, shape=(1,))")
    given = load_families()["lookup"].plan(case).inputs["weight"]
    for layout in ("contiguous", "transposed", "column_slice"):
        inputs = {"weight": given._replace(layout=layout)}
        words = AROUND if around else "its elements changed"
        found = Difference("wrote weight", "written", f"weight: {words}", "unchanged", words)
        lines = input_lines("weight", inputs["weight"], True)
        lines += call_and_exit("seen = call(weight.detach(), weight_memory)", inputs, found, False)
        acts = (lambda w, m: None, lambda w, m: w.add_(1), lambda w, m: m[:1].zero_())
        assert [ends(lines, call=act) for act in acts] == ([0, 0, 1] if around else [0, 1, 1])


#: Some CPU time first, as any script takes that imports torch: less than a hundredth of a second can be told as none.
WAIT = """\
while time.process_time() < 0.1: pass
threading.Event().wait()
"""
BUSY = """\
other = subprocess.Popen([sys.executable, "-c", "import time\\nwhile True:\\n    sum(range(10**6)); time.sleep(0.2)"])
try: other.wait(5)
except subprocess.TimeoutExpired: other.kill()
"""


HANGING = {
    "spins": ("[None for _ in iter(int, 1)]", 1),
    "waits": (WAIT, 1),
    "comes back": ("pass", 0),
    "gets little time": (SLOW, 0),
    "another works": (BUSY, 0),
    "raises": ("raise KeyError('x')", 2),
    "dies": ("os.kill(os.getpid(), signal.SIGSEGV)", 2),
}


def test_a_hang_is_told_by_the_time_that_was_used(tmp_path: Path, monkeypatch: Patch) -> None:
    """All at once, for most of them wait."""
    monkeypatch.setattr(exit_lines, "_CPU", 1)
    monkeypatch.setattr(exit_lines, "_IDLE", 3)
    monkeypatch.setattr(exit_lines, "_NEXT_TO_NONE", 1)
    found = Difference("hang", "error", "hang", None, "no end")
    lines = ["import os, sys, threading, time", *exit_lines.imports(found), OTHERWISE, *exit_lines.in_a_child(found)]
    started = {}
    for name, (body, _) in HANGING.items():
        path = tmp_path / f"{name}.py"
        path.write_text("\n".join([*lines, body]), encoding="utf-8")
        started[name] = subprocess.Popen([sys.executable, path], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    ended = {name: script.wait(3600) for name, script in started.items()}
    assert ended == {name: status for name, (_, status) in HANGING.items()}


# -- every law's differences -----------------------------------------------------------------------------------------


def spoilt(value: Any, depth: int = 0) -> Iterator[Any]:
    """What may be observed instead."""
    match value:
        case torch.Tensor() if value.layout == torch.strided and value.device.type == "cpu" and not value.is_nested:
            copy = value.detach().clone(memory_format=torch.contiguous_format)
            if copy.numel() and (copy.is_floating_point() or copy.dtype in (torch.int64, torch.int32, torch.uint8)):
                if "float8" not in str(copy.dtype) and "float4" not in str(copy.dtype):
                    copy.view(-1)[0] += 1
                    yield copy
                yield torch.zeros_like(copy)
            yield copy[None]
            yield None
        case bool():
            yield not value
        case int() | float():
            yield value + 1
            yield value + 10**9  # laws of what a call costs allow some more
        case str():
            yield value + "x"
        case list() if value and depth < 3:
            yield value[:-1]
            yield from ([*value[:-1], last] for last in spoilt(value[-1], depth + 1))
        case dict() if value and depth < 3:
            first = next(iter(value))
            yield {name: each for name, each in value.items() if name != first}
            yield from ({**value, first: each} for each in spoilt(value[first], depth + 1))


@pytest.mark.parametrize("name", load_families())
def test_a_difference_is_found_again(name: str, full: bool) -> None:
    """Whatever a law finds wrong in what was observed the lines of a script find as well, and not in what was right.

    Of two cases of a family, and of eight with ``--full``.
    """
    family = load_families()[name]
    mode, shown = MODES[family.modes[0]], 0
    cases = [case for case in family.space.cover(1, 0) if not family.refused(case)]
    for case in cases[:: max(1, len(cases) // (8 if full else 2))]:
        out = run(family.plan(case), mode)
        if out.error is not None:
            continue
        results = evaluate(family, mode, case, family.laws, returning(out))
        right = [law for law, result in zip(family.laws, results, strict=True) if not isinstance(result, Violated)]
        for key, value in out.seen.items():
            for instead in spoilt(value):
                seen = {**out.seen, key: instead}
                wrong = Outcome(seen, read, mode=mode.name, makes_graph=mode.grad, keeps_memory=mode.aliases)
                for law, result in zip(right, evaluate(family, mode, case, right, returning(wrong)), strict=True):
                    # That a refuted claim holds is a difference in no place of what was observed.
                    if isinstance(result, Violated) and result.difference.kind not in ("unreadable", "claim holds"):
                        lines = compared(result.difference)
                        assert ends(lines, seen=seen) == 1, (law.name, result.difference, repr(case))
                        if f'["{key}"]' in result.difference.path:
                            assert ends(lines, seen=out.seen) != 1, (law.name, result.difference, repr(case))
                        shown += 1
    assert shown or not cases


def returning(out: Outcome) -> Any:
    return lambda family, mode, case: out
