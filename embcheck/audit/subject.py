"""What a law of the audit is given, the facts of a model and the way to run a program on fresh ones; and how laws judge it."""

from __future__ import annotations

import contextlib
import functools
import importlib
import inspect
import io
import os
import textwrap
import time
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch

from embcheck.audit import hf, laws
from embcheck.audit.discovery import Facts, explored, inputs_of
from embcheck.audit.factory import Source, fresh, imported, made
from embcheck.audit.finding import AS_BUILT, LAWS, Finding, Judged, NotApplicable, Unbuilt, Undecided, told
from embcheck.audit.program import Inputs, Model, Problems, named, uncompiled, vary
from embcheck.core.declaration import folder_of
from embcheck.core.facts import grouped
from embcheck.engine.crashes import alone
from embcheck.engine.exit_lines import OTHERWISE
from embcheck.engine.script import reached

#: Tensors of more elements are not printed into a script, which then takes them from the factory.
_PRINTED = 1024


class Subject:
    """A model under audit in one of its variants."""

    def __init__(self, source: Source, facts: Facts, variant: str) -> None:
        self.source, self.facts, self.variant = source, facts, variant
        self.inputs: Inputs = inputs_of(made(source, variant)[1], facts.rows, facts.padding)

    @property
    def unrun(self) -> bool:
        """Whether its forward pass ought to run and does not; one of transformers may want other inputs than are known."""
        return bool(self.facts.forward) and not self.facts.meta and self.source["kind"] != "hf"

    def need(self, **wanted: str) -> Facts:
        """The facts.

        Raises:
            NotApplicable: with the reason of the first fact among ``wanted`` that is not there.
            Undecided: where that is a model that could not be run.
        """
        for name, reason in wanted.items():
            value = getattr(self.facts, name)
            obstacle = name in ("forward", "untrained", "meta")
            if bool(value) == obstacle:
                raise (Undecided if name == "forward" and self.unrun else NotApplicable)(reason or value)
        return self.facts

    def fresh(self, seed: int = 0, *, varied: bool = True) -> Model:
        return fresh(self.source, self.variant, varied=varied, seed=seed)

    def learning(self, model: Model, table: str) -> Any:
        """The weight of a table of the model's.

        Raises:
            NotApplicable: if it is frozen.
        """
        weight = named(model).get(table)
        if weight is None or not weight.requires_grad:
            raise NotApplicable("the table is frozen")
        return weight

    def problems(self, program: Callable[..., Problems], *, varied: bool = True, **options: Any) -> Problems:
        """What a program finds in fresh models.

        Raises:
            NotApplicable: if it says by a LookupError that it can't judge this model.
        """
        try:
            return program(functools.partial(self.fresh, varied=varied), self.inputs, **options)
        except (LookupError, NotImplementedError) as error:
            raise NotApplicable(str(error) or type(error).__name__) from error

    def findings(self, program: Callable[..., Problems], *, varied: bool = True, **options: Any) -> list[Any]:
        """The same as findings, each with a script that was run: one for each kind, for many of one have one cause."""
        shown = []
        found = dict.fromkeys(self.problems(program, varied=varied, **options))
        for kind, group in grouped(found, lambda problem: problem[0]).items():
            _, where, words = group[0]
            if more := [place for _, place, _ in group[1:] if place not in ("", where)]:
                words += f"; so with {', '.join(more[:4])}" + " …" * (len(more) > 4)
            text = self.script(program, varied, options, kind)
            shown.append(Finding(kind, where, words, text, alone.SHOWS.get(exit_status(text))))
        return shown

    def script(self, program: Callable[..., Problems], varied: bool, options: dict[str, Any], kind: str) -> str:
        """The program as a script that needs torch and the factory only: it exits 1 for problems of this kind alone."""
        literals = "".join(f", {name}={value!r}" for name, value in options.items())
        compiled = [uncompiled] if self.facts.compiled else []
        if self.source["kind"] == "hf":
            factory = hf.prelude(self.source, self.variant)
        else:
            module, _, name = str(self.source["target"]).partition(":")
            folder = f"sys.path.insert(0, {folder_of(module)!r})"
            factory = [folder, f"import {module}", "", f"factory = {module}.{name}"]
        lines = [
            f"# {self.facts.cls}, {self.variant}: {kind}",
            "# exits 1 while there is such a problem, 0 if there is none, 2 for anything else, such as another problem",
            "from __future__ import annotations",
            "",
            "import sys",
            "",
            OTHERWISE,
            "",
            "import torch",
            *factory,
            "",
            *sources([program, *([vary] if varied else []), *compiled]),
            "",
            "def build(seed=0):",
            "    torch.manual_seed(seed)",
            "    made = factory()",
            "    model = made[0] if isinstance(made, tuple) else made",
            *["    model = uncompiled(model)" for _ in compiled],
            "    return vary(model)" if varied else "    return model.eval()",
            "",
            "",
            *self._inputs(),
            f"problems = {program.__name__}(build, inputs{literals})",
            "for problem in problems:",
            '    print(": ".join(problem))',
            f"sys.exit(1 if {kind!r} in [problem[0] for problem in problems] else 2 if problems else 0)",
        ]
        return "\n".join(lines) + "\n"

    def _inputs(self) -> list[str]:
        tensors = [value for value in self.inputs.values() if isinstance(value, torch.Tensor)]
        if len(tensors) == len(self.inputs) and all(value.numel() <= _PRINTED for value in tensors):
            pairs = [f"{n!r}: torch.tensor({v.tolist()}, dtype={v.dtype})" for n, v in self.inputs.items()]
            return [f"inputs = {{{', '.join(pairs)}}}"]
        return [
            "inputs = factory()[1]",
            "if not isinstance(inputs, dict):",
            "    inputs = [inputs] if isinstance(inputs, torch.Tensor) else inputs",
            "    inputs = {str(place): value for place, value in enumerate(inputs)}",
        ]


