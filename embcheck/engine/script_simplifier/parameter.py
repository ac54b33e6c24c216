"""Parameters: one that every call gives alike is written where it is read; one that is not read is not given."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from embcheck.engine.script_simplifier.constant import Named, Program, Unknown
from embcheck.engine.script_simplifier.text import Edit
from embcheck.engine.script_simplifier.unused import Unused


def settled(program: Program, unused: Unused) -> list[Edit]:
    """The edits that rid the program of parameters; those of one belong together and touch no other's."""
    chosen: list[Edit] = []
    for function in program.functions:
        calls = program.calls(function)
        for parameter in (*function.args.args, *function.args.kwonlyargs) if calls else ():
            edits = _without(program, function, parameter, calls, unused) or []
            if not any(one.start < other.end and other.start < one.end for one in edits for other in chosen):
                chosen += edits
    return chosen


def _without(
    program: Program, function: ast.FunctionDef, parameter: ast.arg, calls: list[ast.Call], unused: Unused
) -> list[Edit] | None:
    inner = program.names.scope_of[function.args]
    reads = inner.read[parameter.arg]
    if len(inner.bound[parameter.arg]) != 1 or not _is_plain(function.args, parameter):
        return None
    edits: list[Edit] = []
    if reads:
        try:
            value = program.value(reads[0])
        except Unknown:
            return None
        written = _literal(program, function, parameter, value)
        if written is None or (
            not isinstance(value, str | tuple | Named) and any(_is_looked_into(program, r) for r in reads)
        ):
            return None
        edits += [program.text.instead(use, written) for use in reads]
    for call in calls:
        place = _place(call, function, parameter)
        if place is None:
            return None
        if place >= 0:
            given: list[ast.expr | ast.keyword] = [*call.args, *call.keywords]
            if not reads and not unused.is_quiet(_value(given[place])):
                return None
            edits.append(_cut(program, [(program.text.start(g), program.text.end(g)) for g in given], place))
    spans = _parameters(program, function)
    edits.append(_cut(program, [span for _, span in spans], [arg for arg, _ in spans].index(parameter)))
    return edits


def _is_looked_into(program: Program, use: ast.Name) -> bool:
    """Whether an entry or attribute of what a name means is read, which a number or None has none of."""
    match program.text.parents[use]:
        case ast.Subscript(value=value) | ast.Attribute(value=value) | ast.Call(func=value):
            return value is use
    return False


def _is_plain(arguments: ast.arguments, parameter: ast.arg) -> bool:
    """Whether a parameter can be taken out of a signature without more ado."""
    if arguments.posonlyargs or arguments.vararg:
        return False
    return parameter in arguments.args or len(arguments.kwonlyargs) > 1


def _literal(program: Program, function: ast.FunctionDef, parameter: ast.arg, value: object) -> str | None:
    """A value in the place of a name: a function that is seen there too, or a short literal."""
    if isinstance(value, Named):
        return value.definition.name if _is_seen(program, value.definition, function, parameter) else None
    if isinstance(value, tuple) and any(isinstance(member, Named) for member in value):
        return None
    written = repr(value)
    return written if len(written) <= 30 and "inf" not in written and "nan" not in written else None


def _is_seen(program: Program, definition: ast.FunctionDef, function: ast.FunctionDef, parameter: ast.arg) -> bool:
    """Whether a function of the module is what its name means all over another one, once a parameter is gone."""
    names, name = program.names, definition.name
    inner = names.scope_of[function.args]
    inside = {scope for node in program.text.walk(function) if (scope := names.scope_of.get(node)) is not None} | {
        inner
    }
    inside.discard(names.scope_of[function])
    shadows = [binding for scope in inside for binding in scope.bound.get(name, [])]
    return names.scope_of[definition] is names.module and all(binding is parameter for binding in shadows)


def _place(call: ast.Call, function: ast.FunctionDef, parameter: ast.arg) -> int | None:
    """Where a call gives a parameter; −1 if it leaves it to its default, None if it can't be seen."""
    if any(isinstance(a, ast.Starred) for a in call.args) or any(k.arg is None for k in call.keywords):
        return None
    positional = function.args.args
    if parameter in positional[: len(call.args)]:
        return positional.index(parameter)
    names = [keyword.arg for keyword in call.keywords]
    return len(call.args) + names.index(parameter.arg) if parameter.arg in names else -1


def _value(given: ast.expr | ast.keyword) -> ast.expr:
    return given.value if isinstance(given, ast.keyword) else given


def _parameters(program: Program, function: ast.FunctionDef) -> list[tuple[ast.arg, tuple[int, int]]]:
    """The parameters with the pieces of text where they stand, with annotation and default; ``**`` at the end."""
    arguments, text = function.args, program.text
    late = dict(zip(arguments.args[len(arguments.args) - len(arguments.defaults) :], arguments.defaults, strict=True))
    named = dict(zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True))
    found = []
    for arg in (*arguments.args, *arguments.kwonlyargs):
        default = late.get(arg) or named.get(arg)
        found.append((arg, (text.start(arg), text.end(default) if default is not None else text.end(arg))))
    if arguments.kwarg is not None:
        found.append((arguments.kwarg, (text.start(arguments.kwarg) - 2, text.end(arguments.kwarg))))
    return found


