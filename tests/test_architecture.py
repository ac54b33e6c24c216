"""How the package is built: an order of modules, laws without torch, and no tolerances.

Each guard is shown to fail on something that it must refuse.
"""

import ast
import graphlib
import io
import os
import subprocess
import sys
import tokenize
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pytest

from embcheck.subject.collect import load_families

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "embcheck"

#: The packages in the order in which they may import: none imports one to its right.  The modules of a package may import
#: each other, but not in a circle.
LAYERS = (
    "core",  # values and laws: cases, outcomes, oracles, bounds, verdicts, the ledger
    "record",  # a run's lines of JSON
    "families",  # which cases there are, and the torch programs that run them
    "modes",  # the ways in which a program is executed
    "subject",  # the same laws for a layer or a model of a user's
    "known",  # the pages about known bugs
    "engine",  # executes, evaluates, reduces
    "claims",  # what tutorials claim
    "report",  # what people look at
    "runner",  # a run from start to exit
    "releases",  # many releases of torch
    "audit",  # whole models
    "strategy_axes",  # of what strategies draw
    "strategies",
    "cli",
    "__main__",
)

#: What a machine without torch can import: to read a record, to judge, to plan.  Whole packages, and modules of others.
TORCH_FREE_PACKAGES = ("core", "record", "known", "releases", "report", "cli")
TORCH_FREE_MODULES = {
    "families.lookup": ("cases",),
    "families.tied_training": ("optimizers", "oracle"),
    "families.tie_preservation": ("oracle",),
    "families.func_transforms": ("cases", "oracle"),
    "families.dtypes_and_storage": ("cases",),
    "engine": ("reduce", "literal", "source", "script"),
    "engine.crashes": ("slot", "isolate", "crash"),
    "runner": ("merge", "run", "plugin", "session"),
    "audit": ("tiny", "finding", "processes", "hf", "session", "report"),
    "claims": ("case", "claim", "report"),
    "subject": ("collect",),
}


# -- without torch -------------------------------------------------------------------------------------------


def without_torch(modules: Iterable[str]) -> str:
    """Imports modules in a fresh process where torch can't be; the first that tries, or nothing."""
    program = f"""
import importlib, sys
sys.modules["torch"] = None
for name in {[f"embcheck.{name}" for name in modules]!r}:
    try:
        importlib.import_module(name)
    except ImportError as error:
        sys.exit(f"{{name}}: {{error}}")
"""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)
    return done.stderr.strip()


def test_case_to_report_imports_no_torch() -> None:
    whole = [name for name in modules_of(PACKAGE) if name.split(".")[0] in TORCH_FREE_PACKAGES]
    assert len(whole) > len(TORCH_FREE_PACKAGES)
    others = [f"{package}.{module}" for package, modules in TORCH_FREE_MODULES.items() for module in modules]
    assert without_torch([*whole, *others]) == ""


@pytest.mark.parametrize("module", ["engine.execute", "families.lookup.programs"])
def test_the_torch_guard_can_fail(module: str) -> None:
    assert without_torch(["core.case", module]).startswith(f"embcheck.{module}: ")


# -- the order of modules ------------------------------------------------------------------------------------


def imports_of(source: str, package: str, *, inside: bool) -> set[str]:
    """The package's modules that a source imports, dotted names below the package; ``inside`` functions too.

    What only a type checker sees is not imported.
    """
    found: set[str] = set()

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            return
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) and not inside:
            return
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(ast.parse(source))
    return {name.removeprefix(f"{package}.") for name in found if name.startswith(f"{package}.")}


def modules_of(folder: Path) -> dict[str, str]:
    """The sources of a package by dotted name below it; packages' own files left out."""
    paths = {path.relative_to(folder): path for path in sorted(folder.rglob("*.py")) if path.name != "__init__.py"}
    return {
        ".".join(found.with_suffix("").parts): path.read_text("utf-8")
        for found, path in paths.items()
        if "properties" not in found.parts
    }


