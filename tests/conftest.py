"""What tests share: how much of a layer is judged, in the default run and with ``--full``."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import islice

import pytest
from command import Command, Said

from embcheck.cli.main import main
from embcheck.core.item import PROFILES
from embcheck.core.space import Space
from embcheck.subject.collect import load_families

#: Small cases of which one is left: bringing them to a layer takes longer than judging those that are chosen.
_SMALL = 10


@pytest.fixture
def full(request: pytest.FixtureRequest) -> bool:
    """Whether what is otherwise sampled runs whole."""
    return bool(request.config.getoption("--full"))


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs a command of embcheck's in this process."""

    def said(*words: object) -> Said:
        monkeypatch.setattr("sys.argv", ["embcheck", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
        assert isinstance(ended.value.code, int)
        return Said(ended.value.code, *capsys.readouterr())

    return said


@pytest.fixture
def profile(full: bool, monkeypatch: pytest.MonkeyPatch) -> str:
    """The profile in which a layer is checked: *quick*, which is `embcheck.check`'s own; of it a tenth of the cases by default."""
    if not full:
        few = replace(PROFILES["quick"], stride=200, strength=1, random=32, aimed=32, histories=4)
        monkeypatch.setitem(PROFILES, few.name, few)
        for family in load_families().values():
            monkeypatch.setattr(family, "space", _sparse(family.space))
    return "quick"


@cache
def _sparse(space: Space) -> Space:
    """A space of which the small cases are thinned, and enumerated once for all layers, and the covers are of single axes."""
    small = cache(lambda: tuple(islice(space.scope(), 0, None, _SMALL)))
    return replace(space, scope=lambda: iter(small()), strength=1)
