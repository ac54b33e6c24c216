"""Modes that export: torch.export with dynamic shapes, its decompositions, and a round trip through a file.

A program is exported from an example of other sizes than those it then serves; one program serves every case of its
signature.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from typing import Any

import torch

from embcheck.families.lookup.spelling import Build
from embcheck.modes.lattice import lattice
from embcheck.modes.lifting import CALLS, NO_TRANSFORMS, lifted
from embcheck.modes.mode import Program, mode

Tensor = torch.Tensor
Exported = Any
Finish = Callable[[Exported], Exported]

#: Programs by signature; a fault clears it.
KEPT: dict[Any, Callable[..., Tensor]] = {}


def lacks_export() -> str | None:
    """Why this torch has no export with automatic dimensions; None if it has."""
    return None if hasattr(getattr(torch.export, "Dim", None), "AUTO") else "torch.export has no Dim.AUTO"


_CANNOT = NO_TRANSFORMS | {
    "route=checkpointed": "exporting inside of a checkpoint, the first time, saves tensors of its own",
    "entry=bag_between_empty": "its offsets are constants of the example",
    # Of Dim.AUTO torch says 'The export process will automatically infer the remaining constraints on min/max ranges'.
    # Weights are a second input: such an example has the sizes that are served.
    "batch & bag_count<2 & weights=None & columnless_batch=False": (
        "of an example of several bags export infers that there are two at least"
    ),
}
_NO_WARNINGS = "dynamo does not trace warnings.catch_warnings"
_NO_CONSTRUCTION = "dynamo builds no module inside of what it exports"


@mode("export", calls=CALLS, cases=lattice(8, 24, 60), engines=("product",), cost=8.0, cannot=_CANNOT,
      lacking=lacks_export)  # fmt: skip
def export_dynamic(program: Program, build: Build, **arguments: Any) -> Mapping[str, Any]:
    """Through torch.export with dynamic shapes, not strict."""
    return program(build=exported(build, False, as_it_is), **arguments)


@mode("export_strict", calls=CALLS, cases=lattice(4, 9, 40), engines=("product",), cost=20.0,
      cannot=_CANNOT | dict.fromkeys(("entry=functional_call", "entry=bag_module"), _NO_CONSTRUCTION)
      | {"entry=swapped": _NO_WARNINGS},
      lacking=lacks_export)  # fmt: skip
def export_strict(program: Program, build: Build, **arguments: Any) -> Mapping[str, Any]:
    """Through torch.export with dynamic shapes, strict."""
    return program(build=exported(build, True, as_it_is), **arguments)


@mode("export_decomposed", calls=CALLS, cases=lattice(4, 16, 24), engines=("product",), cost=30.0,
      cannot=_CANNOT, lacking=lacks_export)  # fmt: skip
def export_decomposed(program: Program, build: Build, **arguments: Any) -> Mapping[str, Any]:
    """Through torch.export and run_decompositions."""
    return program(build=exported(build, False, decomposed), **arguments)


@mode("export_saved", calls=CALLS, cases=lattice(4, 14, 40), engines=("product",), cost=12.0, cannot=_CANNOT,
      lacking=lacks_export)  # fmt: skip
def export_saved(program: Program, build: Build, **arguments: Any) -> Mapping[str, Any]:
    """Through torch.export, saved and loaded."""
    return program(build=exported(build, False, saved), **arguments)


def as_it_is(found: Exported) -> Exported:
    return found


def decomposed(found: Exported) -> Exported:
    return found.run_decompositions()


def saved(found: Exported) -> Exported:
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
    return values.detach().contiguous().view(torch.uint8).reshape(-1).tolist()


def exported(build: Build, strict: bool, finish: Finish) -> Build:
    def built(weight: Tensor, **flags: Any) -> tuple[Tensor, Callable[..., Tensor]]:
        leaf, call = build(weight, **flags)
        layer = call if isinstance(call, torch.nn.Module) else None

        def again(*inputs: Tensor | None) -> Tensor:
            tensors = tuple(tensor for tensor in inputs if tensor is not None)
            # None before a tensor has no place in a program's inputs.
            if layer is not None and not any(tensor is None for tensor in inputs[: len(tensors)]):
                fed = examples(tensors)
                given = tuple(tensor is not None for tensor in inputs)
                root = Gapped(layer, given) if given != tuple(sorted(given, reverse=True)) else layer
                names = [name for name, parameter in root.named_parameters() if parameter is leaf]
                graph: Any = kept(
                    signature(build, strict, finish, flags, leaf, inputs),
                    lambda: finish(exported_program(root, fed, strict)).module(),
                )
                value: Tensor = torch.func.functional_call(graph, dict.fromkeys(names, leaf), tensors)
                return value
            fed = (like_table(leaf), *examples(tensors))
            holder = torch.nn.Module()
            inside = lifted(call, leaf, inputs)
            if strict:

                def inside(table: Tensor, *more: Tensor) -> Tensor:
                    return build(table, **flags)[1](*more)

            object.__setattr__(holder, "forward", inside)
            graph = kept(
                signature(build, strict, finish, flags, leaf, inputs),
                lambda: finish(exported_program(holder, fed, strict)).module(),
            )
            served: Tensor = graph(leaf, *tensors)
            return served

        return leaf, again

    return built


class Gapped(torch.nn.Module):
    """A layer of whose arguments one before the last is None: an exported program takes tensors alone."""

    def __init__(self, layer: torch.nn.Module, given: tuple[bool, ...]) -> None:
        super().__init__()
        self.layer, self.given = layer, given

    def forward(self, first: Tensor, *more: Tensor) -> Tensor:
        left = iter((first, *more))
        value: Tensor = self.layer(*(next(left) if there else None for there in self.given))
        return value


def exported_program(layer: torch.nn.Module, fed: tuple[Tensor, ...], strict: bool) -> Exported:
    sizes: list[Any] = [dict.fromkeys(range(tensor.dim()), torch.export.Dim.AUTO) for tensor in fed]
    if type(layer) is torch.nn.Module:  # what `exported` makes of a closure: it takes (table, *inputs)
        sizes = [sizes[0], tuple(sizes[1:])]
    try:
        return torch.export.export(layer, fed, dynamic_shapes=tuple(sizes), strict=strict)
    except Exception as error:
        raise RuntimeError(f"does not compile: {type(error).__qualname__}: {error}") from error


def like_table(table: Tensor) -> Tensor:
    other = torch.empty_strided(table.size(), table.stride(), dtype=table.dtype).zero_()
    return other.requires_grad_() if table.requires_grad else other


def examples(tensors: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Zeros of larger sizes; of the same sizes and strides where memory is not row-major, or sizes hang together."""
    if len(tensors) > 1 or not all(tensor.is_contiguous() for tensor in tensors):
        return tuple(like_table(tensor) for tensor in tensors)
    return tuple(torch.zeros([2 * size + 2 for size in tensor.size()], dtype=tensor.dtype) for tensor in tensors)