def _cut(program: Program, spans: list[tuple[int, int]], place: int) -> Edit:
    """One member taken out of a list, with the comma that it needs no more."""
    start, end = spans[place]
    if place + 1 < len(spans):
        between = program.text.data[end : spans[place + 1][0]]
        if b"*" not in between:
            return Edit(start, spans[place + 1][0])
    if place > 0:
        before = spans[place - 1][1]
        if b"*" not in program.text.data[before:start]:
            return Edit(before, end)
    following = re.match(rb"\s*,\s*", program.text.data[end:])
    return Edit(start, end + (following.end() if following else 0))


def unannotated(program: Program) -> Iterator[Edit]:
    """The edits that leave annotations out: they name types of embcheck's own."""
    text = program.text
    for node in text.nodes:
        match node:
            case ast.arg(annotation=ast.expr() as annotation):
                end = text.end(annotation)
                default = re.match(rb"\s*=\s*", text.data[end:])
                end += default.end() if default else 0
                yield Edit(text.start(node) + len(node.arg.encode()), end, "=" if default else "")
            case ast.FunctionDef(returns=ast.expr() as returns):
                end = text.end(returns)
                arrow = text.data.rfind(b"->", 0, text.start(returns))
                yield Edit(arrow - (text.data[arrow - 1 : arrow] == b" "), end)
            case ast.AnnAssign(target=ast.Name() as target, value=ast.expr() as value):
                if not isinstance(program.names.scope_of[node].node, ast.ClassDef):
                    yield Edit(text.end(target), text.start(value), " = ")


def spread(program: Program) -> list[Edit]:
    """The edits that write out ``**flags`` where the keywords are literals that one call gives; of one function."""
    for function in program.functions:
        calls = program.calls(function)
        if len(calls) == 1 and function.args.vararg is None:
            edits = _written_out(program, function, calls[0])
            if edits:
                return edits
    return []


def _written_out(program: Program, function: ast.FunctionDef, call: ast.Call) -> list[Edit]:
    text, arguments = program.text, function.args
    named = {arg.arg: arg for arg in (*arguments.args, *arguments.kwonlyargs)}
    given: list[ast.expr | ast.keyword] = [*call.args, *call.keywords]
    spans = [(text.start(each), text.end(each)) for each in given]
    for place, keyword in enumerate(call.keywords, len(call.args)):
        # A dictionary that is a parameter, and one that takes the keywords nobody has named.
        if keyword.arg in named and isinstance(keyword.value, ast.Dict):
            flags = _flags(program, keyword.value)
            parameter = named[keyword.arg]
            use = _only_spread(program, function, keyword.arg)
            if flags and use is not None and _is_plain(arguments, parameter):
                signature = _parameters(program, function)
                here = [arg for arg, _ in signature].index(parameter)
                cut = _cut(program, [span for _, span in signature], here)
                return [Edit(text.start(use), text.end(use), ", ".join(flags)), _cut(program, spans, place), cut]
    rest = [keyword for keyword in call.keywords if keyword.arg not in named]
    if arguments.kwarg is None or not rest or any(k.arg is None or not _is_literal(k.value) for k in rest):
        return []
    use = _only_spread(program, function, arguments.kwarg.arg)
    if use is None or call.keywords[-len(rest) :] != rest:
        return []
    flags = [f"{keyword.arg}={text.of(keyword.value)}" for keyword in rest]
    first = given.index(rest[0])
    start = spans[first - 1][1] if first else spans[first][0]
    signature = _parameters(program, function)
    return [
        Edit(text.start(use), text.end(use), ", ".join(flags)),
        Edit(start, spans[-1][1]),
        _cut(program, [span for _, span in signature], len(signature) - 1),
    ]


def _flags(program: Program, display: ast.Dict) -> list[str]:
    """The entries of a dictionary of literals as keywords; nothing if they are none."""
    found = []
    for key, value in zip(display.keys, display.values, strict=True):
        match key:
            case ast.Constant(value=str() as name) if name.isidentifier() and _is_literal(value):
                found.append(f"{name}={program.text.of(value)}")
            case _:
                return []
    return found


def _is_literal(node: ast.expr) -> bool:
    try:
        ast.literal_eval(node)
    except ValueError:
        return False
    return True


def _only_spread(program: Program, function: ast.FunctionDef, name: str) -> ast.keyword | None:
    """The one place where a function reads a name, if that is ``**name`` among the keywords of a call."""
    scope = program.names.scope_of[function.args]
    reads = scope.read[name]
    if len(reads) != 1 or len(scope.bound[name]) != 1:
        return None
    around = program.text.parents[reads[0]]
    return around if isinstance(around, ast.keyword) and around.arg is None else None
