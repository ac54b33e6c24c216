"""Further ways in which autograd reaches a lookup: an axis of routes, whose second half `saved_tensors` registers."""

from embcheck.families.gradient_routes import saved_tensors  # noqa: F401
