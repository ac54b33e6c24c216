"""Turns a counterexample into a program that imports nothing but torch.

The program that embcheck executes *is* the script: its source is printed with the case's tensors as literals and the
one comparison that failed.  It exits 1 while the bug is there and 0 once it is gone.
"""

from __future__ import annotations

import inspect
import math
import textwrap
import types
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from embcheck.comparison import Difference
from embcheck.law import Family, Law, Plan
from embcheck.literal import input_lines, number
from embcheck.residual.residue import residue

if TYPE_CHECKING:
    from embcheck.mode import Mode


def script(family: Family, mode: Mode, law: Law, case: Any, found: Difference) -> str:
    """The standalone program for a counterexample, without what its options decide and what its comparison does not need."""
    return residue(complete(family, mode, law, case, found))


def complete(family: Family, mode: Mode, law: Law, case: Any, found: Difference) -> str:
    """The same with all that a family's program can do and look at."""
    plan = family.plan(case)
    crash = found.kind.startswith(("crash", "hang"))
    memory = found.path == "written"
    parts = [
        f"# law:  {law.sentence}",
        f"# case: {case!r}",
        *(f"# {line}" for line in textwrap.wrap(f"got:  {found.words}", 110)),
        "from __future__ import annotations",
        "",
        "import sys",
        *(["import subprocess"] if crash else []),
        "",
        "import torch",
        *_imports(plan, mode),
        "",
        *(_IN_A_CHILD.format(limit=120).splitlines() if crash else []),
        *([f"torch.set_num_threads({plan.threads})"] if plan.threads != 1 else []),
        *(line for name, given in plan.inputs.items() for line in input_lines(name, given, memory)),
        "",
        *_sources(plan, mode),
        *_call(plan, mode, memory, found),
        *_check(found, memory),
    ]
    return "\n".join(parts) + "\n"


_IN_A_CHILD = """\
if len(sys.argv) == 1:  # the program dies or hangs, so it runs in a child
    try:
        child = subprocess.run([sys.executable, __file__, "child"], timeout={limit})
        print("exit status of the child:", child.returncode)
        sys.exit(1 if child.returncode else 0)
    except subprocess.TimeoutExpired:
        sys.exit("no end after {limit} s")
"""


# -- functions as source -----------------------------------------------------------------------------------------


def _roots(plan: Plan, mode: Mode) -> list[Callable[..., Any]]:
    functions = [] if mode.name == "eager" else [mode.function]
    for value in plan.options.values():
        functions += [member for member in (value if isinstance(value, tuple) else [value]) if callable(member)]
    return [*functions, plan.program]


def _reached(plan: Plan, mode: Mode) -> tuple[dict[str, Any], dict[str, types.ModuleType]]:
    """The functions and constants that the program refers to, dependencies first, and the modules."""
    found: dict[str, Any] = {}
    modules: dict[str, types.ModuleType] = {}

    def visit(name: str, thing: Any) -> None:
        if name in found:
            return
        code = getattr(thing, "__code__", None)
        if _is_own_class(thing):
            found[name] = None
            for base in thing.__bases__:
                if base.__module__ not in ("builtins", "torch", "torch.nn.modules.module", "torch.autograd.function"):
                    visit(base.__name__, base)
            for member in vars(thing).values():
                refers(getattr(member, "__func__", member))
            del found[name]
        elif hasattr(thing, "script"):  # a user's subject says itself how it is built
            found[name] = thing
        elif code is not None:
            found[name] = None  # a place, against cycles
            refers(thing)
            del found[name]
        elif isinstance(thing, (dict, tuple, list)):
            for member in thing.values() if isinstance(thing, dict) else thing:
                if isinstance(member, types.FunctionType):
                    visit(member.__name__, member)
        found[name] = thing

    def refers(function: Any) -> None:
        code = getattr(function, "__code__", None)
        for used in _names(code) if code is not None else ():
            value = function.__globals__.get(used)
            if isinstance(value, types.ModuleType):
                modules[used] = value
            elif isinstance(value, types.FunctionType) or _is_class(value) or _is_constant(value):
                visit(used, value)

    for function in _roots(plan, mode):
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
    return isinstance(value, (int, float, str, bool)) and value is not None


def _is_class(value: Any) -> bool:
    return isinstance(value, type) and value.__module__.split(".")[0] in ("torch", "embcheck")


