"""The claims of five tutorials: for each a law that says what becomes of it, decided by what torch does."""

import importlib

from embcheck.claims.case import claim_space, plan
from embcheck.claims.claim import CLAIMS, add_law
from embcheck.core.law import Family

#: The programs, in the order of the axis of experiments, and the pages of claims.
PROGRAMS = ("lookups", "trainings", "paddings", "pairs")
PAGES = (
    "embedding_to_linear_conversion",
    "embedding_and_linear",
    "token_embedding",
    "nn_embedding_in_full",
    "weight_tying",
)
for name in (*PROGRAMS, *PAGES):
    importlib.import_module(f"embcheck.claims.{name}")

tutorial_claims = Family(
    "tutorial_claims", claim_space(), plan, cost=6.0, only_cpu="the tutorials' programs make tensors there"
)

for made in CLAIMS.values():
    add_law(tutorial_claims, made)

test_scope, test_product, test_random = tutorial_claims.tests()
