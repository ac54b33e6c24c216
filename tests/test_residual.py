"""Residual programs: what is left of a program does what the whole of it does, and what is decided or unread is gone."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

import pytest
import torch

from embcheck.core.result import Difference
from embcheck.core.shipped_ledger import shipped
from embcheck.engine.execute import run
from embcheck.engine.script import complete
from embcheck.engine.script_simplifier.simplify import simplified
from embcheck.modes.mode import MODES
from embcheck.subject.collect import load_families


def left(source: str) -> str:
    """The residual program without the lines that only some tests need."""
    return simplified(source).strip()


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("if not ():\n    print(1)\nelse:\n    print(2)", "print(1)"),
        ("if f():\n    print(1)\nelif None:\n    print(2)\nelse:\n    print(3)", "if f():\n    print(1)\nelse:\n    print(3)"),
        ("if f():\n    print(1)\nelif 1 == 1:\n    print(2)\nelse:\n    print(3)", "if f():\n    print(1)\nelse:\n    print(2)"),
        ("if False:\n    print(1)\nelif f():\n    print(2)", "if f():\n    print(2)"),
        ("print(f() and True and g(), f() or True or g())", "print(f() and g(), f() or True)"),
        ("print(f() if 'a' in ('a', 'b') else g())", "print(f())"),
        ("for x in ():\n    print(x)\nprint(2)", "print(2)"),
        ("match 'a':\n    case 'b':\n        f()\n    case 'a' | 'c':\n        print(2)\n    case _:\n        g()", "print(2)"),
        ("print(getattr(torch.optim, 'SGD'))", "print(torch.optim.SGD)"),
    ],
)  # fmt: skip
def test_what_is_decided_is_not_asked(source: str, expected: str) -> None:
    assert left(source) == expected


def test_parameters_that_every_call_gives_alike_are_settled() -> None:
    source = (
        "def twice(x):\n    return 2 * x\n\n\n"
        "def once(x):\n    return x\n\n\n"
        "def f(act, x, flag, unread, seldom=None):\n"
        "    if flag and seldom is None:\n        return act(x)\n    # said of what goes\n    return seldom\n\n\n"
        "print(f(twice, f(twice, read(), flag=True, unread=1), flag=True, unread=2))"
    )
    assert left(source) == (
        "def twice(x):\n    return 2 * x\n\n\ndef f(x):\n    return twice(x)\n\n\nprint(f(f(read())))"
    )


def test_flags_are_written_where_they_go() -> None:
    source = (
        "def look(x, **flags):\n    return lambda: torch.sum(x, **flags)\n\n\n"
        "def f(x, flags):\n    return look(x, **flags)()\n\n\n"
        "print(f(read(), flags={'dim': 0, 'keepdim': True}))"
    )
    assert left(source) == (
        "def look(x):\n    return lambda: torch.sum(x, dim=0, keepdim=True)\n\n\n"
        "def f(x):\n    return look(x)()\n\n\nprint(f(read()))"
    )


@pytest.mark.parametrize(
    "source",
    [
        "x = 1\nx = read()\nif x:\n    print(x)",
        "def f(x):\n    x = read()\n    if x:\n        print(x)\n\n\nf(1)",
        "def f(x):\n    if x:\n        print(x)\n\n\ng(f)\nf(1)",
        "def f(x):\n    if x:\n        print(x)\n\n\nf(*given)\nf(1)",
        "def f():\n    x = 0\n\n    def g():\n        nonlocal x\n        x = 1\n\n    g()\n    if x:\n        print(x)\n\n\nf()",
        "def f(table):\n    last = table.sum()\n    del last\n    return table\n\n\nprint(f(read()))",
        "def f(table):\n    table['missing']\n    return table\n\n\nprint(f(read()))",
        "class C:\n    flag = True\n\n    def f(self):\n        return self.flag\n\n\nprint(C().f())",
        "class C:\n    def __init__(self, x):\n        self.x: int = x\n\n\nprint(C(read()).x)",
        "unread = change(table)\nprint(table)",
        "def f(x, **flags):\n    return g(x, **flags), flags\n\n\nprint(f(read(), dim=0))",
    ],
)
def test_what_is_not_certain_stays(source: str) -> None:
    assert left(source) == source


def test_only_what_is_looked_at_is_looked_for() -> None:
    source = (
        "def part(x):\n    return {'kept': x.clone(), 'c': x.sum()}\n\n\n"
        "def f(x):\n"
        "    seen = {'a': x.sum(), 'b': x.step()}\n"
        "    seen['d'] = seen['a'] + 1\n"
        "    seen['e'] = x.step() is None\n"
        "    return {**seen, **part(x), 'g': x.tolist()}\n\n\n"
        "seen = f(make())\n"
        "got = seen['kept']\n"
        "print(got)"
    )
    assert left(source) == (
        "def part(x):\n    return {'kept': x.clone()}\n\n\n"
        "def f(x):\n    seen = {'b': x.step()}\n    x.step()\n    return {**seen, **part(x)}\n\n\n"
        "seen = f(make())\ngot = seen['kept']\nprint(got)"
    )


def test_what_is_printed_whole_is_not_cut() -> None:
    source = "def f(x):\n    return {'a': x.sum()}\n\n\nseen = f(make())\nfor name, value in seen.items():\n    print(name, value)"
    assert left(source) == source


def printed(text: str, folder: Path) -> str:
    """What a program prints, without the places of objects in memory."""
    path = folder / "program.py"
    path.write_text(text)
    with contextlib.redirect_stdout(io.StringIO()) as out:
        exec(compile(text, str(path), "exec"), {"__name__": "__main__", "__file__": str(path)})
    return re.sub(r"0x[0-9a-f]+", "", out.getvalue())


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", load_families())
def test_a_residual_program_does_what_the_whole_does(name: str, tmp_path: Path, full: bool) -> None:
    """Every name under which something is seen is looked at in turn, in cases over the whole space; in two by default."""
    family = load_families()[name]
    laws = [law.name for law in family.laws]
    known = [entry for entry in shipped()[0] if any(entry.concerns(law, "eager", "cpu") for law in laws)]
    # What a known bug gives may be what lay in memory, another thing each time.
    cases = [case for case in family.space.cover(1, 0) if not any(entry.covers(case.facts()) for entry in known)]
    threads, checked = torch.get_num_threads(), 0
    for position, case in enumerate(cases[:: max(1, len(cases) // 12)]):
        out = run(family.plan(case), MODES["eager"])
        keys = sorted(out.seen) if out.error is None else []
        if not keys:
            continue
        path = f'seen["{keys[position % len(keys)]}"]'
        whole = complete(family, MODES["eager"], family.laws[0], case, Difference("value", path, 0, 0, "words"))
        whole = f"{whole.rpartition(chr(10) + 'got, expected')[0]}\nprint({path})\n"
        first = printed(whole, tmp_path)
        if printed(whole, tmp_path) == first:  # else it tells of memory or time
            assert printed(simplified(whole), tmp_path) == first, repr(case)
            checked += 1
        if checked == 2 and not full:
            break
    torch.set_num_threads(threads)
    assert checked
