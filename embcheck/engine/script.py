"""Turns a counterexample into a program that imports nothing but torch.

The program that embcheck executes *is* the script: its source is printed with the case's tensors as literals, in memory
laid out as it was, and the one comparison that failed.  It exits as `embcheck.engine.exit_lines` says: 1 only if the same
difference shows, 0 once it is gone, 2 for anything else.
"""

from __future__ import annotations

import ast
import functools
import inspect
import sys
import textwrap
import types
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embcheck.core.law import Family, Law, Plan
from embcheck.core.machine import chosen
from embcheck.core.result import Difference
from embcheck.engine.exit_lines import OTHERWISE, call_and_exit, ends_the_process, imports, in_a_child
from embcheck.engine.literal import expression, input_lines

if TYPE_CHECKING:
    from embcheck.modes.mode import Mode


def script(family: Family, mode: Mode, law: Law, case: Any, found: Difference, device: str = "cpu") -> str:
    """The standalone program for a counterexample: the functions that its case picks, with its values as literals, which it
    makes on the device."""
    plan = family.plan(case)
    memory, ends = found.path == "written", ends_the_process(found)
    things, modules = reached(roots(plan, mode))
    sources = _sources(things)
    parts = [
        f"# law:  {law.sentence}",
        f"# case: {case!r}",
        *(f"# {line}" for line in textwrap.wrap(f"got:  {found.words}", 110)),
        "from __future__ import annotations",
        "",
        *(["import os"] if chosen() else []),
        "import sys",
        *imports(found),
        *(f"os.environ[{name!r}] = {value!r}" for name, value in chosen().items()),  # before torch is imported
        "",
        OTHERWISE,
        "",
        "import torch",
        *_imports(modules, sources),
        *(["from typing import NamedTuple"] if any(hasattr(thing, "_fields") for thing in things.values()) else []),
        "",
        *(in_a_child(found) if ends else []),
        f"torch.set_num_threads({plan.threads})",
        *([f"torch.set_default_device({device!r})"] if device != "cpu" else []),
        *(line for name, given in plan.inputs.items() for line in input_lines(name, given, memory)),
        "",
        *sources,
        "",
        *call_and_exit(_call(plan, mode), plan.inputs, found, family.refused(case)),
    ]
    return "\n".join(parts) + "\n"


# -- functions as source -----------------------------------------------------------------------------------------


def roots(plan: Plan, mode: Mode) -> list[Callable[..., Any]]:
    """The functions from which a program's source begins: the mode's, those among its options, and its own."""
    functions = [] if mode.name == "eager" else [mode.function]
    for value in plan.options.values():
        functions += [member for member in (value if isinstance(value, tuple) else [value]) if callable(member)]
    return [*functions, plan.program]


def reached(functions: Sequence[Callable[..., Any]]) -> tuple[dict[str, Any], dict[str, types.ModuleType]]:
    """The functions, classes and constants that functions refer to, themselves too, dependencies first, and the modules.

    Raises:
        ValueError: if two of them have one name, of which a script would define the last alone.
    """
    found: dict[str, Any] = {}
    modules: dict[str, types.ModuleType] = {}

    def visit(name: str, thing: Any) -> None:
        if name in found:
            if found[name] is not thing and found[name] != thing:
                raise ValueError(f"a program refers to two things of the name {name}: {found[name]} and {thing}")
            return
        found[name] = thing  # against cycles
        if _is_class(thing, "embcheck"):
            for base in thing.__bases__:
                if base.__module__ not in ("builtins", "torch", "torch.nn.modules.module", "torch.autograd.function"):
                    visit(base.__name__, base)
            for member in vars(thing).values():
                refers(getattr(member, "__func__", member))
        elif hasattr(thing, "script"):  # it says itself what a script shows, and which functions that calls
            for used in getattr(thing, "uses", ()):
                visit(used.__name__, used)
        elif isinstance(thing, (dict, tuple, list)):
            for member in thing.values() if isinstance(thing, dict) else thing:
                if isinstance(member, types.FunctionType):
                    visit(member.__name__, member)
        else:
            refers(thing)
        del found[name]
        found[name] = thing  # behind what it refers to

    def refers(function: Any) -> None:
        code = getattr(function, "__code__", None)
        for used in _names(code) if code is not None else ():
            value = function.__globals__.get(used)
            if isinstance(value, types.ModuleType):
                modules[used] = value
            elif isinstance(value, types.FunctionType) or _is_constant(value) or _is_class(value, "torch", "embcheck"):
                visit(used, value)

    for function in functions:
        visit(function.__name__, function)
    return found, modules


def _names(code: types.CodeType) -> list[str]:
    inner = [name for const in code.co_consts if isinstance(const, types.CodeType) for name in _names(const)]
    # A function's attribute __name__ is not the module's.
    return [name for name in (*code.co_names, *inner) if not name.startswith("__")]


def _is_constant(value: Any) -> bool:
    if isinstance(value, (dict, tuple, list)):
        members = list(value.values()) if isinstance(value, dict) else list(value)
        return bool(members) and all(_is_constant(m) or isinstance(m, types.FunctionType) for m in members)
    kind = type(value)
    return isinstance(value, (int, float, str, bool)) or (kind.__module__, kind.__name__) == ("torch", "dtype")


