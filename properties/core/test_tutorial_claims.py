"""The claims of five tutorials: for each a law that says what becomes of it, decided by what torch does."""

from __future__ import annotations

from embcheck.claims import (  # noqa: F401  (each adds its claims)
    embedding_and_linear,
    embedding_to_linear_conversion,
    nn_embedding_in_full,
    token_embedding,
    weight_tying,
)
from embcheck.claims.case import claim_space, plan
from embcheck.claims.claim import CLAIMS, add_law
from embcheck.core.law import Family

tutorial_claims = Family("tutorial_claims", claim_space(), plan, cost=6.0)

for made in CLAIMS.values():
    add_law(tutorial_claims, made)

test_scope, test_product, test_random = tutorial_claims.tests()
