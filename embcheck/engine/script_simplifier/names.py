"""Names of a program: which scope binds each, what binds it there, and where it is read."""

from __future__ import annotations

import ast
from collections import defaultdict

from embcheck.engine.script_simplifier.text import Text

Function = ast.FunctionDef | ast.Lambda
_COMPREHENSIONS = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp


class Scope:
    """A module, class, function or comprehension: what binds each of its names, and who reads it."""

    def __init__(self, node: ast.AST, outer: Scope | None) -> None:
        self.node, self.outer = node, outer
        self.bound: defaultdict[str, list[ast.AST]] = defaultdict(list)
        self.read: defaultdict[str, list[ast.Name]] = defaultdict(list)
        self.elsewhere: dict[str, Scope] = {}  # where the names are bound that are nonlocal or global here

    def bind(self, name: str, node: ast.AST) -> None:
        self.elsewhere.get(name, self).bound[name].append(node)

    def home(self, name: str) -> Scope:
        """The scope whose name it is; the module's if nobody binds it."""
        scope, first = self, True
        while scope.outer is not None and (
            name not in scope.bound or (isinstance(scope.node, ast.ClassDef) and not first)
        ):
            scope, first = scope.outer, False
        return scope


class Names(ast.NodeVisitor):
    """The scopes of a program.  Annotations are not read: no program here evaluates its own."""

    def __init__(self, text: Text) -> None:
        self._text = text
        self.module = self._scope = Scope(text.tree, None)
        self.scope_of: dict[ast.AST, Scope] = {text.tree: self.module}
        self._waiting: list[tuple[Scope, ast.Name]] = []
        self.generic_visit(text.tree)
        for scope, node in self._waiting:
            scope.home(node.id).read[node.id].append(node)

    def visit(self, node: ast.AST) -> None:
        self.scope_of.setdefault(node, self._scope)
        super().visit(node)

    def generic_visit(self, node: ast.AST) -> None:
        for below in self._text.children[node]:
            self.visit(below)

    def _within(self, node: ast.AST, *parts: ast.AST | list[ast.stmt] | list[ast.expr]) -> Scope:
        outer, self._scope = self._scope, Scope(node, self._scope)
        made = self._scope
        if isinstance(node, Function):
            arguments = node.args
            for arg in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs):
                made.bound[arg.arg].append(arg)
            for arg in filter(None, (arguments.vararg, arguments.kwarg)):
                made.bound[arg.arg].append(arguments)  # not one value
        for part in parts:
            for each in part if isinstance(part, list) else [part]:
                self.visit(each)
        self._scope = outer
        return made

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self._scope.bind(node.name, node)
        self._outside(node.args)
        for decorator in node.decorator_list:
            self.visit(decorator)
        self.scope_of[node.args] = self._within(node, node.body)

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self._outside(node.args)
        self.scope_of[node.args] = self._within(node, node.body)

    def _outside(self, arguments: ast.arguments) -> None:
        for default in (*arguments.defaults, *filter(None, arguments.kw_defaults)):
            self.visit(default)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self._scope.bind(node.name, node)
        for outside in (*node.bases, *node.keywords, *node.decorator_list):
            self.visit(outside)
        self._within(node, node.body)

    def _comprehend(self, node: ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp) -> None:
        self._within(node, *self._text.children[node])

    visit_ListComp = visit_SetComp = visit_DictComp = visit_GeneratorExp = _comprehend  # noqa: N815 (as ast asks)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if isinstance(node.target, ast.Name):
            self._scope.bind(node.target.id, node)
        else:
            self.visit(node.target)
        if node.value is not None:
            self.visit(node.value)

    def visit_Assign(self, node: ast.Assign) -> None:
        for target in node.targets:
            if isinstance(target, ast.Name):
                self._scope.bind(target.id, node)
            else:
                self.visit(target)
        self.visit(node.value)

    def visit_Name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Load | ast.Del):  # what is deleted must be there
            self._waiting.append((self._scope, node))
        else:
            self._scope.bind(node.id, node)

    def visit_NamedExpr(self, node: ast.NamedExpr) -> None:
        scope = self._scope
        while isinstance(scope.node, _COMPREHENSIONS) and scope.outer is not None:
            scope = scope.outer
        scope.bound[node.target.id] += [node, node]  # wherever it is, it may not be reached
        self.visit(node.value)

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        if node.name:
            self._scope.bind(node.name, node)
        self.generic_visit(node)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        if isinstance(node.target, ast.Name):
            self._waiting.append((self._scope, node.target))
        self.generic_visit(node)

    def _declared(self, node: ast.Nonlocal | ast.Global) -> None:
        for name in node.names:
            scope = self.module if isinstance(node, ast.Global) else self._outer_home(name)
            scope.bound[name] += [node, node]  # not one value
            self._scope.elsewhere[name] = scope
            self._waiting.append((scope, ast.Name(name, ast.Load())))

    visit_Nonlocal = visit_Global = _declared  # noqa: N815

    def _outer_home(self, name: str) -> Scope:
        return (self._scope.outer or self.module).home(name)

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            self._scope.bind((alias.asname or alias.name).split(".")[0], node)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        for alias in node.names:
            self._scope.bind(alias.asname or alias.name, node)

    def visit_MatchAs(self, node: ast.MatchAs) -> None:
        if node.name:
            self._scope.bind(node.name, node)
        self.generic_visit(node)
