"""The strategies draw what they say, the same whatever is imported, and shrink by Hypothesis' own means."""

import pickle
import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, find, given, seed, settings
from hypothesis.strategies import just
from warm import python

from embcheck import strategies
from embcheck.core.facts import holds

PAGE = (Path(__file__).parents[1] / "docs" / "strategies.md").read_text(encoding="utf-8")
EVERY = {
    "lookups": strategies.lookups(),
    "tables": strategies.tables(),
    "indices": strategies.indices(5),
    "bags": strategies.bags(),
    "conversions": strategies.conversions(),
    "tied_models": strategies.tied_models(),
}
#: Prints the cases that the random engine draws of two families, of which one has ways of its own.
ENGINE = """
from embcheck.core.item import PROFILES, Item
from embcheck.engine.run_item import batches
from embcheck.subject.collect import load_families

class Cases(list):
    done, worst, __call__ = False, None, list.append

found = Cases()
for name in ("lookup", "tie_preservation"):
    batches(load_families()[name], Item(name, "torch", "eager", "random"), PROFILES["gate"], 0, found, None)
print(*found, sep="\\n")
"""
WRONG = """
import torch
from hypothesis import given, settings

import embcheck


@settings(database=None, deadline=None)
@given(embcheck.strategies.lookups())
def test_layer(drawn):
    weight, tokens = drawn.tensors()["weight"].detach(), drawn.tensors()["indices"]
    found = torch.nn.functional.embedding(tokens, weight)
    if tokens.numel() > 7:
        found.view(-1)[-1:] += 1
    assert torch.equal(found, weight[tokens.long()])
"""


#: What draws a part of a case, with facts that are not about it.
PARTS = {"tables": "numel shape indices padding_hit", "indices": "embedding_dim elements padding_hit dtype"}


class Attributes(dict[str, Any]):
    """The attributes of what is drawn, as names of an expression."""

    def __init__(self, of: Any) -> None:
        super().__init__()
        self.of = of

    def __missing__(self, name: str) -> Any:
        return getattr(self.of, name)


def tensors_on_the_page() -> dict[str, dict[str, tuple[list[str], str]]]:
    """The shapes that each tensor of each strategy may have, and when it requires a gradient."""
    found: dict[str, dict[str, tuple[list[str], str]]] = {name: {} for name in EVERY}
    for strategy, tensors, shapes, requires_grad in re.findall(
        r"^\| `(\w+)` \| (`[^|]+`) \| ([^|]+) \| ([^|]+) \| [^|]*\|$", PAGE, re.MULTILINE
    ):
        alternatives = [part.split("`")[1] for part in shapes.split(";")]
        found[strategy] |= dict.fromkeys(re.findall(r"`(\w+)`", tensors), (alternatives, requires_grad))
    return found


def drawn(strategy: Any, count: int = 60, suppressed: Collection[HealthCheck] = tuple(HealthCheck)) -> list[Any]:
    """What a strategy draws with a seed."""
    found: list[Any] = []

    @seed(3)
    @settings(max_examples=count, database=None, deadline=None, suppress_health_check=suppressed)
    @given(strategy)
    def collect(each: Any) -> None:
        found.append(each)

    collect()
    return found


@pytest.mark.parametrize("name", EVERY)
def test_what_is_drawn_has_axes_facts_and_tensors(name: str) -> None:
    found, told = drawn(EVERY[name]), tensors_on_the_page()
    assert len(set(map(repr, found))) > 20
    for each in found:
        every, known = each.case.facts(), set(dir(each))
        facts = {fact: value for fact, value in every.items() if fact in known}
        assert facts == every or name in PARTS
        assert {fact: getattr(each, fact) for fact in facts} == facts
        assert not any(hasattr(each, fact) for fact in {*every, "no_such_fact"} - known)
        tensors = each.tensors()
        for again in (pickle.loads(pickle.dumps(each)), eval(repr(each), vars(strategies))):
            assert repr(again) == repr(each)
            assert again.case == each.case
            assert again.tensors().keys() == tensors.keys()
        assert tensors.keys() <= told[name].keys()
        for tensor, fed in tensors.items():
            shapes, requires_grad = told[name][tensor]
            assert any(tuple(fed.shape) == eval(shape, {}, Attributes(each)) for shape in shapes), (each, tensor)
            assert fed.requires_grad == (requires_grad == "yes" or ("input_grad" in requires_grad and each.input_grad))
        if name in ("lookups", "indices"):
            tokens = tensors["indices"]
            assert tokens.numel() == each.numel
            assert not tokens.numel() or 0 <= int(tokens.min()) <= int(tokens.max()) < each.num_embeddings


