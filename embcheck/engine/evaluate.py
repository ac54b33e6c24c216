"""Evaluates laws on a case: the only place that decides which laws are asked and what came of each.

The run, the reducer, ``check``, replay, the ledger's witnesses and the fault runner all use `evaluate`.
"""

import re
from collections.abc import Callable, Sequence
from typing import Any

import torch
from packaging.version import Version

from embcheck.core.comparison import missing
from embcheck.core.law import Family, Law, accepts
from embcheck.core.outcome import Missing, Outcome, Refused, Unobserved
from embcheck.core.result import (
    UNASKED,
    Absent,
    Difference,
    Holds,
    NotApplicable,
    OracleFailed,
    Raised,
    Result,
    Unreachable,
    Violated,
    cut,
)
from embcheck.modes.mode import Mode

#: Executes a case of a family in a mode.
Execute = Callable[[Family, Mode, Any], Outcome | NotApplicable | Unreachable]

_REFUSAL = NotApplicable("the case must be refused, and the law speaks of cases that are accepted", counted=False)
_ACCEPTED = NotApplicable("the case must be accepted, and the law speaks of refusals", counted=False)


def evaluate(family: Family, mode: Mode, case: Any, laws: Sequence[Law], execute: Execute) -> list[Result]:
    """What came of each of some laws of a family on a case, which is executed once.

    An exception of embcheck's own, wherever it is raised, is a result like any other and ends nothing; so is whatever
    else would end the process, except an interruption by the user.
    """
    try:
        reason = mode.reason(case, family)
        if reason is not None:
            return [NotApplicable(reason)] * len(laws)
        out = execute(family, mode, case)
        if isinstance(out, (NotApplicable, Unreachable)):
            return [out] * len(laws)
        refused = family.refused(case)
        reason = absent(out) or family.untaken(out) or (None if refused else family.not_applicable(case, out))
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # SystemExit too: it ends a case, not the run
        how = "embcheck raised" if isinstance(error, Exception) else "it ended in"
        return [OracleFailed(f"{how} {named(error)}, while {case!r} was executed")] * len(laws)
    skipped = None if reason is None else NotApplicable(reason)
    unasked = _REFUSAL if refused else _ACCEPTED
    exact: set[str] = set()
    results: list[Result] = []
    for law in laws:
        result: Result
        if skipped is not None:
            result = skipped
        elif law.refusal != refused:
            result = unasked
        else:
            result = _asked(law, case, out, exact)
        if refused and out.settings and law.judge is accepts:  # what must be refused leaves no setting changed, either
            result = _judged(law, case, out)
        if isinstance(result, Holds) and result.ratio is None:
            exact.add(law.name)
        results.append(result)
    return results


def _asked(law: Law, case: Any, out: Outcome, exact: set[str]) -> Result:
    """What came of a law that may not apply; ``exact`` are the laws that hold exactly on this case."""
    if out.error is not None and not law.refusal and law.judge is not accepts:
        return Raised(named(out.error))
    try:
        if not law.when(case):
            return UNASKED
    except Exception as error:
        return OracleFailed(_failed(law, case, error))
    return Holds(implied_by=law.implied_by) if law.implied_by in exact else _judged(law, case, out)


def _judged(law: Law, case: Any, out: Outcome) -> Result:
    """What a law finds; that nothing came out where it looks is a difference."""
    try:
        found: Any = law.judge(case, out)
    except Missing as error:
        found = missing(error)
    except Exception as error:
        return _stumbled(law, case, out, error)
    if isinstance(found, (Holds, NotApplicable)):
        return found
    if isinstance(found, Difference):
        return Violated(found)
    return OracleFailed(
        f"the law {law.name} returned {found!r:.80}; a law returns what same(), identical(), within(), every() … return"
    )


def _stumbled(law: Law, case: Any, out: Outcome, error: Exception) -> Result:
    """What it means that a law raised.

    With zeros in place of all numbers that came out, the same law may come to a result: then it stumbled over what the
    outcome holds, such as an index outside of the table, which nothing that obeys the law can hold.
    """
    try:
        law.judge(case, out.with_zeros())
    except Missing:
        pass
    except Exception:
        return OracleFailed(_failed(law, case, error))
    path, got = out.last_read(lambda again: law.judge(case, again))
    said = f"what came out can't be read as the law asks: {named(error)}"
    return Violated(Difference("unreadable", path, got, None, said))


def _failed(law: Law, case: Any, error: Exception) -> str:
    """That the law itself, and not what it judges, is at fault."""
    if isinstance(error, (Unobserved, Refused)):
        return f"the law {law.name} asks for {error}, on {case!r}"
    return f"the law {law.name} raised {named(error)}, on {case!r}"


def named(error: BaseException) -> str:
    """An error's type and the first line of its message."""
    first = str(error).strip().splitlines()
    return f"{type(error).__name__}: {cut(first[0], 200)}" if first else type(error).__name__


#: The releases with which names came that programs use.  One that lacks what it should have is judged as for any other error.
ADDED = {
    "torch.__future__.set_swap_module_params_on_conversion": "2.3",
    "torch.amp.GradScaler": "2.3",
    "torch.nested.nested_tensor_from_jagged": "2.4",
    "torch.nn.LinearCrossEntropyOptions": "2.13",
    "torch.nn.functional.linear_cross_entropy": "2.13",
    "torch.nn.utils.get_total_norm": "2.6",
    "torch.optim.Adafactor": "2.5",
    "torch.optim.Muon": "2.9",
    "torch.utils.swap_tensors": "2.3",
}
_LACKS = re.compile(r"module '([\w.]+)' has no attribute '(\w+)'")


def absent(out: Outcome) -> Absent | None:
    """Why a program could not be executed in an older release: a name came with a later one."""
    found = _LACKS.match(str(out.error)) if isinstance(out.error, AttributeError) else None
    name = ".".join(found.groups()) if found else ""
    if name not in ADDED or Version(torch.__version__) >= Version(ADDED[name]):
        return None
    return Absent(f"this release has no {name}, which came with {ADDED[name]}")
