"""What tests share: how much of a layer is judged, in the default run and with ``--full``."""

from __future__ import annotations

from dataclasses import replace

import pytest

from embcheck.item import PROFILES


@pytest.fixture
def full(request: pytest.FixtureRequest) -> bool:
    """Whether what is otherwise sampled runs whole."""
    return bool(request.config.getoption("--full"))


@pytest.fixture
def profile(full: bool, monkeypatch: pytest.MonkeyPatch) -> str:
    """The profile in which a layer is checked: *quick*, which is `embcheck.check`'s own, or one of a fourth of its cases."""
    if full:
        return "quick"
    few = replace(PROFILES["quick"], name="few", stride=200, random=64, aimed=64, histories=12)
    monkeypatch.setitem(PROFILES, few.name, few)
    return few.name
