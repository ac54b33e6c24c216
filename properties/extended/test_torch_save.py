"""Journeys: what is written to a file comes back as it was then: its values, ties, shared memory, types and flags."""

from __future__ import annotations

from embcheck.core.comparison import every, identical, is_true, refuses, same, unwritten
from embcheck.core.law import Family
from embcheck.core.outcome import Field, Outcome
from embcheck.core.result import Finding
from embcheck.families.torch_save.space import SPACE, TorchSaveCase, plan

torch_save = Family(
    "torch_save",
    SPACE,
    plan,
    refused=lambda case: case.refused,
    cost=24.0,
    stride=2,
)
law = torch_save.law


@law(
    "torch.load gives the values that torch.save wrote last, every time.",
    source="torch.save, torch.load: map_location, weights_only, mmap",
    must_cover={"mapped", "moved", "empty", "zipped=False", "way=pathlike", "way=path", "layout=transposed"},
)
def torch_load_round_trips_values(case: TorchSaveCase, out: Outcome) -> Finding:
    first, second = case.flat(0), case.flat(1)
    found = [identical(getattr(out, name), first) for name in ("values", "beside", "reread")]
    if not case.mmap:
        found += [
            identical(out.rewritten, second),
            identical(out.earlier, first),
            is_true(out.later, "the second reading gave other ties, types or flags than the first"),
        ]
    return every(*found)


@law(
    "Tensors and memory that were shared are shared after loading, and no others.",
    source="Serialization semantics: saving and loading tensors preserves views",
    must_cover={"what=views", "what=several", "what=variables", "mapped", "moved"},
)
def torch_load_preserves_shared_tensors(case: TorchSaveCase, out: Outcome) -> Finding:
    sent = out.sent.raw
    # What has no elements, or is nowhere, has no address.
    placed = case.location != "on_meta" and 0 not in case.shape
    return every(
        *(same(entry(out, name), sent[name]) for name in ("type", "names", "cells", *(["memory"] if placed else []))),
        is_true(out.apart, "what was read shares memory with what was written, or with what was read before"),
    )


def entry(out: Outcome, name: str) -> Field:
    """Something that was seen of what was read."""
    return out.found.entry(name)


@law(
    "Types, dtypes, strides, offsets and requires_grad survive torch.load, on any device.",
    source="torch.load: map_location; nn.Parameter",
    must_cover={"frozen", "moved", "weights_only=False", "layout=column_slice"},
)
def torch_load_preserves_metadata(case: TorchSaveCase, out: Outcome) -> Finding:
    sent = out.sent.raw
    return every(
        *(same(entry(out, name), sent[name]) for name in ("types", "dtypes", "strides", "offsets", "trains", "leaves")),
        same(out.devices, ["meta" if case.location == "on_meta" else "cpu"]),
    )


@law("torch.save changes nothing in what it saves.", source="no side effects")
def torch_save_changes_nothing(case: TorchSaveCase, out: Outcome) -> Finding:
    return every(is_true(out.kept, "what was written has other ties or flags"), unwritten(out))


@law(
    "torch.load with mmap=True raises unless it reads a zip file by name.",
    source="torch.load: mmap",
    must_cover={"way=buffer", "zipped=False"},
    refusal=True,
)
def torch_load_mmap_needs_a_zip_file(case: TorchSaveCase, out: Outcome) -> Finding:
    return every(refuses(out, ValueError, RuntimeError), unwritten(out))


test_scope, test_product, test_random = torch_save.tests()
