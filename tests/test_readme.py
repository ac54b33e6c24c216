"""The README can't lie: its commands are the ones that the gate runs, its example law is the one that is there."""

from __future__ import annotations

import re
from pathlib import Path

from embcheck.cli import app
from embcheck.collect import load_families
from embcheck.item import PROFILES

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def section(heading: str) -> str:
    return README.split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]


def test_run_and_test_are_one_line_each() -> None:
    for heading in ("Run it", "Test it"):
        first = re.findall(r"^```sh\n(.*?)^```", section(heading), re.MULTILINE | re.DOTALL)[0]
        assert len(first.strip().splitlines()) == 1
        assert "-c ci/constraints.txt" in first


def test_commands_exist() -> None:
    known = {command.name or command.callback.__name__ for command in app.registered_commands if command.callback}
    told = set(re.findall(r"(?:`|&& )embcheck ([a-z]+)", README))
    assert told == known


def test_profiles_exist() -> None:
    assert set(re.findall(r"profile[ =](quick|gate|deep)", README)) <= set(PROFILES)


def test_example_law_is_a_law() -> None:
    example = next(block for block in blocks("python") if "@padding.law" in block)
    name = re.findall(r"def (\w+)\(case, out\)", example)[0]
    law = next(law for law in load_families()["padding"].laws if law.name == name)
    sentence = re.findall(r'"(Padding rows.*?)"', example)[0]
    assert law.sentence == sentence
    compile(example, "README.md", "exec")


def test_linked_files_exist() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        if "://" not in target:
            assert (ROOT / target).exists(), target
