"""What is known of a program's expressions before it runs: literals, and parameters that every call gives alike."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any

from embcheck.engine.script_simplifier.names import Names, Scope
from embcheck.engine.script_simplifier.text import Text


class Unknown(Exception):
    """A value is not known before the program runs."""


class Named:
    """A function of the program, as a value."""

    def __init__(self, definition: ast.FunctionDef) -> None:
        self.definition = definition

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Named) and other.definition is self.definition

    def __hash__(self) -> int:
        return hash(self.definition)


_COMPARED: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq, ast.NotEq: operator.ne, ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt,
    ast.GtE: operator.ge, ast.Is: operator.is_, ast.IsNot: operator.is_not,
    ast.In: lambda a, b: a in b, ast.NotIn: lambda a, b: a not in b,
}  # fmt: skip
_BUILTINS: dict[str, Callable[..., Any]] = {
    "len": len,
    "bool": bool,
    "any": any,
    "all": all,
    "callable": lambda thing: isinstance(thing, Named),
}
_SIMPLE = (bool, int, float, str, type(None), Named)


class Program:
    """A program with what is known of it."""

    def __init__(self, text: Text) -> None:
        self.text = text
        self.names = Names(text)
        self._values: dict[tuple[Scope, str], Any] = {}

    # -- values ------------------------------------------------------------------------------------------------------

    def value(self, node: ast.expr) -> Any:
        """The value of an expression: a simple one, or a tuple of such.

        Raises:
            Unknown: if that is decided elsewhere.
        """
        match node:
            case ast.Constant(value=value) if isinstance(value, _SIMPLE):
                return value
            case ast.Name(id=name, ctx=ast.Load()):
                return self._named(self.names.scope_of[node].home(name), name)
            case ast.Tuple(elts=members):
                return tuple(self.value(member) for member in members)
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return not self.value(operand)
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return -self._number(operand)
            case ast.BoolOp(op=op, values=values):
                return self._either(isinstance(op, ast.Or), values)
            case ast.IfExp(test=test, body=body, orelse=orelse):
                return self.value(body if self.value(test) else orelse)
            case ast.Compare(left=left, ops=ops, comparators=others):
                return self._compared(left, ops, others)
            case ast.Call(func=ast.Name(id=name), args=[argument], keywords=[]) if self._is_builtin(node.func, name):
                return _BUILTINS[name](
                    self._sequence(argument) if name in ("any", "all", "len") else self.value(argument)
                )
            case ast.Call(
                func=ast.Attribute(value=ast.Constant(value=str() as text), attr=act), args=[given], keywords=[]
            ):
                return self._begins_or_ends(text, act, self.value(given))
            case ast.Call(func=ast.Name() as called):
                return self._returned(called, [*node.args, *(keyword.value for keyword in node.keywords)])
            case ast.Call(func=ast.Attribute(value=ast.Name(id="torch"), attr="is_grad_enabled")) if self._learns:
                return True
        raise Unknown

    @staticmethod
    def _begins_or_ends(text: str, act: str, given: Any) -> bool:
        if act in ("startswith", "endswith") and isinstance(given, str | tuple):
            return bool(getattr(text, act)(given))
        raise Unknown

    def _returned(self, called: ast.Name, given: list[ast.expr]) -> Any:
        """What a function gives that does nothing but give something known, such as None."""
        function = self.value(called)
        if isinstance(function, Named) and all(isinstance(each, ast.Name | ast.Constant) for each in given):
            match function.definition.body:
                case [ast.Pass()] | [ast.Return(value=None)]:
                    return None
                case [ast.Return(value=ast.Constant(value=value))] if isinstance(value, _SIMPLE):
                    return value
        raise Unknown

    @cached_property
    def _learns(self) -> bool:
        """Whether gradients are on from the beginning to the end."""
        return not any(word in self.text.source for word in ("no_grad", "inference_mode", "set_grad_enabled"))

    def known(self, node: ast.expr) -> bool:
        try:
            self.value(node)
        except Unknown:
            return False
        return True

    def verdict(self, test: ast.expr) -> bool | None:
        """What a condition comes to; None if it is not known.

        In ``a and False`` it is, though ``a`` is not; only of calls it is not known what else they do.
        """
        if self.known(test):
            return bool(self.value(test))
        if not isinstance(test, ast.BoolOp):
            return None
        decides = isinstance(test.op, ast.Or)
        for operand in test.values:
            if self.known(operand) and bool(self.value(operand)) == decides:
                return decides
            if any(isinstance(node, ast.Call | ast.NamedExpr) for node in self.text.walk(operand)):
                return None
        return None

    def _is_builtin(self, node: ast.expr, name: str) -> bool:
        home = self.names.scope_of[node].home(name)
        return name in _BUILTINS and name not in home.bound

    def _number(self, node: ast.expr) -> Any:
        value = self.value(node)
        if not isinstance(value, (int, float)):
            raise Unknown
        return value

    def _sequence(self, node: ast.expr) -> Any:
        """A tuple or a string; of a generator only that it gives nothing."""
        if isinstance(node, ast.GeneratorExp) and len(node.generators) == 1:
            if self._sequence(node.generators[0].iter):
                raise Unknown
            return ()
        value = self.value(node)
        if not isinstance(value, (tuple, str)):
            raise Unknown
        return value

    def _either(self, is_or: bool, values: list[ast.expr]) -> Any:
        """The value of ``and`` and ``or``: decided by the first that decides it, if all before it are known."""
        value: Any = None
        for node in values:
            value = self.value(node)
            if bool(value) == is_or:
                break
        return value

    def is_something(self, node: ast.expr) -> bool:
        """Whether an expression is certainly not None, though its value may not be known."""
        match node:
            case ast.Dict() | ast.List() | ast.Set() | ast.Tuple() | ast.ListComp() | ast.DictComp() | ast.Lambda():
                return True
            case ast.Name(id=name, ctx=ast.Load()):
                home = self.names.scope_of[node].home(name)
                match home.bound.get(name, []):
                    case [ast.Assign(targets=[ast.Name()], value=value)]:
                        return self.is_something(value)
                    case [ast.arg() as parameter] if isinstance(home.node, ast.FunctionDef):
                        return self._is_given(home.node, parameter)
        return False

    def _is_given(self, definition: ast.FunctionDef, parameter: ast.arg) -> bool:
        try:
            given = [self._argument(call, definition, parameter) for call in self.calls(definition)]
        except Unknown:
            return False
        return bool(given) and all(node is not None and self.is_something(node) for node in given)

    def _compared(self, left: ast.expr, ops: list[ast.cmpop], others: list[ast.expr]) -> bool:
        match ops, others:
            case [ast.Is() | ast.IsNot() as op], [ast.Constant(value=None)] if self.is_something(left):
                return isinstance(op, ast.IsNot)
        one = self.value(left)
        for comparison, node in zip(ops, others, strict=True):
            other = tuple(map(self.value, node.elts)) if isinstance(node, (ast.List, ast.Set)) else self.value(node)
            if isinstance(comparison, ast.Is | ast.IsNot) and one is not None and other is not None:
                raise Unknown  # identity of anything but None is not the program's to know
            try:
                if not _COMPARED[type(comparison)](one, other):
                    return False
            except TypeError:
                raise Unknown from None
            one = other
        return True

    # -- names -------------------------------------------------------------------------------------------------------

    def _named(self, home: Scope, name: str) -> Any:
        """What a name always is: it is bound once, to what is known."""
        if (home, name) not in self._values:
            self._values[home, name] = Unknown  # against cycles
            try:
                self._values[home, name] = self._bound(home, name)
            except Unknown:
                pass
        value = self._values[home, name]
        if value is Unknown:
            raise Unknown
        return value

    def _bound(self, home: Scope, name: str) -> Any:
        bindings = home.bound.get(name, [])
        if len(bindings) != 1 or isinstance(home.node, ast.ClassDef):
            raise Unknown
        match bindings[0]:
            case ast.FunctionDef(decorator_list=[]) as definition:
                return Named(definition)
            case ast.Assign(targets=[ast.Name()], value=given) | ast.AnnAssign(value=ast.expr() as given):
                return self.value(given)
            case ast.arg() as parameter if isinstance(home.node, ast.FunctionDef):
                return self._given(home.node, parameter)
        raise Unknown

    def calls(self, definition: ast.FunctionDef) -> list[ast.Call]:
        """All calls of a function that nothing but calls refers to; none if it is handed on, or is a method."""
        scope = self.names.scope_of[definition]
        if isinstance(scope.node, ast.ClassDef) or len(scope.bound[definition.name]) != 1 or definition.decorator_list:
            return []
        found = []
        for use in scope.read[definition.name]:
            call = self.text.parents.get(use)
            if not isinstance(call, ast.Call) or call.func is not use:
                return []
            found.append(call)
        return found

    def _given(self, definition: ast.FunctionDef, parameter: ast.arg) -> Any:
        """What every call gives for a parameter."""
        found = [self._argument(call, definition, parameter) for call in self.calls(definition)]
        if not found or any(node is None for node in found):
            raise Unknown
        values = [self.value(node) for node in found if node is not None]
        if any(repr(value) != repr(values[0]) or value != values[0] for value in values[1:]):
            raise Unknown
        return values[0]

    def _argument(self, call: ast.Call, definition: ast.FunctionDef, parameter: ast.arg) -> ast.expr | None:
        """The expression that a call gives for a parameter, which may be its default.

        Raises:
            Unknown: if that can't be seen, for there are * and ** in the call.
        """
        if any(isinstance(a, ast.Starred) for a in call.args) or any(k.arg is None for k in call.keywords):
            raise Unknown
        arguments = definition.args
        places = [*arguments.posonlyargs, *arguments.args]
        if parameter in places[: len(call.args)]:
            return call.args[places.index(parameter)]
        for keyword in call.keywords:
            if keyword.arg == parameter.arg:
                return keyword.value
        if parameter in places:
            at = places.index(parameter) - len(places)
            return arguments.defaults[at] if -at <= len(arguments.defaults) else None
        at = arguments.kwonlyargs.index(parameter)
        return arguments.kw_defaults[at]

    @cached_property
    def functions(self) -> list[ast.FunctionDef]:
        """All functions that are no methods."""
        return [
            node
            for node in self.text.nodes
            if isinstance(node, ast.FunctionDef) and not isinstance(self.names.scope_of[node].node, ast.ClassDef)
        ]

    def statements(self) -> Iterator[ast.stmt]:
        return (node for node in self.text.nodes if isinstance(node, ast.stmt))
