"""Calls whose tensors lie on different devices."""
