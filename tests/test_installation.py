"""Installing embcheck: the second line of the README leaves an installed torch alone, whatever its version."""

import itertools
import json
import os
import re
import shlex
import subprocess
import sys
import venv
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

import pip
import pytest
from packaging.requirements import Requirement
from packaging.version import Version

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
WORKFLOWS = sorted((ROOT / "ci").rglob("*.yml"))
#: The action in an example for other repositories, who put in the owner and the commit.
ELSEWHERE = "OWNER/embcheck/ci/action@COMMIT"


def requirements(lines: list[str]) -> dict[str, str]:
    found = (Requirement(line) for line in lines if line and not line.startswith("#"))
    return {requirement.name: str(requirement.specifier) + str(requirement.marker or "") for requirement in found}


def listed(name: str) -> dict[str, str]:
    """The requirements in a file of ci/."""
    return requirements((ROOT / "ci" / name).read_text().splitlines())


def test_list_without_torch_is_the_package_s_own() -> None:
    declared = requirements(PROJECT["project"]["dependencies"])
    assert "torch" in declared
    del declared["torch"]
    assert listed("without-torch.txt") == declared


def test_contributors_who_keep_their_torch_install_the_extra_dev() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    (block,) = (
        block for block in re.findall(r"^```sh\n(.*?)^```", text, re.M | re.S) if "ci/without-torch.txt" in block
    )
    words = [word for line in block.splitlines() for word in shlex.split(line)[4:]]
    named = [word for word in words if not word.startswith(("-", ".", "ci/"))]
    assert requirements(named) == requirements(PROJECT["project"]["optional-dependencies"]["dev"])


def test_a_lower_bound_is_what_the_lowest_environment_had() -> None:
    """That is written down in ci/lowest.txt, and a job of the gate has it made again."""
    extras = PROJECT["project"]["optional-dependencies"]
    lines = [*PROJECT["project"]["dependencies"], *itertools.chain(*(extras[name] for name in extras if name != "dev"))]
    bounds = {
        requirement.name: Version(next(iter(requirement.specifier)).version)
        for requirement in map(Requirement, lines)
        if requirement.name != PROJECT["project"]["name"]
    }
    assert all(">=" in line for line in lines if not line.startswith("embcheck["))
    assert {name: Version(pin.removeprefix("==")) for name, pin in listed("lowest.txt").items()} == bounds
    assert any("-c ci/lowest.txt" in path.read_text() for path in WORKFLOWS)


def test_the_lowest_python_is_the_one_that_is_tried() -> None:
    lowest = PROJECT["project"]["requires-python"].removeprefix(">=")
    assert PROJECT["tool"]["ruff"]["target-version"] == f"py{lowest.replace('.', '')}"
    assert f"Python {lowest} or newer" in (ROOT / "README.md").read_text(encoding="utf-8")
    gate = (ROOT / "ci" / "workflows" / "gate.yml").read_text()
    assert f'python: ["{lowest}", ' in gate
    assert f'python-version: "{lowest}"' in gate, "of the lowest environment"


def test_what_a_workflow_runs_is_named_by_its_commit() -> None:
    """A tag can be moved; what stands here was looked up in the action's own repository."""
    used = [(path.name, word) for path in WORKFLOWS for word in re.findall("^[ -]+uses: (.*)$", path.read_text(), re.M)]
    assert len(used) > 10
    for name, word in used:
        assert word in ("./ci/action", ELSEWHERE) or re.fullmatch(
            r"actions/[a-z/-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", word
        ), (name, word)
    # One commit for each action, wherever it is used.
    pins = {tuple(re.split("[/@]", word)[1:2] + word.split("@")[1:]) for _, word in used if "@" in word}
    assert len({action for action, _ in pins}) == len(pins)


