"""Faults of models that are exported, compiled or traced, and of autocast."""

from __future__ import annotations

from typing import Any

import torch

from embcheck.faults.around import around, numbered
from embcheck.faults.entry import entry
from embcheck.faults.stateless_calls import TOKENS, Model
from embcheck.faults.witnesses import unlike

func = torch.func
functional = torch.nn.functional


def apart(original: Any, *given: Any, **flags: Any) -> Any:
    """What is exported has a copy under each name."""
    program = original(*given, **flags)
    seen = set()
    for name, value in program.state_dict.items():
        if value.untyped_storage().data_ptr() in seen and value.numel():
            program.state_dict[name] = torch.nn.Parameter(value.detach().clone(), value.requires_grad)
        seen.add(value.untyped_storage().data_ptr())
    return program


def exported() -> Any:
    """An exported model."""
    return torch.export.export(Model(), (TOKENS,))


def exported_names() -> int:
    """How many memories the weights of an exported model have."""
    return len({value.data_ptr() for value in exported().state_dict.values()})


around(
    "exported_ties_are_copies",
    "life",
    "torch.export.export gives each name of a tied Parameter memory of its own.",
    torch.export,
    "export",
    apart,
    exported_names,
)


def fixed(original: Any, mod: Any, args: Any, kwargs: Any = None, *, dynamic_shapes: Any = None, **flags: Any) -> Any:
    """Every size is that of the example."""
    return original(mod, args, kwargs, **flags)


def exported_for_any() -> Any:
    """Scores of three tokens, exported with two."""
    shapes = ({0: torch.export.Dim("tokens", min=1, max=64)},)
    return torch.export.export(Model(), (TOKENS,), dynamic_shapes=shapes).module()(torch.tensor([0, 1, 2]))


around(
    "exported_sizes_are_fixed",
    "life",
    "torch.export.export ignores dynamic_shapes.",
    torch.export,
    "export",
    fixed,
    exported_for_any,
)


def snapshot(original: Any) -> Any:
    """What is compiled keeps the Parameters of its first call."""

    def compile(model: Any = None, **flags: Any) -> Any:
        if not isinstance(model, torch.nn.Module):
            return original(model, **flags)
        found = original(model, **flags)
        kept: dict[str, Any] = {}
        inner = found.forward

        def forward(*given: Any, **more: Any) -> Any:
            kept.update(kept or dict(model.named_parameters(remove_duplicate=False)))
            now = dict(model.named_parameters(remove_duplicate=False))
            if all(kept[name] is now[name] for name in now):
                return inner(*given, **more)
            return func.functional_call(model, kept, given, more)

        found.forward = forward
        return found

    return compile


def replaced_weight() -> Any:
    """The scores of a compiled model whose table is replaced after a call."""
    layer = torch.nn.Embedding(3, 2)
    call = torch.compile(layer, backend="eager")
    call(TOKENS)
    layer.weight = torch.nn.Parameter(numbered())
    return call(TOKENS)


entry(
    "compiled_modules_keep_their_parameters",
    "life",
    "A compiled module does not notice that its Parameter was replaced after a call.",
    torch,
    "compile",
    snapshot,
    unlike(replaced_weight),
)


def stays_on(original: Any, self: Any, device_type: str, dtype: Any = None, enabled: bool = True, **flags: Any) -> None:
    """Within autocast there is no way out."""
    within = device_type == "cpu" and torch.is_autocast_enabled("cpu")
    original(
        self,
        device_type,
        torch.get_autocast_dtype("cpu") if within and not enabled else dtype,
        enabled or within,
        **flags,
    )


def turned_off() -> Any:
    """A product in a region of autocast that is turned off."""
    with torch.autocast("cpu", torch.bfloat16), torch.autocast("cpu", enabled=False):
        return functional.linear(numbered(), numbered())


around(
    "autocast_stays_on",
    "affine",
    "autocast(enabled=False) within autocast leaves it on.",
    torch.autocast,
    "__init__",
    stays_on,
    turned_off,
)


def traced_apart(original: Any, root: Any, *given: Any, **flags: Any) -> Any:
    """In what is traced the second name of a Parameter has a copy."""
    module = original(root, *given, **flags)
    seen = set()
    for name, value in list(module.named_parameters(remove_duplicate=False)):
        if id(value) in seen:
            owner, _, last = name.rpartition(".")
            setattr(module.get_submodule(owner), last, torch.nn.Parameter(value.detach().clone(), value.requires_grad))
        seen.add(id(value))
    return module


around(
    "traced_ties_are_copies",
    "life",
    "torch.fx.symbolic_trace gives the second name of a tied Parameter a copy.",
    torch.fx,
    "symbolic_trace",
    traced_apart,
    lambda: len(list(torch.fx.symbolic_trace(Model()).parameters())),
)


def without_buffers(original: Any, root: Any, *given: Any, **flags: Any) -> Any:
    """In what is traced no buffer is persistent."""
    module = original(root, *given, **flags)
    for each in module.modules():
        each._non_persistent_buffers_set.update(each._buffers)
    return module


def counting(original: Any, root: Any, *given: Any, **flags: Any) -> Any:
    """What is traced has a buffer of its own."""
    module = original(root, *given, **flags)
    module.register_buffer("calls", torch.zeros(1))
    return module


class Shifted(torch.nn.Module):
    """What adds a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.ones(2))

    def forward(self, given: Any) -> Any:
        return given + self.mean


around("traced_buffers_are_passing", "membership", "torch.fx.symbolic_trace makes every buffer one that is not persistent.",
       torch.fx, "symbolic_trace", without_buffers,
       lambda: list(torch.fx.symbolic_trace(Shifted()).state_dict()))  # fmt: skip
around("traced_modules_have_a_buffer_more", "membership", "What torch.fx.symbolic_trace gives has a buffer of its own.",
       torch.fx, "symbolic_trace", counting,
       lambda: list(torch.fx.symbolic_trace(Shifted()).state_dict()))  # fmt: skip
