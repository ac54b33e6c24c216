"""Hooks of mkdocs: the catalogue of laws is made from the families when the site is built, and the repository is linked."""

import sys
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parent.parent


def on_config(config: Any) -> Any:
    """Links the repository, if pyproject.toml has its address."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    if address := project["urls"].get("Repository"):
        config.repo_url, config.repo_name = address, project["name"]
    return config


def on_files(files: Any, config: Any) -> Any:
    """Adds ``laws.md``."""
    from mkdocs.structure.files import File

    files.append(File.generated(config, "laws.md", content=page()))
    return files


def page() -> str:
    """Every law as a sentence, with its source, what it obliges its cases to meet, and the function that decides it."""
    sys.path.insert(0, str(ROOT))
    from embcheck.known.page import inline
    from embcheck.subject.collect import load_families

    families = load_families().values()
    count = sum(len(family.laws) for family in families)
    parts = [
        f"# The laws\n\n{count} laws in {len(families)} families. A family's laws are judged on the same execution.\n\n"
        "A family's cover is made in the gate and in *deep*, in its first mode; *quick* and its further modes have combinations of "
        "two axes at most. An invalid combination is replaced by a nearby valid one, so some are not tested.\n"
    ]
    for family in families:
        t = family.space.strength
        parts.append(
            f"## {family.name}\n\nModes of its own: {', '.join(family.modes)}. Its cover has every combination of the values "
            f"of any {t} of its {len(family.space.axes)} axes.\n"
        )
        for law in family.laws:
            facts = [f"source: {inline(law.source)}"] if law.source else []
            facts += [f"must_cover: {', '.join(f'`{name}`' for name in sorted(law.must_cover))}"] if law.must_cover else []
            facts += ["a refusal: the execution must raise"] if law.refusal else []
            facts += ["advisory: no document promises it"] if law.advisory else []
            body = "".join(f"\n    - {fact}" for fact in facts)
            parts.append(f"- `{law.name}` {inline(law.sentence)}{chr(10) if body else ''}{body}")
        parts.append("")
    return "\n".join(parts)
