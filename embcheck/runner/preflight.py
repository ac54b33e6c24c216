"""Builds and calls a subject once before it is checked: what is no subject gets one clear line and not a traceback.

From the command line that happens in a child process (``python -m embcheck.runner.preflight module:factory``), so that a
factory that hangs, or takes the process down, is a line too.
"""

import contextlib
import copy
import functools
import inspect
import io
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

import embcheck
from embcheck.core.declaration import (
    FLAGS,
    KINDS,
    Declaration,
    SubjectError,
    declaration_of,
    name_of,
    no_factory,
    passed,
    resolve,
)
from embcheck.core.format import FORMATS
from embcheck.core.processes import end_with_parent
from embcheck.engine.crashes.patience import Hangs, attended
from embcheck.families.lookup.received import ROUNDING, factor_of
from embcheck.modes.global_state import Undisturbed
from embcheck.subject.building import Builder, Size, builder_of, by_position, sizes_by_name, sizes_of, small_layer
from embcheck.subject.limits import SWITCHES, one_line
from embcheck.subject.table import BAG_FLAGS
from embcheck.subject.tied import set_by_itself

#: For each kind of layer with one table the flags that it may have, and torch's own.
_OF_TABLES: dict[str, tuple[tuple[str, ...], Any]] = {
    "table": (FLAGS["table"], torch.nn.Embedding),
    "bag": (BAG_FLAGS, torch.nn.EmbeddingBag),
}
_OPEN_ENDED = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
#: Behind this, in one line, the child process says what is unasked: what the user's module prints stands around it.
_TOLD = "\0unasked:"
#: Folders whose code is not the user's.
_NOT_OWN = tuple(str(Path(module.__file__ or "").parent) + os.sep for module in (embcheck, torch))
#: Seconds of CPU time that importing torch and the subject, building it and a few calls may take.
LIMIT = 60.0


def rehearse(factory: Callable[..., Any], declared: Declaration) -> str | None:
    """What is wrong with a subject, in one line; None if it can be built and called as its kind says."""
    if wrong := no_factory(factory):
        return wrong
    name, kind = name_of(factory), declared.kind
    unread = io.StringIO()
    try:
        # What a call leaves changed is put back: if it stood already, no law would find it.
        with contextlib.redirect_stdout(unread), contextlib.redirect_stderr(unread), Undisturbed():
            problem = _STEPS[kind](by_position(factory), declared)
    except SubjectError as error:
        return str(error)
    except Exception as error:
        return f"{name} can't be built as {KINDS[kind]}: {_told(error)}"
    return None if problem is None else f"{name}: {problem}"


def _told(error: Exception) -> str:
    """An error in a line, with the last place in the user's own code, if it came from there."""
    frames = [
        frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith((*_NOT_OWN, "<"))
    ]
    return one_line(error) + (f" ({frames[-1].filename}:{frames[-1].lineno})" if frames else "")


def _built(factory: Callable[..., Any], declared: Declaration) -> tuple[Any, Size]:
    """What the factory returns, and for which rows and columns."""
    size = sizes_of(factory, declared)[0]
    layer = factory(*size)
    if not isinstance(layer, torch.nn.Module):
        returned = f"{factory.__qualname__}{size} returned {type(layer).__name__}"
        raise SubjectError(f"{name_of(factory)}: {returned}; expected a torch.nn.Module")
    return layer, size


#: What to do with a model that returns a number for each row of its table.
_OF_A_HEAD = '; of a model with a head say declare("tied", table="…", head="…"), or give all of it to embcheck audit'


def _called(
    layer: torch.nn.Module, given: tuple[torch.Tensor, ...], shape: tuple[int, ...], rows: int, *, random: bool
) -> str | None:
    indices, before = given[0], given[0].clone()
    try:
        value, again = layer(*given), layer(*given)
    except Exception as error:
        return f"it was built, but its call with indices of shape {tuple(indices.shape)} raises {_told(error)}"
    if not isinstance(value, torch.Tensor):
        return f"a call returned {type(value).__name__}; expected a tensor of shape {shape}"
    if tuple(value.shape) != shape:
        line = f"a call with indices of shape {tuple(indices.shape)} returned shape {tuple(value.shape)}"
        logits = tuple(value.shape) == (*shape[:-1], rows)
        return f"{line}; expected {shape}" + _OF_A_HEAD * logits
    if not torch.equal(indices, before):
        return "a call changes its indices; expected its inputs to be left alone"
    if random or _alike(value, again):
        return None
    layer.eval()
    calm = _alike(layer(*given), layer(*given))
    line = "two equal calls differ" + (" in training" if calm else "")
    return line + ('; declare modes={"eval"}' if calm else "; declare random=True, and values are not asked")


