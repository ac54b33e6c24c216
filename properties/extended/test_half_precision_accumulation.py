"""Accumulation: the gradient of a frequent token's row counts its tokens, in half precision too."""

from embcheck.core.comparison import every, same
from embcheck.core.law import Family
from embcheck.core.outcome import Outcome
from embcheck.core.result import UNASKED, Finding
from embcheck.families.half_precision_accumulation.cases import GATHERED, SPACE, AccumulationCase, plan

family = Family("half_precision_accumulation", SPACE, plan, cost=4.0)
law = family.law


@law(
    "The gradient of a row looked up n times with upstream ones is n, rounded once.",
    source="one_hot(i)ᵀ · 1 is the number of tokens; Numerical accuracy: reductions of reduced precision accumulate in float32",
    must_cover={f"call={name}" for name in GATHERED}
    | {"dtype=bfloat16", "dtype=float16", "dtype=float32", "sparse", "several", "mixed", "largest>2048", "stops"}
    | {"call=decomposed & stops & dtype=bfloat16"},
)
def half_precision_gradient_counts_repeated_tokens(case: AccumulationCase, out: Outcome) -> Finding:
    return every(same(out.gradient, case.gradient), same(out.coalesced, case.gradient) if case.sparse else UNASKED)


test_scope, test_product, test_random = family.tests()
