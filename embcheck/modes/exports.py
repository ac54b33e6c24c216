"""Modes that export: torch.export with dynamic shapes, its decompositions, and a round trip through a file.

A program is exported from an example of other sizes than those it then serves; one program serves every case of its
signature.
"""

import io
from collections.abc import Callable
from typing import Any

import torch

from embcheck.families.lookup.spelling import Build
from embcheck.modes.lattice import lattice
from embcheck.modes.lifting import NO_TRANSFORMS, alike, lifted, made, recorded_on, spread
from embcheck.modes.mode import add_mode, build_mode

Tensor = torch.Tensor
Exported = Any
Finish = Callable[[Exported], Exported]

#: Programs by signature; a fault clears it.
KEPT: dict[Any, Callable[..., Tensor]] = {}


def lacks_export() -> str | None:
    """Why this torch has no export with automatic dimensions; None if it has."""
    return None if hasattr(getattr(torch.export, "Dim", None), "AUTO") else "torch.export has no Dim.AUTO"


def exported(build: Build, finish: Finish, strict: bool = False) -> Build:
    def built(weight: Tensor, **flags: Any) -> tuple[Tensor, Callable[..., Tensor]]:
        leaf, call = build(weight, **flags)
        layer = call if isinstance(call, torch.nn.Module) else None

        def again(*inputs: Tensor | None) -> Any:
            tensors = tuple(tensor for tensor in inputs if tensor is not None)
            key = signature(build, strict, finish, flags, leaf, inputs)
            if layer is not None:
                there = tuple(tensor is not None for tensor in inputs)
                root = Gapped(layer, there) if there != tuple(sorted(there, reverse=True)) else layer
                names = [name for name, parameter in root.named_parameters() if parameter is leaf]
                graph: Any = kept(key, lambda: finish(exported_program(root, examples(tensors), strict)).module())
                return torch.func.functional_call(graph, dict.fromkeys(names, leaf), tensors)
            holder = torch.nn.Module()
            inside = lifted(call, leaf, inputs)
            if strict:
                given = [position for position, tensor in enumerate(inputs) if tensor is not None]

                def inside(table: Tensor, *more: Tensor) -> Tensor:
                    return build(table, **flags)[1](*spread(more, given, len(inputs)))

            object.__setattr__(holder, "forward", inside)
            fed = (alike(leaf), *examples(tensors))
            graph = kept(key, lambda: finish(exported_program(holder, fed, strict)).module())
            return graph(leaf, *tensors)

        return leaf, again

    return built


class Gapped(torch.nn.Module):
    """A layer of whose arguments one before the last is None: an exported program takes tensors alone."""

    def __init__(self, layer: torch.nn.Module, given: tuple[bool, ...]) -> None:
        super().__init__()
        self.layer, self.given = layer, given

    def forward(self, first: Tensor, *more: Tensor) -> Any:
        left = iter((first, *more))
        return self.layer(*(next(left) if there else None for there in self.given))


def exported_program(layer: torch.nn.Module, fed: tuple[Tensor, ...], strict: bool) -> Exported:
    sizes: list[Any] = [dict.fromkeys(range(tensor.dim()), torch.export.Dim.AUTO) for tensor in fed]
    if type(layer) in (torch.nn.Module, Gapped):  # what `exported` makes takes (table, *inputs) or (indices, *more)
        sizes = [sizes[0], tuple(sizes[1:])]

    def export(root: torch.nn.Module, given: tuple[Tensor, ...]) -> Exported:
        return torch.export.export(root, given, dynamic_shapes=tuple(sizes), strict=strict)

    return made(export, layer, fed)