def _alike(value: torch.Tensor, again: torch.Tensor) -> bool:
    return value.shape == again.shape and torch.equal(value.nan_to_num(), again.nan_to_num())


def _layer(factory: Callable[..., Any], declared: Declaration) -> str | None:
    _built(factory, declared)
    builder = builder_of(factory, declared, *_OF_TABLES[declared.kind])
    layer, given = small_layer(builder)
    shape = (2,) if declared.kind == "bag" else given[0].shape
    rows, columns = builder.limits.size
    problem = _called(layer, given, (*shape, columns), rows, random=declared.domain.random)
    return problem or _as_built(builder, layer, given) or _declared(declared, builder.limits.size)


def _as_built(builder: Builder, layer: torch.nn.Module, given: tuple[torch.Tensor, ...]) -> str | None:
    """That a layer which is built in another dtype than those it is declared for, and is not asked in it, does not return these."""
    dtypes, of_table = builder.declared.domain.dtypes, _other_dtype(builder, layer)
    returned = _name(layer(*given).dtype)
    if not of_table or dtypes is None or "float32" not in dtypes or returned in dtypes:
        return None
    said = ", ".join(map(repr, sorted(dtypes)))
    return f"it is built with a table of {of_table}, and a call returns {returned}; dtypes={{{said}}} is declared"


def _other_dtype(builder: Builder, layer: torch.nn.Module) -> str:
    """The dtype of a layer's table as it is built, if no case has it; else empty."""
    dtypes = builder.declared.domain.dtypes
    of_table = _name(builder.table(layer, builder.limits.size).dtype)
    return "" if dtypes is None or of_table in dtypes else of_table


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _declared(declared: Declaration, size: Size) -> str | None:
    """What is wrong with the mathematics that is declared: without a value no case would be asked, and nothing said."""
    if declared.mathematics is None:
        return None
    try:
        table = declared.mathematics.value(np.ones(size))
        gradient = declared.mathematics.pullback(np.ones(size), np.ones(size))
    except Exception as error:
        return f"for a table of shape {size} the declared scale, offset or mathematics raises {_told(error)}"
    wrong = next((np.shape(made) for made in (table, gradient) if np.shape(made) != size), None)
    return None if wrong is None else f"for a table of shape {size} the declared mathematics gives shape {wrong}"


def _tied(factory: Callable[..., Any], declared: Declaration) -> str | None:
    model, size = _built(factory, declared)
    weights = []
    for path in (declared.table, declared.head):
        try:
            part = model.get_submodule(path)
        except AttributeError:
            there = ", ".join(name for name, _ in model.named_modules() if name)
            return f"no submodule {path!r}; there are {there}; declare its paths with embcheck.declare(table=…, head=…)"
        weight = dict(part.named_parameters(recurse=False)).get("weight")
        if weight is None or tuple(weight.shape) != size:
            return f"{path}.weight is no Parameter of shape {size} that {path} registers itself: embcheck audit takes any model"
        weights.append(weight)
    expected = {f"{declared.table}.weight", f"{declared.head}.weight", f"{declared.head}.bias"}
    further = sorted({name for name, _ in model.named_parameters(remove_duplicate=False)} - expected)
    # Their gradients and steps, of which these laws know nothing, would be taken for the pair's.
    if further and weights[0] is weights[1]:
        return f"it has parameters beside the pair's ({', '.join(further[:3])}): embcheck audit takes any model"
    table = model.get_submodule(declared.table)
    if getattr(table, "max_norm", None) is not None:
        return f"{declared.table} has a max_norm, by which a lookup writes the head's weight: embcheck audit takes any model"
    factor = _factor(table, size[0])
    if factor is not None and abs(factor - 1) >= ROUNDING:
        return f"{declared.table} looks up {factor:g} times its rows, which no law of tying does: embcheck audit takes any model"
    if made := _made_of_the_product(model.get_submodule(declared.head)):
        return f"{declared.head} {made}, which no law of tying does: embcheck audit takes any model"
    if "padding_idx" not in passed(factory, declared, FLAGS["tied"]):
        set_by_itself([factory(*each) for each in sizes_of(factory, declared)], declared, name_of(factory))
    return None


def _factor(table: torch.nn.Module, rows: int) -> float | None:
    """By what all rows are multiplied that a table looks up, None if nothing tells."""
    try:
        found = table(torch.arange(rows)).detach().double().numpy()
    except Exception:  # each case says so
        return None
    weight = table.get_parameter("weight").detach().double().numpy()
    return factor_of(found, weight, FORMATS["float32"]) if found.shape == weight.shape else None


