"""Shadow: with fake tensors, or on meta, where there is no memory, a call gives what has the sizes and dtypes of what
it gives else."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from embcheck.comparison import same
from embcheck.law import Family, Plan
from embcheck.lookup.shadow import SHADOWED, shadowed
from embcheck.lookup.shadow_case import Shadow
from embcheck.outcome import Outcome
from embcheck.result import Finding
from embcheck.space import Space


def plan(case: Shadow) -> Plan:
    options = {"call": SHADOWED[case.call], "flags": case.flags, "learns": case.learns}
    return Plan(shadowed, case.inputs(), options)


def canonical(case: Shadow) -> Shadow | None:
    """The case with what its call takes."""
    changes: dict[str, Any] = {}
    if case.call == "learnt":
        changes["learns"] = True
    if case.call in ("lookup", "projected"):
        changes |= {"include_last_offset": False, "mode": "sum"}
    if case.call == "projected":
        changes["padding_idx"] = None
    return case.but(**changes)


AXES: dict[str, tuple[Any, ...]] = {
    "num_embeddings": (3, 1, 5),
    "embedding_dim": (2, 1, 4, 8),
    "lengths": ((2, 2), (1,), (0, 3), (2, 0, 1), (4,), (1, 1, 1)),
    "call": tuple(SHADOWED),
    "mode": ("sum", "mean", "max"),
    "include_last_offset": (False, True),
    "padding_idx": (None, 0, -1),
    "learns": (False, True),
    "dtype": ("float32", "float64", "float16", "bfloat16"),
    "index_dtype": ("int64", "int32"),
    "layout": ("contiguous", "transposed"),
}


def scope() -> Iterator[Shadow]:
    """Every call in every mode with every flag; every bag."""
    names = ("call", "mode", "include_last_offset", "padding_idx", "learns", "dtype")
    seen = set()
    for seed, chosen in enumerate(itertools.product(*(AXES[name] for name in names))):
        for lengths in (AXES["lengths"][0], AXES["lengths"][1 + seed % 5]):
            index, layout = AXES["index_dtype"][seed % 2], AXES["layout"][seed % 3 == 2]
            case = Shadow(lengths=lengths, index_dtype=index, layout=layout, **dict(zip(names, chosen, strict=True)))
            fitted = canonical(case)
            if fitted is not None and fitted not in seen:
                seen.add(fitted)
                yield fitted


family = Family(
    "shadow",
    Space(Shadow, AXES, canonical, scope, flags=("call", "mode", "include_last_offset", "learns"), strength=2),
    plan,
    cost=20.0,
)
law = family.law

#: What both laws have to meet.
EVERY = {f"call={name}" for name in SHADOWED} | {
    "learns", "empty_bag", "single", "include_last_offset", "mode=max", "index_dtype=int32", "dtype=bfloat16",
}  # fmt: skip


@law(
    "With fake tensors a call gives as many tensors as with real ones, of the same sizes and dtypes, with a graph or without.",
    source="torch.compiler: fake tensors; torch.library.register_fake: the output's metadata is that of the operator",
    obliges=EVERY,
)
def shadows_have_the_sizes(case: Shadow, out: Outcome) -> Finding:
    return same(out.fake, out.real)


@law(
    "On the device meta a call gives as many tensors as elsewhere, of the same sizes and dtypes, with a graph or without; of "
    "torch.embedding_bag's sum or mean only the bags have to have the sizes.",
    source="PyTorch documentation, Meta device: operations record metadata, but no actual data",
    obliges=EVERY,
)
def meta_tensors_have_the_sizes(case: Shadow, out: Outcome) -> Finding:
    if case.call != "whole_bag" or case.mode == "max":
        return same(out.meta, out.real)
    # F.embedding_bag documents the bags alone.  What its kernels note beside them has other sizes on a graphics card than
    # on a CPU, and meta tells those of the card.
    promised = "[kind[place > 0:] for place, kind in enumerate({})]"
    return same(out.meta.derived(promised), out.real.derived(promised).raw)


test_scope, test_product, test_random = family.tests()
