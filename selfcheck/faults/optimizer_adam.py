"""Faults of Adam and its kin."""

from __future__ import annotations

_adam, _many_adam = "_single_tensor_adam", "_multi_tensor_adam"