def _is_own_class(value: Any) -> bool:
    return isinstance(value, type) and value.__module__.split(".")[0] == "embcheck"


def _imports(plan: Plan, mode: Mode) -> list[str]:
    found, modules = _reached(plan, mode)
    lines = []
    for name, module in sorted(modules.items()):
        if name != "torch":
            lines.append(f"import {module.__name__}" + (f" as {name}" if name != module.__name__ else ""))
    functions = [thing for thing in found.values() if isinstance(thing, types.FunctionType)]
    if any("checkpoint" in _names(function.__code__) for function in functions):
        lines.append("import torch.utils.checkpoint")
    return lines


def _sources(plan: Plan, mode: Mode) -> list[str]:
    found, _ = _reached(plan, mode)
    lines: list[str] = []
    for name, thing in found.items():
        if isinstance(thing, types.FunctionType) and hasattr(thing, "script"):
            lines += ["", *thing.script.splitlines(), ""]
        elif _is_own_class(thing):
            lines += ["", *textwrap.dedent(inspect.getsource(thing)).rstrip().splitlines(), ""]
        elif isinstance(thing, types.FunctionType):
            source = textwrap.dedent(inspect.getsource(thing))
            lines += ["", *source[source.index("def ") :].rstrip().splitlines(), ""]
        else:
            lines.append(f"{name} = {_expression(thing)}")
    return lines


def _expression(value: Any) -> str:
    if isinstance(value, types.FunctionType):
        return value.__name__
    if isinstance(value, type):
        return f"{value.__module__}.{value.__qualname__}"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key!r}: {_expression(member)}" for key, member in value.items()) + "}"
    if isinstance(value, (tuple, list)):
        inner = ", ".join(map(_expression, value))
        if isinstance(value, list):
            return f"[{inner}]"
        return f"({inner},)" if value else "()"
    # What torch is given as 8.0 it may refuse as 8.
    return repr(value) if not isinstance(value, float) or math.isfinite(value) else number(value)


# -- the call and the comparison -----------------------------------------------------------------------------------


def _call(plan: Plan, mode: Mode, memory: bool, found: Difference) -> list[str]:
    arguments = [f"{name}={name}" for name in plan.inputs]
    arguments += [f"{name}={_expression(value)}" for name, value in plan.options.items()]
    head = plan.program.__name__ if mode.name == "eager" else f"{mode.function.__name__}"
    first = [] if mode.name == "eager" else [plan.program.__name__]
    call = f"{head}({', '.join(first + arguments)})"
    if found.path != "error" and found.kind != "setting":
        return ["", f"seen = {call}"]
    return [
        "",
        "error = None",
        "try:",
        f"    seen = {call}",
        "except Exception as raised:",
        "    error = raised",
    ]


def _check(found: Difference, memory: bool) -> list[str]:
    if found.kind.startswith(("crash", "hang")):
        return ['print("no crash")']
    if found.path == "error" and found.expected is None:
        return ['print("raised:", repr(error))', "sys.exit(1 if error is not None else 0)"]
    if found.path == "error":
        names = ", ".join(f'"{name}"' for name in str(found.expected).split(" or "))
        return [
            f'print("raised:", repr(error), "- the law:", {str(found.expected)!r})',
            f"sys.exit(0 if type(error).__name__ in ({names},) else 1)",
        ]
    if memory:
        name = str(found.got).split(":", 1)[0]
        return [
            f"before, after = {name}_before, {name}_memory.detach()",
            "same = (before == after) | ((before != before) & (after != after))",
            f'print("{name} was written to:", not bool(same.all()))',
            "sys.exit(0 if bool(same.all()) else 1)",
        ]
    expected = _expression(found.expected)
    lines = [f"got, expected = {found.path}, {expected}"]
    if found.bits:
        width = "{1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}[got.element_size()]"
        lines.append(f"got = got.detach().view({width})")
    lines.append("got = got.item() if isinstance(got, torch.Tensor) else got")
    if found.bound and math.isfinite(found.bound):
        lines += [
            f'print("got", got, "expected", expected, "within", {found.bound!r})',
            f"sys.exit(0 if abs(got - expected) <= {found.bound!r} else 1)",
        ]
    else:
        lines += [
            'print("got", got, "expected", expected)',
            "sys.exit(0 if got == expected or (got != got and expected != expected) else 1)",
        ]
    return lines
