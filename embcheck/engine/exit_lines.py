"""The lines with which a script ends: they call its program, print what is expected beside what came out, and exit.

The status is 1 only if the difference shows that the script was written for, 0 if what the law says is right, and 2 for
anything else: a value that is wrong in another way, an error that nobody expected.
"""

import ast
import builtins
import math
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from embcheck.core.axes import Input
from embcheck.core.law import OF_SUBJECT
from embcheck.core.layout import view_of
from embcheck.core.outcome import AROUND
from embcheck.core.result import Difference
from embcheck.engine.literal import expression, placed

#: Seconds of CPU time after which a program has no end, and seconds after which nobody waits for a crash any more.
_CPU, _WAITED = 20, 600
#: Seconds in which what waits for ever uses next to no CPU time, and that many hundredths of it, as in
#: `embcheck.engine.crashes.patience`.
_IDLE, _NEXT_TO_NONE = 60, 30
#: How a script begins whose program dies, and one whose program has no end.  A hang is told by the CPU time that the child
#: uses, all that it is given or next to none, and never by the clock.
_DIES = """\
if len(sys.argv) == 1:  # the program dies, so it runs in a child
    child = subprocess.run([sys.executable, __file__, "child"], timeout={waited})
    print("exit status of the child:", child.returncode, "expected 0")
    sys.exit(1 if child.returncode < 0 else 2 if child.returncode else 0)
"""
_HANGS = """\

def used(pid):  # hundredths of a second of CPU time, with what it started and what of that has ended
    told = {{}}
    for path in glob.glob("/proc/[0-9]*/stat"):
        with contextlib.suppress(OSError):
            told[int(path.split("/")[2])] = [*map(int, open(path).read().rpartition(")")[2].split()[1:15])]
    family = [pid]
    for member in family:
        family += [other for other, stat in told.items() if stat[0] == member]
    return sum(sum(told[member][10:14]) for member in family if member in told)


if len(sys.argv) == 1:  # the program has no end: it runs in a child, which gets {cpu} s of CPU time
    child, before = subprocess.Popen([sys.executable, __file__, "child"]), None
    while child.poll() is None:
        try:
            child.wait({idle})
        except subprocess.TimeoutExpired:
            now = used(child.pid)
            if before is not None and now - before < {next_to_none}:  # it waits for ever
                child.kill()
                print("CPU time of the child, which waits:", (now - before) / 100, "s")
                sys.exit(1 if now else 2)  # 2: this system does not tell it
            before = now
    print("exit status of the child:", child.returncode, "expected 0")
    sys.exit(1 if child.returncode == -signal.SIGPROF else 2 if child.returncode else 0)
signal.setitimer(signal.ITIMER_PROF, {cpu})
"""
#: What another run or machine may tell otherwise in a message: addresses, paths, symbols' names, numbers that memory holds,
#: how a process died, and which kernel speaks.
_VOLATILE = re.compile(r"0x[0-9a-f]+|(?:/[\w.-]+){2,}|\b[a-z]\d+\b|\d{6,}|(?<=exit code )-\d+|^\w+: ")

#: What nobody expects ends a script with 2, wherever it is raised: the first lines, before torch is imported.
OTHERWISE = (
    "sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # 1 is for the bug alone, 0 for its end"
)


def ends_the_process(found: Difference) -> bool:
    """Whether the program dies or has no end, so that it must run in a child."""
    return found.kind.startswith(("crash", "hang"))


def imports(found: Difference) -> list[str]:
    """The modules that these lines need."""
    if not ends_the_process(found):
        return []
    more = ("contextlib", "glob") if found.kind.startswith("hang") else ()
    return [f"import {name}" for name in (*more, "signal", "subprocess")]


def in_a_child(found: Difference) -> list[str]:
    """The lines that run the rest of such a script in a child."""
    text = _HANGS if found.kind.startswith("hang") else _DIES
    return text.format(cpu=_CPU, waited=_WAITED, idle=_IDLE, next_to_none=_NEXT_TO_NONE).splitlines()


