"""Calls with fake and meta tensors give what has the shapes and dtypes of what real tensors give."""

from __future__ import annotations

from embcheck.core.comparison import same
from embcheck.core.law import Family
from embcheck.core.outcome import Outcome
from embcheck.core.result import Finding
from embcheck.families.fake_tensors.cases import SPACE, FakeTensorCase, plan
from embcheck.families.fake_tensors.programs import CALLS

family = Family("fake_tensors", SPACE, plan, cost=20.0)
law = family.law

#: What both laws have to meet.
EVERY = {f"call={name}" for name in CALLS} | {
    "learns", "empty_bag", "single", "include_last_offset", "mode=max", "index_dtype=int32", "dtype=bfloat16",
}  # fmt: skip


@law(
    "Fake tensors give as many outputs as real tensors, with the same shapes, dtypes and requires_grad.",
    source="torch.compiler: fake tensors; torch.library.register_fake: the output's metadata is that of the operator",
    must_cover=EVERY,
)
def fake_output_metadata_matches_real(case: FakeTensorCase, out: Outcome) -> Finding:
    return same(out.fake, out.real)


@law(
    "Meta tensors give as many outputs as real tensors, with the same shapes, dtypes and requires_grad.",
    source="PyTorch documentation, Meta device: operations record metadata, but no actual data",
    must_cover=EVERY,
)
def meta_output_metadata_matches_real(case: FakeTensorCase, out: Outcome) -> Finding:
    if case.call != "whole_bag" or case.mode == "max":
        return same(out.meta, out.real)
    # F.embedding_bag documents the bags alone.  What its kernels note beside them has other sizes on a graphics card than
    # on a CPU, and meta tells those of the card.
    promised = "[kind[place > 0:] for place, kind in enumerate({})]"
    return same(out.meta.derived(promised), out.real.derived(promised).raw)


test_scope, test_product, test_random = family.tests()