def _is_class(value: Any, *packages: str) -> bool:
    return isinstance(value, type) and value.__module__.split(".")[0] in packages


#: Modules that come with torch; others are imported by their names.
COME_WITH_TORCH = frozenset({
    "torch",     "torch.amp", "torch.autograd", "torch.autograd.forward_ad", "torch.autograd.functional", "torch.autograd.graph",
    "torch.autograd.profiler", "torch.cuda", "torch.distributed", "torch.func", "torch.jit", "torch.nested", "torch.nn",
    "torch.nn.functional",
    "torch.nn.init", "torch.nn.modules", "torch.nn.modules.module", "torch.nn.parameter", "torch.nn.utils",
    "torch.nn.utils.parametrizations", "torch.nn.utils.parametrize", "torch.nn.utils.rnn", "torch.nn.utils.stateless",
    "torch.optim", "torch.optim.lr_scheduler", "torch.optim.optimizer", "torch.overrides", "torch.random", "torch.serialization",
    "torch.sparse", "torch.utils", "torch.utils.data",
})  # fmt: skip


def _imports(modules: dict[str, types.ModuleType], sources: list[str]) -> list[str]:
    lines = [
        f"import {module.__name__}" + (f" as {name}" if name != module.__name__ else "")
        for name, module in sorted(modules.items())
        if name != "torch"
    ]
    named, imported = (set().union(*found) for found in zip(*map(_torchs, sources), strict=True))
    used = {_module_of(name) for name in named}
    return [*lines, *(f"import {name}" for name in sorted(used - imported - COME_WITH_TORCH))]


@functools.lru_cache(maxsize=1024)  # most programs of a family are made of the same functions
def _torchs(source: str) -> tuple[frozenset[str], frozenset[str]]:
    """What a source uses of torch, names with dots, and the modules that it imports itself."""
    nodes = list(ast.walk(ast.parse(source)))
    used = (ast.unparse(node) for node in nodes if isinstance(node, ast.Attribute) and _is_torchs(node))
    return frozenset(used), frozenset(
        alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names
    )


def _is_torchs(node: ast.expr) -> bool:
    """Whether an expression is torch, or a name with dots that begins so."""
    while isinstance(node, ast.Attribute):
        node = node.value
    return isinstance(node, ast.Name) and node.id == "torch"


def _module_of(name: str) -> str:
    """The module, the innermost, that a name with dots leads through."""
    while name not in sys.modules:
        name = name.rpartition(".")[0]
    return name


def _sources(things: dict[str, Any]) -> list[str]:
    """The source of each function, class and constant, with the empty lines around it."""
    parts: list[str] = []
    for name, thing in things.items():
        if isinstance(thing, types.FunctionType) and hasattr(thing, "script"):
            parts.append("\n".join(["", *thing.script.splitlines(), ""]))
        elif _is_class(thing, "embcheck"):
            parts.append(f"\n{_source(thing)}\n")
        elif isinstance(thing, types.FunctionType):
            source = _source(thing)
            parts.append(f"\n{source[source.index('def ') :]}\n")
            parts += [f"{name} = {thing.__name__}\n"] if name != thing.__name__ else []  # imported by another name
        else:
            parts.append(f"{name} = {expression(thing)}")
    return parts


class _Bare(ast.NodeTransformer):
    """Takes out what a reader of a script does not need: docstrings, and annotations of functions and in them."""

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.ClassDef:
        node.body = [self.visit(each) if isinstance(each, ast.FunctionDef) else each for each in _undocumented(node)]
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        node.returns, node.body = None, _undocumented(node)
        self.generic_visit(node)
        return node

    def visit_arg(self, node: ast.arg) -> ast.arg:
        node.annotation = None
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.stmt | None:
        return None if node.value is None else ast.copy_location(ast.Assign([node.target], node.value), node)


def _undocumented(node: ast.ClassDef | ast.FunctionDef) -> list[ast.stmt]:
    return node.body if ast.get_docstring(node) is None else node.body[1:] or [ast.Pass()]


@functools.lru_cache(maxsize=1024)
def _source(thing: Any) -> str:
    """The source of a function or class, which Python has to look for; of a lambda in a registry's table as a function's."""
    code = getattr(thing, "__code__", None)
    if code is None or code.co_name != "<lambda>":
        return ast.unparse(_Bare().visit(ast.parse(textwrap.dedent(inspect.getsource(thing)))))
    of_line = (
        node
        for node in ast.walk(_module_tree(code.co_filename))
        if isinstance(node, ast.Lambda) and node.lineno == code.co_firstlineno
    )
    found = next(of_line)  # the outermost: one entry of a table begins in a line
    return f"def {thing.__name__}({ast.unparse(found.args)}):\n    return {ast.unparse(found.body)}"


@functools.lru_cache(maxsize=64)
def _module_tree(path: str) -> ast.Module:
    return ast.parse(Path(path).read_text(encoding="utf-8"))


def _call(plan: Plan, mode: Mode) -> str:
    arguments = [f"{name}={name}" for name in plan.inputs]
    arguments += [f"{name}={expression(value)}" for name, value in plan.options.items()]
    if mode.name == "eager":
        return f"seen = {plan.program.__name__}({', '.join(arguments)})"
    return f"seen = {mode.function.__name__}({', '.join([plan.program.__name__, *arguments])})"
