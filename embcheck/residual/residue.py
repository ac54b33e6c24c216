"""The residual program: round after round, until nothing is decided, unread or given in vain any more."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable

from embcheck.residual.constant import Program
from embcheck.residual.decided import decided
from embcheck.residual.parameter import settled, spread, unannotated
from embcheck.residual.text import Edit, applied
from embcheck.residual.unused import Unused

#: Rounds after which a program is taken as it is, and the width of a line.
_ROUNDS, _WIDTH = 400, 110


def residue(source: str) -> str:
    """The program without what its literals decide and without what nobody reads; what it prints stays the same.

    A program that compiles its own source (``torch.jit.script``) keeps its annotations.
    """
    try:
        return _residue(source)
    except (SyntaxError, RecursionError):  # a user's own source, which may be anything
        return source


def _residue(source: str) -> str:
    program = Program(source)
    if "jit.script" not in source:
        program = _edited(program, unannotated(program))
    for _ in range(_ROUNDS):
        unused = Unused(program)
        edits = list(decided(program)) or list(unused.edits())
        edits = edits or settled(program, unused) or spread(program) or _joined(program)
        edited = _edited(program, edits)
        if edited is program:
            break
        program = edited
    return _tidy(program.text.source)


def _tidy(source: str) -> str:
    """Without parentheses around the name of what is called, and without an import that annotations needed."""
    source = re.sub(r"(?<![\w\])])\((\w+)\)\(", r"\1(", source)
    if not any(isinstance(n, ast.AnnAssign) or getattr(n, "annotation", None) for n in ast.walk(ast.parse(source))):
        source = source.replace("from __future__ import annotations\n\n", "", 1)
    source = re.sub(r"\n{3,}(?= )", "\n\n", source)
    return re.sub(r"\n{4,}", "\n\n\n", source)


def _edited(program: Program, edits: Iterable[Edit]) -> Program:
    """The program with the edits, or itself if they change nothing or do not fit together."""
    source = applied(program.text, edits)
    if source == program.text.source:
        return program
    try:
        return Program(source)
    except SyntaxError:
        return program


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
