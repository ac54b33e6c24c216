"""A program as text and as a tree, and edits of the text: what is kept keeps its layout and its comments."""

from __future__ import annotations

import ast
import textwrap
from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import NamedTuple

#: Fields of nodes that hold contexts and operators: one object stands for all of a kind, which is nowhere.
_NOWHERE = frozenset({"ctx", "op", "ops"})


class Edit(NamedTuple):
    """A piece of the text, in bytes from ``start`` to ``end``, and what replaces it."""

    start: int
    end: int
    text: str = ""


class Text:
    """A program's source with its tree.

    Raises:
        SyntaxError: if it is none.
    """

    def __init__(self, source: str) -> None:
        self.source = source
        self.tree = ast.parse(source)
        #: All nodes as `ast.walk` gives them, and those right below each, but for contexts and operators.  They are asked for
        #: again and again, and to find them takes longer than to look at them.
        self.nodes: list[ast.AST] = [self.tree]
        self.children: dict[ast.AST, list[ast.AST]] = {}
        for node in self.nodes:
            self.children[node] = below = _below(node)
            self.nodes += below
        self.data = source.encode()
        self.lines = source.split("\n")
        self._starts = [0]
        for line in self.lines:
            self._starts.append(self._starts[-1] + len(line.encode()) + 1)

    @cached_property
    def parents(self) -> dict[ast.AST, ast.AST]:
        """The node around each node."""
        return {child: node for node, below in self.children.items() for child in below}

    def walk(self, node: ast.AST) -> list[ast.AST]:
        """A node and all below it, as `ast.walk` gives them."""
        found = [node]
        for each in found:
            found += self.children[each]
        return found

    def around(self, node: ast.AST) -> Iterator[ast.AST]:
        """The nodes around a node, from the inside."""
        while node in self.parents:
            node = self.parents[node]
            yield node

    # -- places ------------------------------------------------------------------------------------------------------

    def start(self, node: ast.expr | ast.stmt | ast.arg | ast.keyword) -> int:
        return self._starts[node.lineno - 1] + node.col_offset

    def end(self, node: ast.expr | ast.stmt | ast.arg | ast.keyword) -> int:
        return self._starts[(node.end_lineno or node.lineno) - 1] + (node.end_col_offset or 0)

    def of(self, node: ast.expr) -> str:
        """The text of an expression, in parentheses where its lines need some."""
        text = self.data[self.start(node) : self.end(node)].decode()
        bracketed = text[0] in "([{" or isinstance(node, ast.Call | ast.Subscript | ast.Attribute | ast.Constant)
        return text if "\n" not in text or bracketed else f"({text})"

    # -- edits -------------------------------------------------------------------------------------------------------

    def instead(self, node: ast.expr, text: str) -> Edit:
        """An expression replaced."""
        return Edit(self.start(node), self.end(node), text)

    def whole(self, first: int, last: int, text: str = "") -> Edit:
        """Lines replaced, counted from one, both ends included."""
        return Edit(self._starts[first - 1], self._starts[last], text)

    def first_line(self, statement: ast.stmt) -> int:
        """The line where a statement begins, with decorators and the comments that stand right above."""
        decorators: list[ast.expr] = getattr(statement, "decorator_list", [])
        first = min([statement.lineno, *(d.lineno for d in decorators)])
        indent = " " * statement.col_offset
        while first > 1 and self.lines[first - 2].startswith(f"{indent}#") and not self._is_heading(first - 1):
            first -= 1
        return first

    def _is_heading(self, line: int) -> bool:
        """Whether a comment is one of those above the whole program."""
        return all(text.startswith("#") for text in self.lines[:line])

    def removed(self, statement: ast.stmt) -> Edit:
        """A statement left out; the only one of its block leaves a ``pass``."""
        block = self.block(statement)
        left = f"{' ' * statement.col_offset}pass\n" if len(block) == 1 and not self._is_top(statement) else ""
        return self.whole(self.first_line(statement), statement.end_lineno or statement.lineno, left)

    def _is_top(self, statement: ast.stmt) -> bool:
        return isinstance(self.parents[statement], ast.Module)

    def block(self, statement: ast.stmt) -> list[ast.stmt]:
        """The statements among which one stands."""
        for _, value in ast.iter_fields(self.parents[statement]):
            if isinstance(value, list) and any(member is statement for member in value):
                return value
        raise AssertionError("a statement stands in a block")

    def inside(self, block: list[ast.stmt], indent: int) -> str:
        """The lines of a block with the comments above its first statement, moved to another indentation."""
        first = self.first_line(block[0])
        text = "\n".join(self.lines[first - 1 : block[-1].end_lineno])
        return textwrap.indent(textwrap.dedent(text), " " * indent) + "\n"


def _below(node: ast.AST) -> list[ast.AST]:
    """The nodes right below one, as `ast.iter_child_nodes` gives them."""
    found: list[ast.AST] = []
    for name in node._fields:
        if name not in _NOWHERE:
            value = getattr(node, name, None)
            if isinstance(value, list):
                found += [each for each in value if isinstance(each, ast.AST)]
            elif isinstance(value, ast.AST):
                found.append(value)
    return found


def applied(text: Text, edits: Iterable[Edit]) -> str:
    """The text with the edits; of some that overlap the outermost."""
    data, chosen = text.data, []
    reached = -1
    for edit in sorted(set(edits), key=lambda edit: (edit.start, -edit.end)):
        if edit.start >= reached:
            chosen.append(edit)
            reached = max(edit.end, edit.start + 1)
    for edit in reversed(chosen):
        data = data[: edit.start] + edit.text.encode() + data[edit.end :]
    return data.decode()
