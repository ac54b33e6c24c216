"""A law that no hunt happened to see broken gets a second look."""

from __future__ import annotations

from embcheck.collect import load_families
from embcheck.selfcheck import redeemed


def test_a_law_that_a_fault_breaks_is_no_decoration() -> None:
    law = "reparametrized_is_accepted"
    assert redeemed([law], load_families(), "quick", 0) == {law}


def test_a_law_that_meets_no_fault_stays_one() -> None:
    assert redeemed(["reparametrized_is_accepted"], load_families(), "quick", 0, limit=0.0) == set()
