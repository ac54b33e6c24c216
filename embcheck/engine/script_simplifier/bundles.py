"""Dictionaries that are nothing but bundles of entries: made, read and written by constant names, merged and returned."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from embcheck.engine.script_simplifier.constant import Program


def bundling(program: Program) -> dict[ast.FunctionDef, set[str]]:
    """The functions that return such dictionaries to nobody who does more with them; and the names that these have in
    each."""
    found = {function: _names(program, function) for function in program.functions if program.calls(function)}
    while True:
        kept = {
            function: names
            for function, names in found.items()
            if all(_is_bundled(program, call, found) for call in program.calls(function))
        }
        if len(kept) == len(found):
            return kept
        found = kept


def parts(value: ast.expr) -> Iterator[ast.expr]:
    """The dictionaries that make one: itself, both sides of ``|``, and what is unpacked into it."""
    match value:
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            yield from parts(left)
            yield from parts(right)
        case ast.Dict(keys=keys, values=values):
            yield value
            yield from (part for key, member in zip(keys, values, strict=True) if key is None for part in parts(member))
        case _:
            yield value


def returned(program: Program, function: ast.FunctionDef) -> list[ast.expr]:
    """The dictionaries that make what a function returns."""
    values = [node.value for node in body_of(program, function) if isinstance(node, ast.Return)]
    return [part for value in values if value is not None for part in parts(value)]


def body_of(program: Program, function: ast.FunctionDef) -> Iterator[ast.AST]:
    """The nodes of a function's body, with those of functions in it but for what these return."""
    waiting: list[tuple[ast.AST, bool]] = [(statement, True) for statement in function.body]
    while waiting:
        node, own = waiting.pop()
        if isinstance(node, ast.Lambda | ast.ClassDef) or (isinstance(node, ast.Return) and not own):
            continue
        yield node
        waiting += [(inner, own and not isinstance(node, ast.FunctionDef)) for inner in program.text.children[node]]


def is_by_entries(program: Program, use: ast.Name) -> bool:
    """Whether a name of a dictionary is read for one entry, to be merged into what is returned, or to be returned."""
    around = program.text.parents.get(use)
    match around:
        case (
            ast.Subscript(slice=ast.Constant(value=str()) | ast.JoinedStr()) | ast.Attribute(attr="get" | "setdefault")
        ):
            return True
        case ast.AugAssign(target=target, op=ast.BitOr()):
            return target is use
    return any(use is part for part in _returned_around(program, use))


def _returned_around(program: Program, node: ast.expr) -> Iterator[ast.expr]:
    for outer in program.text.around(node):
        if isinstance(outer, ast.Return) and outer.value is not None:
            yield from parts(outer.value)


def _names(program: Program, function: ast.FunctionDef) -> set[str]:
    scope = program.names.scope_of[function.args]
    names = {part.id for part in returned(program, function) if isinstance(part, ast.Name)}
    return {name for name in names if all(is_by_entries(program, use) for use in scope.read[name])}


def _is_bundled(program: Program, call: ast.Call, found: dict[ast.FunctionDef, set[str]]) -> bool:
    """Whether what a call returns becomes what is seen, or a part of what a function returns that bundles as well."""
    function = next((node for node in program.text.around(call) if isinstance(node, ast.FunctionDef)), None)
    statement = program.text.parents[call]
    if function is None:
        return isinstance(statement, ast.Assign) and [ast.unparse(t) for t in statement.targets] == ["seen"]
    if function not in found:
        return False
    match statement:
        case ast.Assign(targets=[ast.Name(id=name)]) | ast.AugAssign(target=ast.Name(id=name), op=ast.BitOr()):
            return name in found[function]
    return any(call is part for part in _returned_around(program, call))