def departures(sources: dict[str, str], package: str, layers: tuple[str, ...]) -> list[str]:
    """What contradicts the order: modules without a place, and imports to the right."""
    units = {name.split(".")[0] for name in sources}
    wrong = [f"{unit} has no place among the layers" for unit in sorted(units - set(layers))]
    wrong += [f"{layer} is a layer but no module" for layer in layers if layer not in units]
    place = {layer: position for position, layer in enumerate(layers)}
    for name, source in sources.items():
        unit = name.split(".")[0]
        for target in sorted({found.split(".")[0] for found in imports_of(source, package, inside=True)} & set(place)):
            if unit in place and place[target] > place[unit]:
                wrong.append(f"{name} imports {target}, which lies to its right")
    return wrong


def neighbours_of(folder: Path) -> list[str]:
    """The laws' files that import another one: installed, they lie in embcheck, where there is no package `properties`."""
    sources = modules_of(folder)
    return [name for name, source in sources.items() if imports_of(source, folder.name, inside=True)]


def test_no_file_of_laws_imports_another(tmp_path: Path) -> None:
    assert neighbours_of(ROOT / "properties") == []
    folder = tmp_path / "laws"
    folder.mkdir()
    (folder / "test_one.py").write_text("from laws.test_two import plan\n")
    (folder / "test_two.py").write_text("import embcheck\n")
    assert neighbours_of(folder) == ["test_one"], "the guard can fail"


def test_no_module_imports_itself_on_the_way() -> None:
    """No cycles at module level, inside the packages either."""
    sources = modules_of(PACKAGE)
    graph = {}
    for name, source in sources.items():
        found = imports_of(source, "embcheck", inside=False)
        graph[name] = {module for module in sources for target in found if f"{target}.".startswith(f"{module}.")}
    assert len(list(graphlib.TopologicalSorter(graph).static_order())) == len(sources)


def test_no_module_imports_one_to_its_right() -> None:
    assert departures(modules_of(PACKAGE), "embcheck", LAYERS) == []
    sources = {"a": "import p.b", "b": "def f():\n    from p import c", "c": "", "d": "from p.a import x", "sub.e": ""}
    assert departures(sources, "p", ("a", "b", "c", "sub", "gone")) == [
        "d has no place among the layers",
        "gone is a layer but no module",
        "a imports b, which lies to its right",
        "b imports c, which lies to its right",
    ]
    ordered = {"a": "if TYPE_CHECKING:\n    import p.b", "b": "import os\nfrom p.a import x", "c": "import p.b"}
    assert departures(ordered, "p", ("a", "b", "c")) == []


# -- length ------------------------------------------------------------------------------------------------------


def too_long(sources: dict[str, str]) -> list[str]:
    """The modules that have more than 350 lines."""
    return [name for name, source in sources.items() if source.count("\n") > 350]


def test_no_module_is_longer_than_350_lines() -> None:
    for folder in (PACKAGE, *(ROOT / name for name in ("properties", "selfcheck", "tests", "bench"))):
        assert too_long(modules_of(folder)) == []
    assert too_long({"long": "\n" * 351, "not": "\n" * 350}) == ["long"]


# -- no tolerances -------------------------------------------------------------------------------------------

TOLERANT = {"rtol", "atol", "allclose", "isclose", "assert_close", "assert_allclose", "approx"}


def tolerances(source: str) -> list[str]:
    """Names in the code, not in comments or texts, that compare up to a guessed tolerance."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return [token.string for token in tokens if token.type == tokenize.NAME and token.string in TOLERANT]


def test_nothing_is_compared_up_to_a_guess() -> None:
    paths = sorted(path for folder in (PACKAGE, ROOT / "properties") for path in folder.rglob("*.py"))
    assert paths
    assert {str(path): found for path in paths if (found := tolerances(path.read_text("utf-8")))} == {}
    assert tolerances('"""rtol"""  # atol\nok = torch.allclose(a, b, rtol=1e-5)\n') == ["allclose", "rtol"]


def test_no_two_laws_have_one_name() -> None:
    """A verdict is named by its law: two of one name would be counted as one."""
    names = Counter(law.name for family in load_families().values() for law in family.laws)
    assert [name for name, count in names.items() if count > 1] == []
