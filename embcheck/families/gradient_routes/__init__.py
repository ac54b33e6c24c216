"""Further ways in which autograd reaches a lookup: an axis of routes, whose other parts three modules register."""

from embcheck.families.gradient_routes import saved_tensors  # noqa: F401, I001  (their order is that of the axis)
from embcheck.families.gradient_routes import autograd_options  # noqa: F401
from embcheck.families.gradient_routes import checkpoints  # noqa: F401