def test_a_part_of_a_case_has_only_what_concerns_it() -> None:
    table = strategies.Table(num_embeddings=1, embedding_dim=3, values="real")
    assert repr(table) == "Table(num_embeddings=1, embedding_dim=3, values='real')"
    assert (table.elements, tuple(table.tensors()["weight"].shape)) == (3, (1, 3))
    tokens = strategies.Indices(num_embeddings=2, shape=(2, 3))
    assert repr(tokens) == "Indices(num_embeddings=2, shape=(2, 3))"
    assert (tokens.numel, tuple(tokens.tensors()["indices"].shape)) == (6, (2, 3))
    for part, name in ((table, "tables"), (tokens, "indices")):
        for fact in PARTS[name].split():
            with pytest.raises(
                AttributeError, match=f"^{type(part).__name__} has no '{fact}'; there are num_embeddings, "
            ):
                getattr(part, fact)
    with pytest.raises(TypeError, match=r"^Table has no axis 'shape'; there are num_embeddings, "):
        strategies.Table(num_embeddings=1, embedding_dim=3, shape=(2, 3))
    with pytest.raises(TypeError, match=r"^Lookup has no axis 'num_embedding'; did you mean num_embeddings"):
        strategies.Lookup(num_embedding=1)


def test_the_page_has_the_axes_of_each_strategy() -> None:
    assert strategies.page(PAGE) == PAGE, "run: python -m embcheck.strategies docs/strategies.md"


def test_the_sizes_lie_on_both_sides_of_thresholds() -> None:
    facts = [each.facts() for each in drawn(EVERY["lookups"], 600)]
    sizes = ("numel>3072", "num_embeddings>2000", "embedding_dim>512", "rank>=3", "empty")
    for condition in (*sizes, "padding_hit", "last_row"):
        assert any(holds(condition, each) for each in facts), condition


def test_the_weights_of_samples_are_called_as_pytorch_calls_them() -> None:
    for each in drawn(strategies.bags(weights=["real"]), 5):
        fed = each.tensors()
        assert fed.keys() - {"offsets"} == {"weight", "indices", "upstream", "per_sample_weights"}
        assert fed["per_sample_weights"].shape == fed["indices"].shape


@pytest.mark.parametrize(
    ("strategy", "values"),
    [
        ("lookups", {"dtype": ["float64"], "shape": [(2, 3)], "padding_idx": [None], "num_embeddings": range(4, 6)}),
        ("lookups", {"numel": [5]}),
        ("lookups", {"numel": range(9)}),
        ("lookups", {"padding_idx": [3]}),
        ("lookups", {"indices": ["padding"], "index_layout": ["contiguous", "expanded"]}),
        ("lookups", {"num_embeddings": [0]}),
        ("lookups", {"indices": [(0, 1, 0, 4)]}),
        ("tables", {"num_embeddings": [0]}),
        ("bags", {"weights": ["ones"], "sparse": [True]}),
        ("bags", {"numel": [5]}),
        ("conversions", {"direction": ["to_embedding"]}),
        ("tied_models", {"steps": [3]}),
        ("tied_models", {"momentum": [0.5]}),
    ],
)
def test_axes_take_the_values_that_are_given(strategy: str, values: dict[str, Any]) -> None:
    """And those alone, without a complaint of Hypothesis about what is left out."""
    found = drawn(getattr(strategies, strategy)(**values), 20, suppressed=())
    assert len(found) == 20
    for axis, given_values in values.items():
        assert {getattr(each, axis) for each in found} <= set(given_values), axis
    assert not any(getattr(each, "refused", False) for each in found if "indices" in values)


@pytest.mark.filterwarnings("error")
def test_a_strategy_prints_as_the_call_that_made_it() -> None:
    assert repr(EVERY["bags"]) == "bags()"
    assert repr(EVERY["indices"]) == "indices(5)"
    sized = strategies.lookups(dtype=("float32",), numel=range(9))
    assert repr(sized) == "lookups(dtype=['float32'], numel=range(0, 9))"
    assert repr(sized.filter(bool)) == f"{sized!r}.filter(bool)"


def test_a_padding_idx_may_be_a_row_by_name() -> None:
    for each in drawn(strategies.lookups(padding_idx=["last"]), 20):
        assert each.padding_idx == each.num_embeddings - 1


def test_a_padding_idx_is_any_that_a_table_takes() -> None:
    assert set(drawn(strategies.paddings(2), 200)) == {None, 0, 1, -1, -2}