def call_and_exit(call: str, inputs: Mapping[str, Input], found: Difference, refused: bool) -> list[str]:
    """The lines that execute ``seen = …`` and exit.  A case that is ``refused`` raises, as it should."""
    if found.path == "error" and not ends_the_process(found):
        return _raises(call, found) if found.expected is None else _refuses(call, found)
    lines = [call]
    if refused:
        lines = ["try:", f"    {call}", "except Exception as error:", '    print("raised, as it should:", repr(error))']
    if ends_the_process(found):
        return [*lines, 'print("it comes back")']
    if found.kind == "unreadable":  # no line can say what is right, only what came out then
        return [
            *lines,
            f"got = {found.path}",
            "got = got.tolist() if isinstance(got, torch.Tensor) else got",
            'print("got", got, "which no law can be asked of")',
            f"sys.exit(1 if repr(got) == {repr(found.got)!r} else 2)",
        ]
    if found.path == "written":
        return [*lines, *_written(inputs, found)]
    if found.kind == "setting":  # it may be left behind by an error
        called = lines if refused else ["try:", f"    {call}"]
        looked = [*compared(found)[:-1], "if got != expected:", "    sys.exit(1)"]
        return [*called, "finally:", *(f"    {line}" for line in looked)]
    return [*lines, *compared(found)]


# -- errors --------------------------------------------------------------------------------------------------------


def _raises(call: str, found: Difference) -> list[str]:
    """Nothing is to be raised."""
    kind = found.kind.removesuffix(OF_SUBJECT)
    name = kind.removeprefix("raised ") if kind.startswith("raised ") else "RuntimeError"
    words = str(found.got)
    spaced = kind == "does not compile"
    message = words if spaced else words.removeprefix(f"{kind}: ").removeprefix(f"{kind}:")
    return ["try:", f"    {call}", *_caught(name, message, "no error", spaced), 'print("no error")']


def _caught(name: str, message: str, expected: str, spaced: bool = False) -> list[str]:
    """The error of this name and message, and no other, is the difference."""
    stable = max(_VOLATILE.split(message), key=len).strip()
    text = '" ".join(str(error).split())' if spaced else "str(error)"
    another = f"{stable[:80]!r} not in {text}" if stable else text
    return [
        "except Exception as error:",
        f"    if type(error).__name__ != {name!r} or {another}:",
        "        raise",
        f'    print("raised", repr(error), "expected {expected}")',
        "    sys.exit(1)",
    ]


def _refuses(call: str, found: Difference) -> list[str]:
    """One of some errors is to be raised."""
    names = str(found.expected).split(" or ")
    right = ", ".join(names) if all(hasattr(builtins, name) for name in names) else "Exception"
    lines = [
        "try:",
        f"    {call}",
        f"except ({right}) as error:" if len(names) > 1 else f"except {right} as error:",
        *([f"    if type(error).__name__ not in {names!r}:", "        raise"] if right == "Exception" else []),
        '    print("raised, as it should:", repr(error))',
        "    sys.exit(0)",
    ]
    if found.kind == "accepted":
        return [*lines, f'print("no error, expected {found.expected}")', "sys.exit(1)"]
    message = found.words.removeprefix(f"raised {found.got} (").rpartition("), expected ")[0]
    return [
        *lines,
        *_caught(str(found.got), message.partition(chr(10))[0], found.expected),
        f'print("no error, expected {found.expected}")',
        "sys.exit(2)",
    ]


# -- memory and values -----------------------------------------------------------------------------------------------


def _written(inputs: Mapping[str, Input], found: Difference) -> list[str]:
    """Nothing is to be written to an input, or to what lies around one."""
    name, _, words = str(found.got).partition(": ")
    given = inputs[name]
    inside = placed(view_of(given.stored.shape, given.layout))
    around = words == AROUND and given.stored.size
    but = [f"after = after.clone()  # but for {name} itself", f"after{inside}.copy_(before{inside})"] if around else []
    return [
        f"before, after = {name}_before, {name}_memory.detach()",
        *but,
        "written = (before.view(torch.uint8) != after.view(torch.uint8)).sum().item()",
        f'print("bytes written {"around" if around else "to"} {name}:", written, "expected 0")',
        "sys.exit(1 if written else 0)",
    ]


