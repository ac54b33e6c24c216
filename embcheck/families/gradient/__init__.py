"""The gradient of a lookup."""
