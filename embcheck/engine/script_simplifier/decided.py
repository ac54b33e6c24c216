"""Branches that are decided before the program runs: the one that is taken stays."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from embcheck.engine.script_simplifier.constant import Named, Program, Unknown
from embcheck.engine.script_simplifier.text import Edit


def decided(program: Program) -> Iterator[Edit]:
    """The edits that leave of each decided branch what is taken."""
    for node in program.text.nodes:
        match node:
            case ast.If(test=test) if (verdict := program.verdict(test)) is not None:
                yield _if(program, node, verdict)
            case ast.While(test=test, orelse=[]) if program.verdict(test) is False:
                yield program.text.removed(node)
            case ast.For(iter=iterable, orelse=[]) if _is_nothing(program, iterable):
                yield program.text.removed(node)
            case ast.Match():
                yield from _match(program, node)
            case ast.Try():
                yield from _try(program, node)
            case ast.IfExp(test=test) if (verdict := program.verdict(test)) is not None:
                yield program.text.instead(node, program.text.of(node.body if verdict else node.orelse))
            case ast.Call(func=ast.Name(id="getattr"), args=[ast.Name() | ast.Attribute() as thing, name], keywords=[]):
                if isinstance(name, ast.Constant) and isinstance(name.value, str) and name.value.isidentifier():
                    yield program.text.instead(node, f"{program.text.of(thing)}.{name.value}")
            case ast.Compare() | ast.UnaryOp(op=ast.Not()) | ast.BoolOp():
                yield from _simpler(program, node)
            case ast.comprehension(ifs=[test]) if program.verdict(test):
                yield from _condition(program, node)
            case ast.stmt() if _is_unreached(program, node):
                yield program.text.removed(node)


def _is_nothing(program: Program, iterable: ast.expr) -> bool:
    return program.known(iterable) and program.value(iterable) == ()


def _is_unreached(program: Program, statement: ast.stmt) -> bool:
    if isinstance(program.text.parents[statement], ast.Module):
        return False
    block = program.text.block(statement)
    at = next(k for k, member in enumerate(block) if member is statement)
    return at > 0 and isinstance(block[at - 1], ast.Return | ast.Raise | ast.Continue | ast.Break)


def _if(program: Program, node: ast.If, taken: bool) -> Edit:
    text = program.text
    indent = node.col_offset
    is_elif = text.lines[node.lineno - 1][indent:].startswith("elif")
    last = node.end_lineno or node.lineno
    if taken:
        body = text.inside(node.body, indent + 4 * is_elif)
        return text.whole(node.lineno, last, " " * indent + "else:\n" + body if is_elif else body)
    if not node.orelse:
        return text.whole(node.lineno, last) if is_elif else text.removed(node)
    first = node.orelse[0]
    inner_elif = isinstance(first, ast.If) and text.lines[first.lineno - 1][first.col_offset :].startswith("elif")
    if inner_elif:
        rest = "\n".join(text.lines[first.lineno - 1 : last]) + "\n"
        return text.whole(node.lineno, last, rest if is_elif else rest.replace("elif", "if", 1))
    body = text.inside(node.orelse, indent + 4 * is_elif)
    return text.whole(node.lineno, last, " " * indent + "else:\n" + body if is_elif else body)


def _match(program: Program, node: ast.Match) -> Iterator[Edit]:
    if not program.known(node.subject):
        return
    value = program.value(node.subject)
    for case in node.cases:
        if case.guard is not None:
            return
        try:
            if _matches(program, case.pattern, value):
                break
        except Unknown:
            return
    else:
        yield program.text.removed(node)
        return
    last = node.end_lineno or node.lineno
    yield program.text.whole(node.lineno, last, program.text.inside(case.body, node.col_offset))


def _matches(program: Program, pattern: ast.pattern, value: object) -> bool:
    match pattern:
        case ast.MatchValue(value=expected):
            return bool(program.value(expected) == value)
        case ast.MatchSingleton(value=single):
            return single is value
        case ast.MatchOr(patterns=patterns):
            return any(_matches(program, each, value) for each in patterns)
        case ast.MatchAs(pattern=None, name=None):
            return True
    raise Unknown


def _try(program: Program, node: ast.Try) -> Iterator[Edit]:
    """Without handlers that only raise again what they caught."""
    again = [h for h in node.handlers if [ast.unparse(s) for s in h.body] == ["raise"]]
    if not again or len(again) < len(node.handlers) or node.orelse or node.finalbody:
        return
    last = node.end_lineno or node.lineno
    yield program.text.whole(node.lineno, last, program.text.inside(node.body, node.col_offset))


def _simpler(program: Program, node: ast.expr) -> Iterator[Edit]:
    """A condition as its value, or without what does not decide it."""
    text = program.text
    if program.known(node):
        value = program.value(node)
        if not isinstance(value, (tuple, Named)):
            yield text.instead(node, repr(value))
        return
    if not isinstance(node, ast.BoolOp):
        return
    is_or = isinstance(node.op, ast.Or)
    left = []
    for place, operand in enumerate(node.values):
        if program.known(operand) and bool(program.value(operand)) == is_or:
            left.append(operand)
            break  # what follows is never looked at
        if not program.known(operand) or place == len(node.values) - 1:
            left.append(operand)
    if len(left) < len(node.values):
        parts = [f"({text.of(o)})" if isinstance(o, ast.BoolOp | ast.IfExp) and left[1:] else text.of(o) for o in left]
        joined = (" or " if is_or else " and ").join(parts)
        yield text.instead(node, f"({joined})" if "\n" in joined else joined)


def _condition(program: Program, node: ast.comprehension) -> Iterator[Edit]:
    end, start = program.text.end(node.iter), program.text.start(node.ifs[0])
    if program.text.data[end:start].strip() == b"if":
        yield Edit(end, program.text.end(node.ifs[0]))