def _made_of_the_product(head: torch.nn.Module) -> str:
    """What a head makes of its input's product with its weight: that it multiplies it, or caps it as a tanh does; empty if
    nothing tells."""
    try:
        again = copy.deepcopy(head).double()
        weight = again.get_parameter("weight").detach()
        bias = getattr(again, "bias", None)
        added = torch.zeros(len(weight)) if bias is None else bias.detach()
        # Of unit vectors the products are the weight: far from zero, where a cap shows, and near to it, where it does not.
        units = [size * torch.eye(weight.shape[1], dtype=torch.float64) for size in (64.0, 2.0**-6)]
        far, near, none = (again(each).detach().double().numpy() for each in (*units, 0 * units[0]))
    except Exception:  # each case says so
        return ""
    products = [(each @ weight.T).numpy() for each in units]
    if far.shape != products[0].shape:
        return ""
    factor = factor_of(far - none, products[0], FORMATS["float32"])
    if factor is not None:
        return f"multiplies by {factor:g}" if abs(factor - 1) >= ROUNDING else ""
    wanted, small = (each + added.numpy() for each in products)
    rising = (np.diff(far.ravel()[np.argsort(wanted, axis=None)]) >= 0).all()
    capped = rising and (np.abs(far) < np.abs(wanted)).any() and (np.abs(far) <= np.abs(wanted) * (1 + ROUNDING)).all()
    return "caps its result" if capped and (np.abs(near - small) <= ROUNDING * np.abs(small)).all() else ""


def _conversion(factory: Callable[..., Any], declared: Declaration) -> str | None:
    linear = factory(torch.nn.Embedding(5, 3))
    if not isinstance(linear, torch.nn.Module):
        return f"{factory.__qualname__}(embedding) returned {type(linear).__name__}; expected a torch.nn.Module"
    shape = tuple(getattr(linear, "weight", torch.empty(0)).shape)
    return None if shape == (3, 5) else f"the linear layer's weight has shape {shape}; expected (3, 5)"


_STEPS = {"table": _layer, "bag": _layer, "tied": _tied, "conversion": _conversion}


#: Parameters of torch's own layers that no law asks for.
_UNASKED = frozenset(("device", "dtype", "_weight", "_freeze"))


def unasked(factory: Callable[..., Any], declared: Declaration) -> str:
    """Which flags a layer has not, beside those that it is declared to lack, which of its parameters are none that embcheck
    knows, and in which dtype it is built that no case has; empty if there are none, or it is no layer with one table."""
    if declared.kind not in _OF_TABLES:
        return ""
    flags, model = _OF_TABLES[declared.kind]
    builder = builder_of(by_position(factory), declared, flags, model)
    limits = builder.limits
    named = sizes_by_name(factory)
    own = [each for each in inspect.signature(factory).parameters.values() if each.kind not in _OPEN_ENDED]
    further = [each.name for each in own if each.name not in named][2 - len(named) :]
    unknown = [name for name in further if name not in {*flags, *_UNASKED}]
    missing = [flag for flag in flags if flag not in limits.taken | declared.fixed.keys() | declared.lacks.keys()]
    refused = filter(None, (limits.refuses(flag, True) for flag in sorted(limits.taken & SWITCHES)))
    parts = [f"it has no {', '.join(missing)}"] * bool(missing) + [*refused]
    parts = [f"{'; '.join(parts)}: laws about that are not applicable"] * bool(parts)
    parts += [f"embcheck does not know its parameter{'s' * (len(unknown) > 1)} {', '.join(unknown)}"] * bool(unknown)
    built = _other_dtype(builder, small_layer(builder)[0])
    parts += [f"its table is built in {built}, and tested in {', '.join(sorted(declared.domain.dtypes or ()))}"] * bool(
        built
    )
    return f"{name_of(factory)}: {'; '.join(parts)}" if parts else ""


@functools.cache
def rehearse_apart(name: str) -> str:
    """Rehearses the subject of a name in a child process, once, and gives what is `unasked` of it.

    Raises:
        SubjectError: with the one line that says what is wrong.
    """
    command = [sys.executable, "-m", "embcheck.runner.preflight", name]
    try:
        done = attended(command, LIMIT)
    except Hangs as error:
        raise SubjectError(f"subject {name!r}: of building and calling it there is {error}") from None
    said = done.stderr.strip().splitlines() or [f"it ended the process with status {done.returncode}"]
    if done.returncode:
        raise SubjectError(said[-1] if done.returncode == 1 else f"subject {name!r}: {said[-1][:200]}")
    return done.stdout.rpartition(_TOLD)[2].partition("\n")[0].strip() if _TOLD in done.stdout else ""


if __name__ == "__main__":
    end_with_parent()
    try:
        found = resolve(sys.argv[1])
        line = rehearse(found, declaration_of(found))
    except SubjectError as error:
        line = str(error)
    if line is not None:
        print(line, file=sys.stderr)
        sys.exit(1)
    with contextlib.redirect_stdout(io.StringIO()):
        told = unasked(found, declaration_of(found))
    print(_TOLD, told)
