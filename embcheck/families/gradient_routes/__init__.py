"""Further ways in which autograd reaches a lookup.

The routes are an axis, in the order in which these modules register them, whoever is the first to import one.
"""

from embcheck.families.gradient_routes import (  # noqa: F401
    hooks,
    saved_tensors,
    threads,
    wider_dtypes,
    with_random_numbers,
)