def kept(key: Any, make: Callable[[], Callable[..., Tensor]]) -> Callable[..., Tensor]:
    """The program of a signature, exported at first."""
    if key not in KEPT:
        KEPT[key] = make()
    return KEPT[key]


_KEPT = """\
def kept(key, make):
    return make()
"""
kept.script = _KEPT  # type: ignore[attr-defined]


def signature(
    build: Build, strict: bool, finish: Finish, flags: dict[str, Any], leaf: Tensor, inputs: tuple[Tensor | None, ...]
) -> tuple[Any, ...]:
    """What makes another program; for inputs that are not row-major, their sizes and strides too."""
    alone = sum(tensor is not None for tensor in inputs) == 1
    shapes = tuple(
        None
        if tensor is None
        else (tensor.dim(), tensor.dtype, tensor.requires_grad)
        if tensor.is_contiguous() and alone
        else (tuple(tensor.shape), tensor.stride(), tensor.dtype, tensor.requires_grad)
        for tensor in inputs
    )
    table = (tuple(leaf.shape), leaf.stride(), leaf.dtype, leaf.requires_grad, torch.is_grad_enabled())
    return (build, strict, finish, tuple(sorted(flags.items())), table, shapes)


_SIGNATURE = """\
def signature(*given):
    return None
"""
signature.script = _SIGNATURE  # type: ignore[attr-defined]