def examples(tensors: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Zeros of larger sizes; of the same sizes and strides where memory is not row-major, or sizes hang together."""
    if len(tensors) > 1 or not all(tensor.is_contiguous() for tensor in tensors):
        return tuple(map(alike, tensors))
    return tuple(torch.zeros([2 * size + 2 for size in tensor.size()], dtype=tensor.dtype) for tensor in tensors)


def kept(key: Any, make: Callable[[], Callable[..., Tensor]]) -> Callable[..., Tensor]:
    """The program of a signature, exported at first."""
    if key not in KEPT:
        KEPT[key] = make()
    return KEPT[key]


def signature(
    build: Build, strict: bool, finish: Finish, flags: dict[str, Any], leaf: Tensor, inputs: tuple[Tensor | None, ...]
) -> tuple[Any, ...]:
    """What makes another program; for inputs that are not row-major, their sizes and strides too."""
    alone = sum(tensor is not None for tensor in inputs) == 1

    def facts(tensor: Tensor | None) -> Any:
        if tensor is None:
            return None
        layout = (tensor.dim(),) if tensor.is_contiguous() and alone else (tuple(tensor.shape), tensor.stride())
        return (*layout, tensor.dtype, tensor.requires_grad)

    table = (tuple(leaf.shape), leaf.stride(), leaf.dtype, leaf.requires_grad, torch.is_grad_enabled())
    return (build, strict, finish, tuple(sorted(flags.items())), table, tuple(map(facts, inputs)))


kept.script = "def kept(key, make):\n    return make()\n"  # type: ignore[attr-defined]
signature.script = "def signature(*given):\n    return None\n"  # type: ignore[attr-defined]

_CANNOT = NO_TRANSFORMS | {
    "route=checkpointed": "exporting inside of a checkpoint, the first time, saves tensors of its own",
    # Of Dim.AUTO torch says 'The export process will automatically infer the remaining constraints on min/max ranges'.
    # Weights are a second input: such an example has the sizes that are served.
    "batch & bag_count<2 & weights=None & columnless_batch=False": (
        "of an example of several bags export infers that there are two at least"
    ),
}
_STRICT = _CANNOT | {
    "entry=functional_call": "dynamo builds no module inside of what it exports",
    "entry=bag_module": "dynamo builds no module inside of what it exports",
    "entry=swapped": "dynamo does not trace warnings.catch_warnings",
}


def _dynamic(cases: Any, cost: float, cannot: dict[str, str] = _CANNOT) -> dict[str, Any]:
    return recorded_on(cases, cannot, cost=cost, lacking=lacks_export)


def as_it_is(found: Exported) -> Exported:
    return found


_WORDS = "Through torch.export with dynamic shapes"
add_mode("export", f"{_WORDS}, not strict.", exported, as_it_is, **_dynamic(lattice(8, 24, 60), 8.0))
add_mode("export_strict", f"{_WORDS}, strict.", exported, as_it_is, True, **_dynamic(lattice(4, 9, 40), 20.0, _STRICT))


@build_mode("export_decomposed", exported, **_dynamic(lattice(4, 16, 24), 30.0))
def decomposed(found: Exported) -> Exported:
    """Through torch.export and run_decompositions."""
    return found.run_decompositions()


@build_mode("export_saved", exported, **_dynamic(lattice(4, 14, 40), 12.0))
def saved(found: Exported) -> Exported:
    """Through torch.export, saved and loaded."""
    file = io.BytesIO()
    torch.export.save(found, file)
    file.seek(0)
    loaded = torch.export.load(file)
    # The programs are served with the table of each case; what they themselves hold is looked at here.
    for name, parameter in found.state_dict.items():
        other = loaded.state_dict[name]
        if bits(other) != bits(parameter) or other.requires_grad != parameter.requires_grad:
            raise AssertionError(f"{name} came back with other bits, or another requires_grad")
    return loaded


def bits(values: Tensor) -> list[int]:
    # A clone, since of sizes of one the strides are of any length, and what is contiguous stays as it is.
    return values.detach().clone(memory_format=torch.contiguous_format).view(torch.uint8).reshape(-1).tolist()
