"""A verdict on the page: its word, the sign that goes with its colour, and what more there is to say."""

from __future__ import annotations

from dataclasses import dataclass

#: The words of the verdicts, on laws, models and claims, with a sign for each, so that colour says nothing alone.
SIGNS = {
    "violated": "✗",
    "unknown": "?",
    "known": "!",
    "holds": "✓",
    "not applicable": "–",
    "not built": "○",
    "refuted": "✗",
    "only if": "◐",
    "otherwise than stated": "!",
    "–": "·",
}


@dataclass(frozen=True)
class Mark:
    """A verdict in the table: its word, and what more there is to say."""

    word: str
    title: str = ""
    note: str = ""

    @property
    def sign(self) -> str:
        return SIGNS[self.word]

    @property
    def style(self) -> str:
        return self.word.replace(" ", "-") if self.word != "–" else "none"
