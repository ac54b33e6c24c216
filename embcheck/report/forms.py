"""How a run can be printed: what the command line takes and whoever follows a run heeds."""

from __future__ import annotations

#: What ``--format`` may be: two of them are one document and nothing else; github is text with annotations.
FORMS = ("text", "json", "junit", "github")
DOCUMENTS = ("json", "junit")
#: Whether there is colour, by what ``--color`` asks for: None where the terminal and NO_COLOR decide.
COLOURS = {"auto": None, "always": True, "never": False}
