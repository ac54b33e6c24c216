"""The residual program: round after round, until nothing is decided, unread or given in vain any more."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable

from embcheck.engine.script_simplifier.constant import Program
from embcheck.engine.script_simplifier.decided import decided
from embcheck.engine.script_simplifier.parameter import settled, spread, unannotated
from embcheck.engine.script_simplifier.text import Edit, Text, applied
from embcheck.engine.script_simplifier.unused import Unused

#: Rounds after which a program is taken as it is, and the width of a line.
_ROUNDS, _WIDTH = 400, 110


def simplified(source: str) -> str:
    """The program without what its literals decide and without what nobody reads; what it prints stays the same.

    A program that compiles its own source (``torch.jit.script``) keeps its annotations.
    """
    try:
        return _residue(source)
    except (SyntaxError, RecursionError):  # a user's own source, which may be anything
        return source


def _residue(source: str) -> str:
    text = Text(source)
    if "jit.script" not in source:
        text = _edited(text, unannotated(Program(text)))
    for _ in range(_ROUNDS):
        program = Program(text)
        unused = Unused(program)
        edits = list(decided(program)) or list(unused.edits())
        edits = edits or settled(program, unused) or spread(program) or _joined(program)
        edited = _edited(text, edits)
        if edited.source == text.source:
            break
        text = edited
    return _tidy(text)


def _tidy(text: Text) -> str:
    """Without parentheses around the name of what is called, and without an import that annotations needed."""
    source = re.sub(r"(?<![\w\])])\((\w+)\)\(", r"\1(", text.source)
    if not any(isinstance(n, ast.AnnAssign) or getattr(n, "annotation", None) for n in text.nodes):
        source = source.replace("from __future__ import annotations\n\n", "", 1)
    source = re.sub(r"\n{3,}(?= )", "\n\n", source)
    return re.sub(r"\n{4,}", "\n\n\n", source)


def _edited(text: Text, edits: Iterable[Edit]) -> Text:
    """The text with the edits, or as it was if they do not fit together."""
    edited = applied(text, edits)
    try:
        return text if edited == text.source else Text(edited)
    except SyntaxError:
        return text


def _joined(program: Program) -> list[Edit]:
    """Signatures and calls on one line where they fit."""
    text, edits = program.text, []
    for node in text.nodes:
        if isinstance(node, ast.FunctionDef) and node.body[0].lineno > node.lineno + 1:
            end = node.lineno
            while not text.lines[end - 1].endswith(":"):
                end += 1
            if end == node.lineno or any("#" in line for line in text.lines[node.lineno - 1 : end]):
                continue
            joined = " ".join(line.strip() for line in text.lines[node.lineno - 1 : end])
            joined = joined.replace("( ", "(").replace(", )", ")")
            if node.col_offset + len(joined) <= _WIDTH:
                edits.append(text.whole(node.lineno, end, " " * node.col_offset + joined + "\n"))
    return edits