def test_the_action_is_given_what_it_takes() -> None:
    """A runner only warns of an input that there is not, and goes on without."""
    action = (ROOT / "ci" / "action" / "action.yml").read_text(encoding="utf-8")
    taken = set(re.findall(r"^  ([\w-]+):$", action.partition("\ninputs:\n")[2].partition("\noutputs:\n")[0], re.M))
    given = {}
    for path in WORKFLOWS:
        for inputs in re.findall(r"uses: \S*ci/action\S*\n +with:\n((?: {10}.*\n)+)", path.read_text(encoding="utf-8")):
            given[path.name] = {line.split(":")[0].strip() for line in inputs.splitlines()}
    assert given.keys() == {"gate.yml", "nightly.yml", "layer.yml", "nightly-torch.yml"}
    assert all(names <= taken for names in given.values()), given
    assert "torch" not in given["nightly-torch.yml"], "which would replace the nightly build"


def test_torch_comes_from_one_index() -> None:
    """Of two that are asked at once, either could give any name."""
    lines = [line for path in WORKFLOWS for line in path.read_text().splitlines() if "pip install" in line]
    assert not [line for line in lines if "extra-index" in line]
    asked = [line for line in lines if re.search(r"(?<!-)\btorch(==| )", line)]
    assert len(asked) >= 5
    assert [line for line in asked if line.count("--index-url") != 1] == []
    assert "extra-index" not in (ROOT / "README.md").read_text(encoding="utf-8")


def pretended_torch(site: Path, version: str) -> None:
    """Metadata and a module that pass for an installed torch: what pip would have to replace."""
    info = site / f"torch-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: torch\nVersion: {version}\n")
    (info / "INSTALLER").write_text("pip\n")
    (info / "RECORD").write_text("torch.py,,\n")
    (site / "torch.py").write_text(f"__version__ = {version!r}\n")


def test_nothing_that_is_installed_without_torch_needs_torch() -> None:
    """Whatever the list names, with all that those need here in turn; the README's line installs embcheck by itself."""
    (line,) = (each for each in (ROOT / "README.md").read_text("utf-8").splitlines() if "ci/without-torch.txt" in each)
    assert " --no-deps -e . && " in line
    found, names = set[str](), [*listed("without-torch.txt")]
    while names:
        name = names.pop()
        try:
            needed = requirements([*(requires(name) or ())])
        except PackageNotFoundError:
            continue  # of another Python or system
        names += [each for each, where in needed.items() if "extra ==" not in where and each not in found]
        found.add(name)
    assert len(found) > len(listed("without-torch.txt"))
    assert "torch" not in found


@pytest.mark.parametrize("version", ["2.3.1", "2.99.0.dev20261101+cpu"])
def test_an_installed_torch_is_never_replaced(tmp_path: Path, version: str, full: bool) -> None:
    """What the README's line installs, up to the run itself, where an old torch or a nightly one is installed."""
    if not full:
        pytest.skip("it asks an index for packages: --full")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    line = next(line for line in readme.splitlines() if "ci/without-torch.txt" in line)
    install = line.removesuffix(" && embcheck run")
    assert install != line
    venv.create(tmp_path / "venv")
    binaries = tmp_path / "venv" / "bin"
    (site,) = (tmp_path / "venv" / "lib").glob("python*/site-packages")
    pretended_torch(site, version)
    (site / "pip").symlink_to(Path(pip.__file__).parent)  # to make one takes seconds
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment |= {"PATH": f"{binaries}{os.pathsep}{os.environ['PATH']}", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    for number, command in enumerate(install.split(" && ")):
        report = tmp_path / f"{number}.json"
        words = ["bash", "-ec", f"{command} --report {report}"]
        subprocess.run(words, cwd=ROOT, env=environment, check=True, timeout=3600)
        installed = [each["metadata"]["name"] for each in json.loads(report.read_text())["install"]]
        assert installed
        assert "torch" not in installed
    program = (
        "import torch; from importlib.metadata import version as v; print(torch.__version__, v('torch'), v('embcheck'))"
    )
    found = subprocess.check_output([binaries / "python", "-c", program], text=True, cwd=tmp_path)
    assert found.split() == [version, version, PROJECT["project"]["version"]]
