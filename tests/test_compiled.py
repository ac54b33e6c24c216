"""Modes that compile: that they compute, refuse, reuse what they compiled, and can be shown to be wrong."""

import pytest
import torch

from embcheck.core.case import LookupCase
from embcheck.core.item import PROFILES, Item
from embcheck.core.result import Holds
from embcheck.engine.evaluate import evaluate
from embcheck.engine.execute import run
from embcheck.engine.execution import Execution
from embcheck.families.lookup.spelling import ENTRIES
from embcheck.modes import compilers, exports
from embcheck.modes.lattice import lattice
from embcheck.modes.mode import MODES
from embcheck.subject.collect import load_families
from selfcheck.fault import load_faults

FAMILIES = load_families()
COMPILING = tuple(
    name
    for name, found in MODES.items()
    if found.function.__module__.rpartition(".")[2] in ("traces", "exports", "compilers", "decompositions")
)
pytestmark = pytest.mark.usefixtures("uncompiled")


def test_a_graph_that_does_not_run_is_noticed() -> None:
    build = compilers.compiled(ENTRIES["functional"].build, lambda graph, example: graph.forward, True)
    with pytest.raises(AssertionError, match="no compiled graph ran"):
        build(torch.ones(3, 2))[1](torch.tensor([1]))


def test_what_does_not_compile_says_so() -> None:
    def broken(graph: object, example: object) -> None:
        raise NotImplementedError("not today")

    build = compilers.compiled(ENTRIES["functional"].build, broken, True)  # type: ignore[arg-type]
    with pytest.raises(RuntimeError, match="does not compile: BackendCompilerFailed"):
        build(torch.ones(3, 2))[1](torch.tensor([1]))


def test_one_graph_serves_many_sizes() -> None:
    compiled: list[int] = []

    def backend(graph: object, example: object) -> object:
        compiled.append(1)
        return compilers.dynamo_backend(graph, example)

    built = compilers.compiled(ENTRIES["functional"].build, backend, True)  # type: ignore[arg-type]
    for rows in range(4, 12):
        built(torch.ones(rows, 3))[1](torch.arange(rows - 2))
    assert len(compiled) == 1


def test_one_program_serves_many_sizes() -> None:
    if (lacking := MODES["export"].lacking()) is not None:
        pytest.skip(lacking)
    for numel in range(5):
        case = LookupCase(4, 2, shape=(numel,), entry="module")
        assert run(FAMILIES["lookup"].plan(case), MODES["export"]).error is None
    assert len(exports.KEPT) == 1


def test_a_lattice_is_the_same_every_time() -> None:
    cases = lattice(4, 8, 6)
    item = Item("lookup", "torch", "export", "product")
    first = list(cases(FAMILIES["lookup"], item, PROFILES["quick"], 0))
    assert first == list(cases(FAMILIES["lookup"], item, PROFILES["quick"], 0))
    assert 0 < len(first) <= 4 * 3
    whole = list(cases(FAMILIES["lookup"], item, PROFILES["gate"], 0))
    assert len(whole) > 3 * len(first)
    assert any(case.refused for case in whole)


def test_each_mode_that_changes_what_is_called_has_three_faults_of_its_own() -> None:
    called = [name for name, mode in MODES.items() if mode.calls]
    counts = {name: sum(fault.modes == (name,) for fault in load_faults().values()) for name in called}
    assert set(COMPILING) < set(called)
    assert {name: count for name, count in counts.items() if count < 3} == {}


@pytest.mark.parametrize("name", ["aot_eager", "aot_decomposed"])
@pytest.mark.parametrize("route", ["retained", "create_graph"])
def test_a_graph_that_is_kept_gives_no_saved_tensor_away(name: str, route: str) -> None:
    config = torch._functorch.config
    family, case = FAMILIES["gradient"], LookupCase(num_embeddings=2, embedding_dim=2, shape=(3,), entry="linear")
    laws = [law for law in family.laws if law.name == "weight_gradient_sums_upstream_per_row"]
    for each in (case, case.but(route=route)):  # what is compiled first gives tensors away, and must not serve again
        (found,) = evaluate(family, MODES[name], each, laws, Execution())
        assert isinstance(found, Holds)
    assert config.donated_buffer


def test_other_routes_give_saved_tensors_away() -> None:
    case = LookupCase(num_embeddings=1, embedding_dim=1)
    asked = []
    for route in ("backward_call", "retained"):

        def program(**given: object) -> dict[str, object]:
            asked.append(torch._functorch.config.donated_buffer)
            return {}

        MODES["aot_eager"].function(program, **FAMILIES["gradient"].plan(case.but(route=route)).options)
    assert asked == [True, False]
