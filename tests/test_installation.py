"""Installing embcheck: the second line of the README leaves an installed torch alone, whatever its version."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import venv
from pathlib import Path

import pytest
from packaging.requirements import Requirement

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parent.parent


def requirements(lines: list[str]) -> dict[str, str]:
    found = (Requirement(line) for line in lines if line and not line.startswith("#"))
    return {requirement.name: str(requirement.specifier) + str(requirement.marker or "") for requirement in found}


def test_list_without_torch_is_the_package_s_own() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = requirements(project["dependencies"])
    assert declared.pop("torch") == ">=2.4"
    assert requirements((ROOT / "ci" / "without-torch.txt").read_text().splitlines()) == declared


def pretended_torch(site: Path, version: str) -> None:
    """Metadata and a module that pass for an installed torch: what pip would have to replace."""
    info = site / f"torch-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: torch\nVersion: {version}\n")
    (info / "INSTALLER").write_text("pip\n")
    (info / "RECORD").write_text("torch.py,,\n")
    (site / "torch.py").write_text(f"__version__ = {version!r}\n")


@pytest.mark.parametrize("version", ["2.3.1", "2.99.0.dev20261101+cpu"])
def test_an_installed_torch_is_never_replaced(tmp_path: Path, version: str) -> None:
    """Runs the README's line, up to the run itself, where an old or a nightly torch is installed."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    line = next(line for line in readme.splitlines() if "ci/without-torch.txt" in line)
    install = line.removesuffix(" && embcheck run")
    assert install != line
    venv.create(tmp_path / "venv", with_pip=True)
    binaries = tmp_path / "venv" / "bin"
    (site,) = (tmp_path / "venv" / "lib").glob("python*/site-packages")
    pretended_torch(site, version)
    environment = {
        **os.environ,
        "PATH": f"{binaries}{os.pathsep}{os.environ['PATH']}",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    }
    environment.pop("PYTHONPATH", None)
    subprocess.run(["bash", "-ec", install], cwd=ROOT, env=environment, check=True, timeout=300)
    found = subprocess.run(
        [
            binaries / "python",
            "-c",
            "import torch, importlib.metadata as m; print(torch.__version__, m.version('torch'))",
        ],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    )
    assert found.stdout.split() == [version, version]
    listed = subprocess.run([binaries / "python", "-m", "pip", "list"], capture_output=True, text=True, check=True)
    assert re.search(r"^embcheck ", listed.stdout, re.MULTILINE)
