"""What a program leaves changed is told and put back; what the user's process had, watchers included, stays and does not count."""

import itertools
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from command import Patch

from embcheck.core.item import PROFILES, items_of
from embcheck.core.law import Plan, accepts
from embcheck.engine import selection
from embcheck.engine.execute import run
from embcheck.engine.run_item import feed
from embcheck.engine.tally import Tallies
from embcheck.modes.global_state import COMMON_HOOKS, SETTINGS
from embcheck.modes.mode import MODES
from embcheck.subject import activation
from embcheck.subject.collect import load_families
from selfcheck.candidates import shipped
from selfcheck.fault import patched

modules = torch.nn.modules.module
optimizers = sys.modules["torch.optim.optimizer"]
deterministic, memory = torch.use_deterministic_algorithms, torch.utils.deterministic

CHANGES: dict[str, Callable[[], Any]] = {
    "torch.is_grad_enabled()": lambda: torch.set_grad_enabled(False),
    "torch.get_default_dtype()": lambda: torch.set_default_dtype(torch.float64),
    "str(torch.get_default_device())": lambda: torch.set_default_device("meta"),
    "torch.is_anomaly_enabled()": lambda: torch.autograd.set_detect_anomaly(True),
    "torch.are_deterministic_algorithms_enabled()": lambda: torch.use_deterministic_algorithms(True),
    "torch.is_deterministic_algorithms_warn_only_enabled()": lambda: deterministic(True, warn_only=True),
    "torch.utils.deterministic.fill_uninitialized_memory": lambda: setattr(memory, "fill_uninitialized_memory", False),
    "torch.get_num_threads()": lambda: torch.set_num_threads(3),
    "torch.get_float32_matmul_precision()": lambda: torch.set_float32_matmul_precision("medium"),
    "torch.get_autocast_dtype('cpu')": lambda: torch.set_autocast_dtype("cpu", torch.float16),
    "float('1e-310') * 1.0 == 0": lambda: torch.set_flush_denormal(True),
    "len(sys.modules['torch.nn.modules.module']._global_forward_hooks)": lambda: modules.register_module_forward_hook(
        lambda *given: None
    ),
    "len(sys.modules['torch.optim.optimizer']._global_optimizer_post_hooks)": lambda: (
        optimizers.register_optimizer_step_post_hook(lambda *given: None)
    ),
}


def told() -> dict[str, Any]:
    """Every setting, by the expression that a script asks."""
    return {name: eval(name, {"torch": torch, "sys": sys}) for name in (*SETTINGS, *COMMON_HOOKS)}


def left(change: Callable[[], Any], *, fails: bool = False) -> Any:
    """The outcome of a program that makes a change and leaves it."""

    def program() -> dict[str, Any]:
        change()
        if fails:
            raise ValueError
        return {}

    return run(Plan(program, {}, {}, torch.get_num_threads()), MODES["eager"])


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("name", CHANGES)
def test_what_is_left_changed_is_told_and_put_back(name: str, fails: bool) -> None:
    before = told()
    out = left(CHANGES[name], fails=fails)
    assert told() == before
    assert out.settings[name][1] == before[name] != out.settings[name][0]
    found: Any = accepts(None, out)  # type: ignore[arg-type]
    assert found.kind == "setting"
    assert found.path in out.settings


def test_every_setting_that_can_be_put_back_is_tried() -> None:
    assert {name for name, (_, put) in SETTINGS.items() if put is not None} <= set(CHANGES)


def test_precision_set_by_the_other_way_is_put_back() -> None:
    if not hasattr(torch.backends.mkldnn, "matmul"):
        pytest.skip("this torch has one way")

    products: Any = torch.backends.mkldnn.matmul
    out = left(lambda: setattr(products, "fp32_precision", "bf16"))
    assert "torch.get_float32_matmul_precision()" in out.settings
    assert torch.get_float32_matmul_precision() == "highest"
    assert left(lambda: None).settings == {}


def test_random_numbers_are_put_back_though_a_program_may_draw() -> None:
    before = torch.get_rng_state()
    for change in (lambda: torch.rand(3), lambda: torch.manual_seed(5)):
        assert left(change).settings == {}
        assert torch.equal(torch.get_rng_state(), before)


