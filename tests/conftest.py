"""What tests share: their workers, and how much of a layer is judged, in the default run and with ``--full``."""

from __future__ import annotations

import sys
from collections.abc import Generator, Iterator
from dataclasses import replace
from functools import cache
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from command import Command, Said

from embcheck.cli.main import main
from embcheck.core.item import PROFILES
from embcheck.core.space import Space
from embcheck.runner.fork_server import ForkServer
from embcheck.subject.collect import load_families

if TYPE_CHECKING:
    from selfcheck.planting import Sites

HERE = Path(__file__).parent
#: Files whose tests share what takes seconds to make: forks of one process, a run, a process for scripts.  One worker of
#: xdist's runs each of these groups, or it would be made in each.
GROUPS = (
    (
        *("accounting", "bench", "cli", "docs", "drawn_python_sites", "drawn_report", "exit", "gate", "junit"),
        *("kept", "levels", "mode", "processes", "screen", "strategies", "subject"),
    ),
    ("audit_factories", "crash"),
    ("right_layers", "subject_layers"),
    *(("completion",), ("drawn_faults",), ("fork_server",), ("stored_scripts",)),
)

#: Small cases of which one is left, and flags whose product is taken: to bring cases to a layer, and to choose those that
#: meet its obligations, takes longer than to judge them.
_SMALL, _FLAGS = 40, 6


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Groups are kept together unless another distribution is asked for; xdist's own default does not know them."""
    if getattr(config.option, "numprocesses", None) and config.option.dist == "no":
        config.option.dist = "loadgroup"
        config.option.loadscopereorder = False  # laws first, in workers in which nothing else has run


@pytest.hookimpl(wrapper=True, optionalhook=True)
def pytest_xdist_auto_num_workers() -> Generator[None, int, int]:
    """One worker more than there are processors: a test that waits for a process which it started leaves its own idle."""
    return (yield) + 1


def pytest_configure(config: pytest.Config) -> None:
    """Workers are forks of one process that has imported torch and the laws; a subject's own imports may start threads."""
    starts = getattr(config.option, "numprocesses", None) and not hasattr(config, "workerinput")
    if sys.platform.startswith("linux") and starts and not config.getoption("--embcheck-subject", ""):
        server = ForkServer()
        config.pluginmanager.register(server)
        config.add_cleanup(server.__exit__)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """xdist's own, which knows groups by the end of an id, puts it where pytest 9.2 no longer reads it."""
    if config.option.dist != "loadgroup":
        return None
    scheduling: Any = import_module("xdist.scheduler").LoadScopeScheduling
    groups = {f"test_{name}.py": names[0] for names in GROUPS for name in names}

    class Grouped(scheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            path = config.rootpath / nodeid.partition("::")[0]
            return groups.get(path.name, nodeid) if path.parent == HERE else nodeid

    return Grouped(config, log)


@pytest.fixture
def full(request: pytest.FixtureRequest) -> bool:
    """Whether what is otherwise sampled runs whole."""
    return bool(request.config.getoption("--full"))


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs a command of embcheck's in this process, which must end with a code."""

    def said(*words: object, ends: int | None = 0) -> Said:
        monkeypatch.setattr("sys.argv", ["embcheck", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
        assert isinstance(ended.value.code, int)
        return Said(ended.value.code, *capsys.readouterr()).ended(ends)

    return said


@pytest.fixture
def one_thread() -> Iterator[None]:
    """One thread of torch's while a test runs."""
    import torch  # which takes seconds: the process that starts the workers does without

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def uncompiled() -> None:
    """What was compiled before serves no test."""
    import torch

    from embcheck.modes import exports

    torch._dynamo.reset()
    exports.KEPT.clear()


@pytest.fixture
def kernels() -> Iterator[Sites]:
    """The sites of drawn faults, wrapped."""
    from selfcheck.planting import Sites

    with Sites().installed() as found:
        yield found


@pytest.fixture
def profile(full: bool, monkeypatch: pytest.MonkeyPatch) -> str:
    """The profile in which a layer is checked: *quick*, as `embcheck.check` has it; a twentieth of its cases by default."""
    if not full:
        few = replace(PROFILES["quick"], stride=400, strength=1, random=16, aimed=16)
        monkeypatch.setitem(PROFILES, few.name, few)
        for family in load_families().values():
            monkeypatch.setattr(family, "space", _sparse(family.space))
    return "quick"


@cache
def _sparse(space: Space) -> Space:
    """A space of which the small cases are thinned, and enumerated once for all layers, the product is of few flags, and the
    covers are of single axes."""
    small = cache(lambda: tuple(islice(space.scope(), 0, None, _SMALL)))
    return replace(space, scope=lambda: iter(small()), flags=space.flags[:_FLAGS], strength=1)
