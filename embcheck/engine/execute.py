"""Executes a plan with torch and returns an outcome: the only place where numpy arrays become tensors and back.

Every tensor is a view into a numpy buffer that embcheck owns and has poisoned.  torch computes on that memory, so
what was written, and where, is read from the buffer itself and not through the library under test.
"""

import contextlib
import io
import traceback
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch

from embcheck.core.axes import Input
from embcheck.core.format import CARRIED, FORMATS, STORAGE, Array
from embcheck.core.law import Plan
from embcheck.core.layout import CROWDED, View, crowd, poison, view_of
from embcheck.core.outcome import AROUND, Outcome
from embcheck.modes.global_state import Undisturbed
from embcheck.modes.mode import Mode

_POISON = {name: poison(kind, bfloat16=name == "bfloat16") for name, kind in STORAGE.items()}
#: The integer dtypes as which tensors are read that numpy has no dtype for.
_READ_AS = {getattr(torch, name): getattr(torch, STORAGE[name]) for name in sorted(CARRIED) if hasattr(torch, name)}

#: Buffers of at most this many elements are copied from one that is kept.
_SMALL = 512


def _poison(dtype: str, size: int) -> Array:
    return np.full(size, _POISON[dtype], _POISON[dtype].dtype)


_poisoned = lru_cache(maxsize=4096)(_poison)


class Fed(NamedTuple):
    """A tensor that was fed, the buffer it views, and the buffer's bytes before."""

    tensor: torch.Tensor
    buffer: Array
    before: bytes
    view: View
    #: the whole buffer on a device, of which ``buffer`` is what it held before
    there: torch.Tensor | None = None

    def now(self) -> Array:
        return self.buffer if self.there is None else read(self.there)


#: What surrounds numbers in place of poison, where it must be finite: in every format, and seen in a sum.
_FINITE = 96.0


def feed(given: Input, device: str = "cpu", *, finite: bool = False) -> Fed:
    """Lays an input out in a poisoned buffer and makes the tensor that views it, or its copy on a device; the poison of
    numbers is NaN unless it must be ``finite``."""
    view = view_of(given.stored.shape, given.layout)
    buffer = _poisoned(given.dtype, view.size).copy() if view.size <= _SMALL else _poison(given.dtype, view.size)
    if finite and given.dtype in FORMATS:
        buffer[...] = FORMATS[given.dtype].encode(np.array(_FINITE))
    if given.stored.size:
        if given.layout == "contiguous":
            buffer[view.offset : view.offset + given.stored.size] = given.stored.reshape(-1)
        elif given.layout == CROWDED:
            buffer[...] = crowd(given.stored, view)
        else:
            view.inside(buffer)[...] = given.stored
    base = torch.from_numpy(buffer)
    if given.dtype in CARRIED:
        base = base.view(getattr(torch, given.dtype))
    there = None if device == "cpu" else base.to(device, copy=True)
    tensor = (base if there is None else there).as_strided(view.shape, view.strides, view.offset)
    if given.requires_grad:
        tensor.requires_grad_()
    return Fed(tensor, buffer, buffer.tobytes(), view, there)


def read(tensor: torch.Tensor) -> Array:
    """The elements of an observed tensor in storage; a sparse one is densified in float64, duplicates added, or NaN if it says
    that it has none."""
    tensor = tensor.detach()
    if tensor.is_sparse:
        fmt = FORMATS[str(tensor.dtype).removeprefix("torch.")]
        dense, rows = np.zeros(tuple(tensor.shape), np.float64), tensor._indices()[0].cpu().numpy()
        np.add.at(dense, rows, fmt.decode(read(tensor._values())))
        if tensor.is_coalesced():
            dense[np.bincount(rows, minlength=len(dense)) > 1] = np.nan
        return fmt.encode(dense)
    if not (tensor.is_cpu or tensor.is_meta):
        tensor = tensor.cpu()
    carrier = _READ_AS.get(tensor.dtype)
    return (tensor if carrier is None else tensor.view(carrier)).numpy()