def compared(found: Difference) -> list[str]:
    """The lines that compare what came out with what the law says, and with what was wrong."""
    found = replace(found, got=_plain(found.got), expected=_plain(found.expected))
    right, wrong = _between(found) if found.beside else _conditions(found)
    names, values = ["got", "expected"], [found.path, found.beside or expression(found.expected)]
    if found.kind == "untrue":
        values[0] = f"bool({found.path})"
    if "wrong" in wrong:
        names, values = [*names, "wrong"], [*values, expression(found.got)]
    is_number = type(found.got) in (bool, int, float, complex)
    is_plain = values[0].startswith(("bool(", "len(")) or values[0].endswith((".item()", " is None"))
    bits = f"_ = _.detach().view({_WIDTHS}[_.element_size()]) if _.is_floating_point() else _"
    item = "_ = _.item() if isinstance(_, torch.Tensor) else _"
    shown = 'print("got", got, "expected", expected)'
    done = [bits] * found.bits + [item] * (is_number and not is_plain)
    return [
        f"{', '.join(names)} = {', '.join(values)}",
        *(re.sub(r"\b_\b", name, line) for line in done for name in (names[:2] if found.beside else names[:1])),
        *(
            [f'print("got", ({found.path}).item())', 'print("its bits", got, "expected", expected)']
            if found.bits
            else [shown]
        ),
        f"sys.exit(0 if {right} else 1 if {wrong} else 2)" if wrong else f"sys.exit(0 if {right} else 1)",
    ]


_WIDTHS = "{1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}"


def _plain(value: Any) -> Any:
    """A number of numpy's as Python's."""
    return value.item() if isinstance(value, np.generic) else value


def _is_literal(value: Any) -> bool:
    """Whether Python source can say a value."""
    try:
        return bool(isinstance(value, float | complex) or ast.literal_eval(repr(value)) == value)
    except (SyntaxError, ValueError):
        return False


def _conditions(found: Difference) -> tuple[str, str]:
    """When what came out is right, and when it is wrong as it was: empty if it can't be wrong in another way."""
    if found.kind == "too many":
        return "got <= expected", ""
    if math.isinf(found.bound):
        return "got == got", ""  # anything but a NaN
    right = _near("expected", found.expected, found.bound)
    if not all(type(value) in (int, float, complex) for value in (found.got, found.expected)):
        return right, "got == wrong" if _is_literal(found.got) else ""
    apart = abs(found.got - found.expected)
    near = max(found.bound, apart / 1000)  # another machine rounds otherwise
    exact = not found.bound and _is_whole(found.got) and _is_whole(found.expected)
    return right, _near("wrong", found.got, 0.0 if exact or not math.isfinite(near) else near)


def _between(found: Difference) -> tuple[str, str]:
    """The same of two observations, which both may be other numbers on another machine: they are apart in the same way."""
    numbers = [value for value in (found.got, found.expected) if type(value) in (int, float, complex)]
    if len(numbers) < 2:
        return "got == expected", "got is None" if found.got is None else "got is not None"
    got, expected = numbers
    if math.isinf(found.bound):
        return "got == got", ""
    if found.bits:  # of zeros the sign, and nothing else
        return "got == expected", f"got in ({got}, {expected})" if found.kind == "bits: zero" and 0 in numbers else ""
    right = "got == expected or (got != got and expected != expected)"
    right += f" or abs(got - expected) <= {found.bound!r}" if found.bound else ""
    if got != got or expected != expected:
        return right, "got != got" if got != got else "expected != expected"
    infinite = 'float("inf")'
    if math.inf in (abs(got), abs(expected)):
        return right, f"{infinite} in (abs(got), abs(expected))"
    return right, f"abs(got - expected) < {infinite}"


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) or (isinstance(value, float) and value.is_integer())


def _near(name: str, value: Any, bound: float) -> str:
    if value != value:
        return "got != got"
    return f"abs(got - {name}) <= {bound!r}" if bound else f"got == {name}"