@pytest.mark.parametrize(
    ("values", "error", "words"),
    [
        ({"dtypes": ["float32"]}, TypeError, "no axis 'dtypes'; did you mean dtype"),
        ({"dtype": "float32"}, TypeError, r"^dtype: expected a list of values, such as \['float32'\], got 'float32'$"),
        ({"num_embeddings": 5}, TypeError, r"^num_embeddings: expected a list of values, such as \[1\], got 5$"),
        ({"numel": just(5)}, TypeError, r"^numel: expected a list of values, such as \[0\], got just\(5\)$"),
        ({"dtype": ["float23"]}, ValueError, "^dtype: no 'float23'; did you mean float"),
        ({"dtype": [torch.float32]}, ValueError, "^dtype: no torch.float32; there are 'float32', 'float64', "),
        ({"numel": [-1]}, ValueError, "^numel: no -1; expected a whole number from 0 on$"),
        ({"num_embeddings": [2.5]}, ValueError, "^num_embeddings: no 2.5; expected a whole number from 0 on$"),
        ({"num_embeddings": [True]}, ValueError, "^num_embeddings: no True; "),
        ({"shape": [3]}, ValueError, r"^shape: no 3; expected a shape such as \(3,\)$"),
        ({"padding_idx": ["first"]}, ValueError, "^padding_idx: no 'first'; expected the number of a row, "),
        ({"padding_idx": []}, ValueError, "padding_idx has no value"),
        ({"shape": [(3,)], "numel": [5], "seed": [1]}, ValueError, r"no case has shape=\[\(3,\)\] and numel=\[5\]$"),
        ({"layout": ["expanded"]}, ValueError, r"no case has layout=\['expanded'\]$"),
    ],
)
def test_what_is_no_axis_or_value_is_refused(values: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        strategies.lookups(**values)


def test_other_arguments_are_refused_likewise() -> None:
    for wrong in (lambda: strategies.indices(-1), lambda: strategies.paddings(-2)):
        with pytest.raises(ValueError, match=r"^num_embeddings: no -\d; expected a whole number from 0 on$"):
            wrong()
    with pytest.raises(ValueError, match=r"^no case has numel=\[3\] and num_embeddings=\[0\]$"):
        strategies.indices(0, numel=[3])
    with pytest.raises(TypeError, match="no axis 'embedding_dim'"):
        strategies.indices(5, embedding_dim=[2])
    with pytest.raises(TypeError, match="no axis 'shape'"):
        strategies.bags(shape=[(3,)])
    with pytest.raises(ValueError, match=r"^shape: no "):
        strategies.tied_models(shape=[(3,)])
    with pytest.raises(ValueError, match=r"^lr: no 'fast'; expected one such as 0\.5, 1, 0\.125$"):
        strategies.tied_models(lr=["fast"])
    assert repr(strategies.tied_models(lr=[0.01])) == "tied_models(lr=[0.01])"


def test_a_seed_draws_the_same_whatever_is_imported(tmp_path: Path) -> None:
    """A module with many numbers would change which of more than a hundred values are drawn."""
    (tmp_path / "numbers_of_mine.py").write_text("\n".join(f"x{n} = {n}" for n in range(100, 1000)), encoding="utf-8")
    program = f"from test_strategies import EVERY, drawn; print([*map(repr, drawn(EVERY['lookups']))])\n{ENGINE}"
    here = str(Path(__file__).parent)
    told = [
        python(
            "-c", f"import sys; sys.path[:0] = [{here!r}, {str(tmp_path)!r}]\n{first}\n{program}", cwd=tmp_path
        ).stdout
        for first in ("", "import numbers_of_mine")
    ]
    assert told[0] == told[1]
    assert min(told[0].count(f"{kind}(") for kind in ("Lookup", "LookupCase")) > 50
    assert "\nTiePreservationCase(" in told[0]


@pytest.mark.parametrize(
    ("strategy", "wanted", "shrunk"),
    [
        (EVERY["tables"], lambda each: each.embedding_dim > 100, {"num_embeddings": 1, "embedding_dim": 101}),
        (EVERY["indices"], lambda each: each.numel > 50, {"shape": (51,)}),
        (
            EVERY["lookups"],
            lambda it: it.numel > 900 and it.num_embeddings > 77,
            {"shape": (901,), "num_embeddings": 78},
        ),
        (EVERY["bags"], lambda each: each.num_embeddings > 2002, {"num_embeddings": 2003, "numel": 1}),
        *(
            (each, lambda each: each.embedding_dim == 0, {"num_embeddings": 1, "numel": 1})
            for each in (EVERY["lookups"], EVERY["bags"], strategies.lookups(numel=range(1, 20)))
        ),
        (strategies.lookups(numel=range(1, 20)), lambda each: each.numel > 3, {"shape": (4,)}),
    ],
)
def test_sizes_shrink_to_any_number(strategy: Any, wanted: Any, shrunk: dict[str, Any]) -> None:
    found: Any = find(strategy, wanted, settings=settings(max_examples=1000, database=None, derandomize=True))
    assert {axis: getattr(found, axis) for axis in shrunk} == shrunk


def test_a_wrong_layer_shrinks_by_the_means_of_hypothesis(tmp_path: Path) -> None:
    module = tmp_path / "test_mine.py"
    module.write_text(WRONG, encoding="utf-8")
    done = python("-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", "0", module, cwd=tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "drawn=Lookup(num_embeddings=1, embedding_dim=1, shape=(8,))" in done.stdout, done.stdout
