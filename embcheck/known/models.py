"""What ``embcheck audit`` found in transformers: ``models.toml`` beside this file, and the pages in ``docs/audit-findings``.

``embcheck known --write`` makes the pages; the scripts are files beside them, which are written by hand.
"""

from collections.abc import Mapping
from pathlib import Path

from embcheck.core.cause import SEVERITIES, LedgerError, ModelCause, by_severity, causes_in, toml
from embcheck.known.page import counts, inline, linked, paragraphs
from embcheck.known.recorded import DOCS

DATA = Path(__file__).with_name("models.toml")
#: Where the pages are, in a checkout, and the scripts.
PAGES = DOCS / "audit-findings"
_INSTALLED = Path(__file__).with_name("model_scripts")
SCRIPTS = _INSTALLED if _INSTALLED.is_dir() else PAGES / "scripts"
_MADE = "<!-- Made by `embcheck known --write` from embcheck/known/models.toml: edit that. -->"
_FOUND = (
    "Found by `embcheck audit --hf all` with transformers 5.23.0 and torch 2.13.0 (CPU), on tiny models that are built from a "
    "configuration: 270 of 272 architectures are built (Gemma3n needs timm, Gemma4Assistant is "
    "[one of these causes](gemma4assistant-no-configuration.md)), with 1.7 s of CPU each in the median, and 78 of them have 82 "
    "findings. An architecture is a model type with one class, and a finding is one violation that the audit prints. Each "
    "class that a page names was seen again by a program without embcheck's laws. No finding was a false positive. With 5.24.0 277 "
    "of 280 are built, and 79 of them have 83 findings, of which only the scripts below were run."
)


def model_causes(path: Path = DATA) -> dict[str, ModelCause]:
    """The causes by name; for what it raises see `toml` and `causes_in`."""
    data = toml(path)
    unknown = sorted(set(data) - {"cause"})
    if unknown:
        raise LedgerError(f"ledger {path}: unknown table {', '.join(unknown)}; causes are [cause.NAME] tables")
    return causes_in(data.get("cause", {}), f"ledger {path}", ModelCause)


def model_pages(causes: Mapping[str, ModelCause]) -> dict[str, str]:
    """The text of each file in ``docs/audit-findings`` by its path there."""
    return {"index.md": index(causes)} | {f"{name}.md": one(cause) for name, cause in causes.items()}


def index(causes: Mapping[str, ModelCause]) -> str:
    """The first page: counts, and a table of all causes, the most severe first."""
    named = [name for cause in causes.values() for name in cause.where]
    return paragraphs(
        "# What transformers gets wrong",
        _MADE,
        f"{sum(bool(cause.severity) for cause in causes.values())} bugs of transformers. {_FOUND}",
        "Each has a script, which exits with 1 if the bug shows, with 0 if it is gone, and with 2 for anything else. A test runs "
        'each where transformers is installed. "Untied" means `tie_word_embeddings=False` in a class whose default is tied; '
        "a resize is a call of `resize_token_embeddings`.",
        f"A class may have several causes: the pages name {len(set(named))} classes, and {len(named)} pairs of a cause and a class."
        " This table counts a class once for each severity.",
        counts(causes.values(), "classes", lambda found: len({name for cause in found for name in cause.where})),
        "\n".join(_table(causes)),
    )


def one(cause: ModelCause) -> str:
    return paragraphs(
        f"# {cause.name}",
        _MADE,
        inline(cause.title),
        f"- **API** {inline(cause.api)}\n"
        f"- **severity** {cause.severity}: {SEVERITIES[cause.severity]}\n"
        f"- **upstream** {linked(cause.reported)}\n"
        f"- **classes** {inline(', '.join(cause.where))}\n"
        f"- **seen** with transformers {cause.seen}\n"
        f"- **script** [{cause.name}.py](scripts/{cause.name}.py)",
        f"**Why** {inline(cause.reason.strip())}",
        f"**What would mend it** {inline(cause.fix.strip())}",
    )


def _table(causes: Mapping[str, ModelCause]) -> list[str]:
    lines = ["| cause | severity | what | where | seen with | upstream |", "| --- | --- | --- | --- | --- | --- |"]
    for cause in by_severity(causes.values()):
        first, *others = cause.where
        where = f"{first} and {len(others)} more" if len(others) > 1 else ", ".join(cause.where)
        name = f"[{inline(cause.name)}]({cause.name}.md)"
        cells = (name, cause.severity, inline(cause.title), inline(where), cause.seen, linked(cause.reports))
        lines.append(f"| {' | '.join(cells)} |")
    return lines