def run(plan: Plan, mode: Mode, device: str = "cpu", *, finite: bool = False) -> Outcome:
    """Executes the plan's program in a mode, among ``finite`` numbers or NaN.  What it raises becomes the outcome's error.

    On a device the program's own tensors are made there too, and what the device reports late is waited for.  Hooks that all
    modules have in common are not in force meanwhile.  Settings that it changed are put back, and so are the random numbers.
    """
    fed = {name: feed(given, device, finite=finite) for name, given in plan.inputs.items()}
    arguments = {name: made.tensor for name, made in fed.items()}
    if plan.threads != torch.get_num_threads():
        torch.set_num_threads(plan.threads)
    seen: Mapping[str, Any] = {}
    error: BaseException | None = None
    with Undisturbed() as settings:
        try:
            with contextlib.nullcontext() if device == "cpu" else torch.device(device):
                seen = mode.function(plan.program, **arguments, **plan.options)
            if device.startswith("cuda"):
                torch.cuda.synchronize()
        except Exception as raised:
            error = released(raised)
    changed = settings.changed
    where = _spelt(device)
    return outcome(mode, seen, error=error, written=lambda: _written(fed), settings=changed, device=where)


@lru_cache
def _spelt(device: str) -> str:
    """A device as its tensors spell it: ``cuda:0`` for ``cuda``."""
    return str(torch.empty(0, device=device).device)


def lost(out: Outcome) -> bool:
    """Whether what a program raised leaves this process unable to use its device, as an assertion of a kernel does."""
    if out.error is None or out.device == "cpu":
        return False
    try:
        torch.zeros(1, device=out.device).cpu()
    except RuntimeError:
        return True
    return False


def released(error: BaseException) -> BaseException:
    """The error without the frames in which it was raised: what they hold ends now, in its order.  It keeps the module's name.

    A checkpoint that raises leaves its hooks for saved tensors in force until its generator is collected (torch ≤ 2.11): kept
    alive by a traceback, they would be in force in later cases.
    """
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    vars(error)["raised_in"] = frames[-1].f_globals.get("__name__", "") if frames else ""
    part: BaseException | None = error
    while part is not None:
        part.__traceback__ = None
        part = part.__cause__ or part.__context__
    return error


def outcome(mode: Mode, seen: Mapping[str, Any], **told: Any) -> Outcome:
    """The outcome of an execution in a mode; what is ``told`` of it are further arguments of `Outcome`."""
    return Outcome(seen, read, mode=mode.name, makes_graph=mode.grad, keeps_memory=mode.aliases, **told)


def packed(out: Outcome) -> bytes:
    """An outcome for another process."""
    held = io.BytesIO()
    grown = [name for name, value in out.seen.items() if isinstance(value, torch.Tensor) and not value.is_leaf]
    torch.save((dict(out.seen), grown, out.error, out.written(), dict(out.settings), out.device), held)
    return held.getvalue()


def unpacked(sent: bytes, mode: Mode) -> Outcome:
    seen, grown, error, written, settings, device = torch.load(io.BytesIO(sent), weights_only=False)
    for name in grown:  # what comes out of a file is a leaf
        seen[name] = seen[name].requires_grad_().clone()
    return outcome(mode, seen, error=error, written=lambda: dict(written), settings=settings, device=device)


def _written(fed: Mapping[str, Fed]) -> dict[str, str]:
    changed = {}
    for name, made in fed.items():
        now = made.now()
        if now.tobytes() == made.before:
            continue
        after = now.copy()
        before = np.frombuffer(made.before, after.dtype).copy()
        inside_after = made.view.inside(after)
        elements = made.view.inside(before).tobytes() != inside_after.tobytes()
        inside_after[...] = made.view.inside(before)
        if after.tobytes() != before.tobytes():
            changed[name] = AROUND
        elif elements:
            changed[name] = "its elements changed"
    return changed
