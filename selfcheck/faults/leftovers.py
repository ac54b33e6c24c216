"""Faults that show in what is left behind: settings, slots, versions, names, tails."""

from __future__ import annotations

import importlib
from typing import Any

convert: Any = importlib.import_module("torch.nn.utils.convert_parameters")
averaging: Any = importlib.import_module("torch.optim.swa_utils")
