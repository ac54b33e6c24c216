"""What nobody reads: definitions, assignments, imports, and results that the one comparison does not look at."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from embcheck.engine.script_simplifier.constant import Program
from embcheck.engine.script_simplifier.entries import unread_entries
from embcheck.engine.script_simplifier.names import Scope
from embcheck.engine.script_simplifier.text import Edit

#: Calls that do nothing but give a value: builtins, and functions and methods of torch and of containers.
_QUIET_NAMES = frozenset({
    "abs", "all", "any", "bool", "bytes", "callable", "dict", "enumerate", "float", "frozenset", "getattr", "hasattr", "id",
    "int", "isinstance", "issubclass", "iter", "len", "list", "max", "min", "range", "repr", "reversed", "round", "set", "sorted",
    "str", "sum", "tuple", "type", "vars", "zip",
})  # fmt: skip
_QUIET_METHODS = frozenset({
    "abs", "all", "allclose", "any", "are_deterministic_algorithms_enabled", "buffers", "cat", "children", "clone", "copy",
    "count", "data_ptr", "dense_dim", "detach", "dim", "element_size", "endswith", "eq", "equal", "full",
    "full_like", "get", "get_default_dtype", "get_num_threads", "get_rng_state", "get_scale", "get_submodule", "index",
    "indices", "is_coalesced", "is_contiguous", "is_floating_point", "is_grad_enabled", "is_inference",
    "is_inference_mode_enabled", "isfinite", "isinf", "isnan", "item", "items", "keys", "max", "min",
    "modules", "named_buffers", "named_modules", "named_parameters", "nan_to_num", "numel", "numpy", "ones", "ones_like",
    "parameters", "removeprefix", "removesuffix", "reshape", "size", "sorted", "sparse_dim", "split", "stack", "startswith",
    "storage_offset", "stride", "sum", "tensor", "to_dense", "tobytes", "tolist", "untyped_storage",
    "values", "view", "view_as", "zeros", "zeros_like", "_indices", "_values", "_nnz", "join", "mean",
})  # fmt: skip
#: Conversions, which give another tensor but change a module: they are quiet after what only a tensor has.
_CONVERSIONS = frozenset({"cpu", "double", "float", "long", "to"})
_OF_TENSORS = frozenset({"clone", "cpu", "detach", "double", "float", "reshape", "to_dense"})
#: Methods that change a list or set, which is nobody else's where a function has just made it.
_GROWING = frozenset({"add", "append", "extend"})


class Unused:
    """Finds what nobody reads in a program."""

    def __init__(self, program: Program) -> None:
        self._program, self._text, self._names = program, program.text, program.names
        self._quiet_functions: dict[ast.FunctionDef, bool] = {}

    def edits(self) -> Iterator[Edit]:
        for statement in self._program.statements():
            if self._is_dropped(statement):
                yield self._text.removed(statement)
        yield from unread_entries(self._program, self.is_quiet)

    def _is_dropped(self, statement: ast.stmt) -> bool:
        scope = self._names.scope_of[statement]
        match statement:
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                return not isinstance(scope.node, ast.ClassDef) and not self._is_read(scope, name, statement)
            case ast.Assign(targets=targets, value=value):
                return self._all_unread(scope, targets) and self.is_quiet(value)
            case ast.AnnAssign(target=ast.Name() as target, value=ast.expr() as value):
                return self._all_unread(scope, [target]) and self.is_quiet(value)
            case ast.Import(names=names) | ast.ImportFrom(names=names):
                bound = [(alias.asname or alias.name).split(".")[0] for alias in names]
                needless = not any(scope.read[name] for name in bound)
                return needless and getattr(statement, "module", "") != "__future__" and bound != ["torch"]
            case ast.Expr(value=value):
                # Whatever else stands for itself is there for what it does, if only to raise.
                return isinstance(value, ast.Constant | ast.Name) and not _is_docstring(
                    self._text.block(statement), statement
                )
            case ast.AnnAssign(target=ast.Name(), value=None):
                return not isinstance(scope.node, ast.ClassDef)
            case ast.Pass():
                return len(self._text.block(statement)) > 1
            case ast.If(test=test, body=[ast.Pass()], orelse=[]):
                return self.is_quiet(test)
            case ast.AugAssign(op=ast.BitOr(), value=ast.Dict(keys=[])):
                return True
            case ast.For(iter=iterable, body=[ast.Pass()], orelse=[]):
                return self.is_quiet(iterable)
        return False

    def _is_read(self, scope: Scope, name: str, definition: ast.stmt) -> bool:
        """Whether anything but a definition itself reads its name."""
        inside = set(map(id, self._text.walk(definition)))
        return len(scope.bound[name]) != 1 or any(id(use) not in inside for use in scope.read[name])

    def _all_unread(self, scope: Scope, targets: list[ast.expr]) -> bool:
        """Whether targets are names, of a function or of the module, that nobody reads."""
        names = [name for target in targets for name in (target.elts if isinstance(target, ast.Tuple) else [target])]
        return not isinstance(scope.node, ast.ClassDef) and all(
            isinstance(name, ast.Name) and not scope.home(name.id).read[name.id] for name in names
        )

    # -- what does nothing but give a value ---------------------------------------------------------------------------

    def is_quiet(self, node: ast.AST) -> bool:
        """Whether to evaluate an expression changes nothing, so that it can be left out where its value is not read."""
        return not any(isinstance(step, ast.NamedExpr) for step in self._text.walk(node)) and self._does_nothing(node)

    def _does_nothing(self, node: ast.AST) -> bool:
        """The same where names of its own may be bound."""
        return all(self._is_quiet_step(step) for step in self._text.walk(node))

    def _is_quiet_step(self, node: ast.AST) -> bool:
        match node:
            case ast.Yield() | ast.YieldFrom() | ast.Await():
                return False
            case ast.Call(func=ast.Name(id=name) as called):
                home = self._names.scope_of[called].home(name)
                known = home.bound.get(name)
                if not known:
                    return name in _QUIET_NAMES
                return len(known) == 1 and isinstance(known[0], ast.FunctionDef) and self._is_quiet_function(known[0])
            case ast.Call(func=ast.Attribute(value=ast.Call(func=ast.Attribute(attr=before)), attr=name)) if (
                name in _CONVERSIONS
            ):
                return before in _OF_TENSORS
            case ast.Call(func=ast.Attribute(attr=name)):
                return name in _QUIET_METHODS
            case ast.Call():
                return False
        return True

    def _is_quiet_function(self, function: ast.FunctionDef) -> bool:
        known = self._quiet_functions
        if function not in known:
            known[function] = True  # as long as nothing speaks against it, for it may call itself
            if not all(map(self._is_quiet_statement, function.body)):
                self._quiet_functions = {f: False for f, quiet in known.items() if not quiet} | {function: False}
        return self._quiet_functions[function]

    def _is_quiet_statement(self, statement: ast.stmt) -> bool:
        match statement:
            case ast.Return(value=None) | ast.Pass() | ast.Import() | ast.ImportFrom():
                return True
            case ast.Expr(value=ast.Call(func=ast.Attribute(value=ast.Name() as grown, attr=name), args=arguments)) if (
                name in _GROWING
            ):
                return self._is_own(grown) and all(map(self._does_nothing, arguments))
            case (
                ast.Return(value=ast.expr() as value) | ast.Expr(value=value) | ast.AnnAssign(value=ast.expr() as value)
            ):
                return self._does_nothing(value)
            case ast.Assign(targets=[ast.Name() | ast.Tuple() as target], value=value):
                return all(isinstance(n, ast.Name) for n in getattr(target, "elts", [target])) and self._does_nothing(
                    value
                )
            case ast.AugAssign(target=ast.Name() as target, value=value):
                return self._is_own(target) and self._does_nothing(value)
            case ast.If(test=test, body=body, orelse=orelse) | ast.For(iter=test, body=body, orelse=orelse):
                return self._does_nothing(test) and all(map(self._is_quiet_statement, [*body, *orelse]))
        return False

    def _is_own(self, name: ast.Name) -> bool:
        """Whether a name is one that its function bound to a display of its own."""
        scope = self._names.scope_of[name]
        made = [b.value for b in scope.bound.get(name.id, []) if isinstance(b, ast.Assign | ast.AnnAssign)]
        return bool(made) and isinstance(made[0], ast.List | ast.Set | ast.Dict)


def _is_docstring(block: list[ast.stmt], statement: ast.stmt) -> bool:
    return (
        block[0] is statement
        and isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )
