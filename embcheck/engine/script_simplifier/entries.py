"""Entries of dictionaries that nobody reads: results that the one comparison does not look at."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from typing import NamedTuple

from embcheck.engine.script_simplifier.bundles import body_of, bundling, is_by_entries, parts, returned
from embcheck.engine.script_simplifier.constant import Program
from embcheck.engine.script_simplifier.text import Edit


class Entry(NamedTuple):
    """Where entries of a dictionary are written: one in a display, or one or more by an assignment."""

    keys: tuple[str, ...]
    """The names; one that is made of pieces is its first piece and a star."""
    node: ast.AST
    value: ast.expr


def unread_entries(program: Program, is_quiet: Callable[[ast.AST], bool]) -> Iterator[Edit]:
    """The edits that leave out what is written under names that nobody reads; none if all that is seen is looked at."""
    if not all(is_by_entries(program, use) for use in program.names.module.read["seen"]):
        return
    entries = [e for e in _entries(program) if isinstance(e.node, ast.stmt) or is_quiet(e.value)]
    dead = _dead(program, entries, is_quiet)
    shown: dict[ast.Dict, set[str]] = {}
    for entry in entries:
        if not dead.issuperset(entry.keys):
            continue
        if isinstance(entry.node, ast.Dict):
            shown.setdefault(entry.node, set()).update(entry.keys)
        elif isinstance(entry.node, ast.stmt):
            yield (
                program.text.removed(entry.node)
                if is_quiet(entry.value)
                else _only_done(program, entry.node, entry.value)
            )
    for node, keys in shown.items():
        yield _shorter(program, node, keys)


def _dead(program: Program, entries: list[Entry], is_quiet: Callable[[ast.AST], bool]) -> set[str]:
    """The names under which something is written, but read at most for what is itself written under such a name."""
    dead = {key for entry in entries for key in entry.keys}
    own: set[int] = set()  # the strings under which something is written
    inside: dict[int, list[tuple[str, ...]]] = {}  # what stands in that which is written, and under which names that is
    for entry in entries:
        for node in program.text.walk(entry.value) if is_quiet(entry.value) else ():
            inside.setdefault(id(node), []).append(entry.keys)
        own |= set(map(id, _keys_of(program, entry)))
    strings = [(n, n.value) for n in program.text.nodes if isinstance(n, ast.Constant) and isinstance(n.value, str)]
    while True:
        read = {
            (text, isinstance(program.text.parents[node], ast.JoinedStr))
            for node, text in strings
            if id(node) not in own and not any(dead.issuperset(keys) for keys in inside.get(id(node), []))
        }
        live = {key for key in dead if any(_is_meant(key, text, piece) for text, piece in read)}
        # What one assignment writes goes or stays together.
        torn = [e.keys for e in entries if not dead.issuperset(e.keys) or not live.isdisjoint(e.keys)]
        live |= {key for keys in torn for key in keys}
        if live.isdisjoint(dead):
            return dead
        dead -= live


def _is_meant(key: str, text: str, is_piece: bool) -> bool:
    """Whether a string, or one that begins with it, may be a name."""
    if key.endswith("*"):
        return text.startswith(key[:-1]) or (is_piece and key.startswith(text))
    return text == key or (is_piece and key.startswith(text))


def _keys_of(program: Program, entry: Entry) -> Iterator[ast.AST]:
    """The strings, or their pieces, under which an entry is written."""
    if isinstance(entry.node, ast.Dict):
        yield next(
            k for k, v in zip(entry.node.keys, entry.node.values, strict=True) if v is entry.value and k is not None
        )
    elif isinstance(entry.node, ast.Assign):
        for target in entry.node.targets:
            yield from program.text.walk(target)


def _entries(program: Program) -> Iterator[Entry]:
    """All entries of dictionaries that are nothing but bundles of them."""
    for function, names in bundling(program).items():
        displays = [part for part in returned(program, function) if isinstance(part, ast.Dict)]
        for node in body_of(program, function):
            match node:
                case ast.Assign(targets=[ast.Name(id=name)], value=ast.Dict() as display) if name in names:
                    displays.append(display)
                case ast.AugAssign(target=ast.Name(id=name), op=ast.BitOr(), value=value) if name in names:
                    displays += [part for part in parts(value) if isinstance(part, ast.Dict)]
                case ast.Assign(targets=[ast.Subscript() | ast.Tuple() as target], value=value):
                    written = [_key(each, names) for each in getattr(target, "elts", [target])]
                    if all(written):
                        yield Entry(tuple(key for key in written if key), node, value)
        for display in displays:
            yield from _of_display(display)


def _key(target: ast.expr, names: set[str]) -> str | None:
    """The name under which a record is written to."""
    match target:
        case ast.Subscript(value=ast.Name(id=name), slice=ast.Constant(value=str() as key)) if name in names:
            return key
        case ast.Subscript(value=ast.Name(id=name), slice=ast.JoinedStr(values=[ast.Constant(value=str() as key), *_])):
            return f"{key}*" if name in names else None
    return None


def _of_display(display: ast.Dict) -> Iterator[Entry]:
    for key, value in zip(display.keys, display.values, strict=True):
        if isinstance(key, ast.Constant) and isinstance(key.value, str):
            yield Entry((key.value,), display, value)


def _only_done(program: Program, statement: ast.stmt, value: ast.expr) -> Edit:
    """What an entry was assigned, done for what else it does."""
    match value:
        case ast.Compare(left=ast.Call() as left, comparators=[ast.Constant() | ast.Name()]):
            value = left
    start, end = program.text.start(statement), program.text.end(statement)
    return Edit(start, end, program.text.of(value))


def _shorter(program: Program, display: ast.Dict, dropped: set[str]) -> Edit:
    """A dictionary without some entries."""
    text = program.text
    kept = [
        (key, value)
        for key, value in zip(display.keys, display.values, strict=True)
        if not (isinstance(key, ast.Constant) and key.value in dropped)
    ]
    if [key for key, _ in kept] == [None]:
        return text.instead(display, text.of(kept[0][1]))
    written = [f"**{text.of(v)}" if k is None else f"{text.of(k)}: {text.of(v)}" for k, v in kept]
    line = "{" + ", ".join(written) + "}"
    start = text.start(display)
    if start - text.data.rfind(b"\n", 0, start) + len(line) > 110 or "\n" in line:
        first = text.lines[display.lineno - 1]
        indent = len(first) - len(first.lstrip())
        line = "{\n" + "".join(f"{' ' * (indent + 4)}{entry},\n" for entry in written) + " " * indent + "}"
    return text.instead(display, line)
