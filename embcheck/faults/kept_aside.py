"""Faults of what is kept for the next time: Muon's momentum, a checkpoint's notes, what segments compute again."""

from __future__ import annotations

from typing import Any

import torch
import torch.utils.checkpoint

from embcheck.faults.around import around, numbered
from embcheck.faults.optimizer_sgd import module_of

Muon: Any = getattr(torch.optim, "Muon", None)  # since torch 2.9


def halved(original: Any, self: Any, *given: Any) -> Any:
    """After a step in half precision the momentum is half as large."""
    found = original(self, *given)
    for p, state in self.state.items():
        if p.dtype is torch.float16 and "momentum_buffer" in state:
            state["momentum_buffer"].mul_(0.5)
    return found


def momentum() -> Any:
    """The momentum after a step in half precision."""
    p = torch.nn.Parameter(numbered().half())
    p.grad = numbered().half()
    optimizer = Muon([p], momentum=0.5, nesterov=True)
    optimizer.step()
    return optimizer.state[p]["momentum_buffer"].tolist()


around("muon_halves_its_momentum", "tying", "In half precision Muon's momentum is halved after each step.", Muon, "step",
       halved, momentum, applies=lambda: Muon is not None)  # fmt: skip


def up_to_nothing(original: Any, params: Any, grads: Any, kept: Any, **flags: Any) -> None:
    """Parameters after one without elements rest."""
    end = next((k for k, p in enumerate(params) if not p.numel()), len(params))
    original(params[:end], grads[:end], kept[:end], **flags)


def one_for_all(original: Any, params: Any, grads: Any, kept: Any, **flags: Any) -> None:
    """Parameters of one shape have one momentum."""
    first = {p.shape: m for p, m in reversed(list(zip(params, kept, strict=True)))}
    original(params, grads, [first[p.shape] for p in params], **flags)


def together(*shapes: tuple[int, int]) -> Any:
    """The last of several parameters after a step."""
    ps = [torch.nn.Parameter(torch.ones(shape)) for shape in shapes]
    for k, p in enumerate(ps):
        p.grad = numbered(*p.shape) ** k
    Muon(ps, lr=0.5, momentum=0.5).step()
    return ps[-1].detach()


if Muon is not None:
    around("muon_stops_at_nothing", "company", "Muon does not step what comes after a parameter without elements.",
           module_of("_muon"), "_single_tensor_muon", up_to_nothing, lambda: together((0, 2), (2, 2)))  # fmt: skip
    around("muon_has_one_momentum_for_a_shape", "company", "Muon's parameters of one shape have one momentum.",
           module_of("_muon"), "_single_tensor_muon", one_for_all, lambda: together((2, 2), (2, 2)))  # fmt: skip


def unnoted(original: Any, self: Any, state: Any, *given: Any, **flags: Any) -> Any:
    """Loading takes the notes of the modules' versions out of the checkpoint."""
    found = original(self, state, *given, **flags)
    notes = getattr(state, "_metadata", None)
    if notes and "words" in notes:
        del notes["words"]
    return found


def noted() -> Any:
    """What a checkpoint notes once it was loaded."""
    model = torch.nn.ModuleDict({"words": torch.nn.Embedding(3, 2)})
    state: Any = model.state_dict()
    model.load_state_dict(state)
    return list(state._metadata)


around("loading_takes_notes_out", "checkpoint", "A checkpoint that was loaded has lost a note of a module's version.",
       torch.nn.Module, "load_state_dict", unnoted, noted)  # fmt: skip


def whole(original: Any, functions: Any, segments: int, input: Any, use_reentrant: Any = None, **flags: Any) -> Any:
    """What is checkpointed in segments is kept instead."""
    return functions(input) if segments > 1 else original(functions, segments, input, use_reentrant, **flags)


def recomputed() -> Any:
    """How often the first of two layers is called."""
    calls = []
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Identity())
    model[0].register_forward_pre_hook(lambda *seen: calls.append(1))
    given = torch.ones(1, 2)
    torch.utils.checkpoint.checkpoint_sequential(model, 2, given, use_reentrant=False).sum().backward()
    return len(calls)


around("segments_are_kept", "autograd", "checkpoint_sequential computes nothing again.", torch.utils.checkpoint,
       "checkpoint_sequential", whole, recomputed)  # fmt: skip