def test_what_a_user_s_module_changes_when_it_is_imported_is_put_back(tmp_path: Path, monkeypatch: Patch) -> None:
    source = """
        import torch
        torch.set_default_dtype(torch.float64)
        torch.set_flush_denormal(True)
        torch.manual_seed(3)
        class Table(torch.nn.Embedding):
            def __init__(self, *given, **flags):
                torch.set_num_threads(3)
                super().__init__(*given, **flags)
    """
    (tmp_path / "changing_module.py").write_text(textwrap.dedent(source))
    monkeypatch.syspath_prepend(tmp_path)
    active: dict[str, Any] = {}
    monkeypatch.setattr(activation, "FAMILIES", dict(load_families()))
    monkeypatch.setattr(activation, "_ACTIVE", active)
    before, drawn = told(), torch.get_rng_state()
    activation.activate("changing_module:Table")
    # Or its entry would be one of torch's own in later tests.
    active["changing_module:Table"].__exit__(None, None, None)
    assert told() == before
    assert torch.equal(torch.get_rng_state(), drawn)


def test_hooks_of_the_process_are_not_in_force_in_a_program_and_are_kept() -> None:
    calls: list[int] = []
    handles = [
        modules.register_module_forward_hook(lambda *given: calls.append(1)),
        optimizers.register_optimizer_step_pre_hook(lambda *given: calls.append(2)),
    ]
    try:
        assert left(lambda: torch.nn.Identity()(torch.ones(1))).settings == {}
        assert calls == []
        torch.nn.Identity()(torch.ones(1))
        assert calls == [1]
    finally:
        for handle in handles:
            handle.remove()
    assert not any(COMMON_HOOKS.values())


# -- watchers of the user's own ------------------------------------------------------------------------------------


def wrapped(owner: Any, *names: str) -> Any:
    """Functions in wrappers that know nothing of them, as some profilers have."""

    def around(function: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *given, **flags: function(*given, **flags)

    return patched(owner, **{name: around(getattr(owner, name)) for name in names})


WATCHED = (
    *("lookup", "padding", "gradient", "tied_training", "one_hot", "embedding_bag", "max_norm"),
    *("tutorial_claims", "module_traversal"),
)


def violated(*names: str) -> dict[str, Any]:
    """The laws of families that some cases violate, and how; what would take the process down is not executed."""
    found: dict[str, Any] = {}
    for name in names:
        family = load_families()[name]
        tallies = Tallies(family, MODES[family.modes[0]], shipped())
        for engine in ("scope", "product"):
            item = items_of(family, engine, PROFILES["quick"], family.modes[:1], "torch")[0]
            drawn = list(itertools.islice(selection.cases(family, item, PROFILES["quick"], 0), 128))
            feed(tallies, drawn[::16], None)
        found |= {
            tally.law.name: tally.kinds or tally.unknown for tally in tallies.each if tally.violations or tally.unknown
        }
    return found


def test_no_law_turns_red_for_watchers() -> None:
    """Laws compare with what was there when the run began, never with torch's functions as they should be."""
    before = violated(*WATCHED)
    with (
        # Of `nn.Embedding.__init__` torch itself looks at the arguments, so that it stays as it is.
        wrapped(torch.nn.functional, "embedding", "embedding_bag", "one_hot", "linear", "cross_entropy"),
        wrapped(torch.optim.SGD, "step", "zero_grad"),
        wrapped(torch.nn.Module, "__call__", "state_dict", "load_state_dict", "register_parameter"),
        wrapped(torch.Tensor, "backward", "detach", "requires_grad_"),
        torch.profiler.profile(),
    ):
        found = violated(*WATCHED)
    assert {law: kinds for law, kinds in found.items() if law not in before} == {}


def test_a_wrapper_that_changes_what_comes_out_is_seen() -> None:
    original = torch.nn.functional.embedding
    assert "lookup_copies_rows" not in violated("lookup")
    with patched(torch.nn.functional, embedding=lambda *given, **flags: original(*given, **flags) + 1):
        assert "lookup_copies_rows" in violated("lookup")