def sources(roots: list[Any]) -> list[str]:
    """The sources of functions and of all functions and classes of this package that they reach, those first."""
    own = (thing for thing in reached(roots)[0].values() if getattr(thing, "__module__", "").startswith("embcheck."))
    parts = [textwrap.dedent(inspect.getsource(thing)).rstrip().splitlines() for thing in own]
    return [line for part in parts for line in (*part, "", "")]


def exit_status(text: str) -> int | None:
    """How a script ends, run in this process; None if it raises what it makes no status of."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        return alone.exit_status(lambda: exec(compile(text, "script", "exec"), {"__name__": "__main__"}))


# -- what is done in a process of its own: a model is looked at, or judged ----------------------------------------------


def ready(source: Source, *, runs: bool = False) -> None:
    """Imports, once for all forks of this process, what a source needs; a factory only if it is known that it ``runs``."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    laws.load()
    if source["kind"] == "hf":
        hf.warm(source)
    elif runs:
        imported(source)
    importlib.import_module("torch._dynamo")  # which an optimizer imports at its first step


def looked_at(source: Source, expect: str, variant: str = AS_BUILT) -> Iterator[tuple[Source, Facts, float] | Unbuilt]:
    """The source that is settled, its model's facts, and seconds of CPU time; or why there is no model."""
    try:
        settled = hf.settle(source) if source["kind"] == "hf" and source["config"] is None else source
        yield settled, explored(settled, expect, variant), time.process_time()
    except Unbuilt as reason:
        yield reason
    except Exception as error:
        yield Unbuilt(f"looking at it failed: {_placed(error)}")


def each_judged(laws: Iterable[str], source: Source, facts: Facts, variant: str) -> Iterator[Judged]:
    """What laws say of a model, one after the other."""
    return (judged(law, source, facts, variant) for law in laws)


def judged(law: str, source: Source, facts: Facts, variant: str = AS_BUILT) -> Judged:
    """What a law says of a model, with the CPU time that it took."""
    one, started = Judged(law, variant), time.process_time()
    try:
        said = LAWS[law].judge(Subject(source, facts, variant))
        one.notes = [each for each in said if isinstance(each, str)]
        one.findings = [each for each in said if not isinstance(each, str)]
    except NotApplicable as reason:
        one.reason = str(reason)
    except (Undecided, Unbuilt) as reason:
        one.failure = str(reason)
    except BaseException as error:
        one.failure = _placed(error)
    one.cpu = time.process_time() - started
    return one


def _placed(error: BaseException) -> str:
    """An error in one line, with where it was raised."""
    where = traceback.extract_tb(error.__traceback__)[-1]
    return f"{told(error)} ({os.path.basename(where.filename)}:{where.lineno})"
