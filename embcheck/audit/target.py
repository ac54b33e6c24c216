"""Where a factory is, told without importing it, which may take long, or end the process."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

from embcheck.audit.finding import Unbuilt


def located(source: Mapping[str, Any]) -> tuple[str, str]:
    """The module and the factory that ``module:factory`` names; the folder of the source is where modules are looked for, too.

    Raises:
        Unbuilt: if it names none, or there is no such module.
    """
    target, folder = str(source["target"]), str(source.get("folder", ""))
    module, _, factory = target.partition(":")
    if not module or not factory:
        raise Unbuilt(f"{target!r}: expected module:factory, such as my_model:build")
    if folder and folder not in sys.path:
        sys.path.insert(0, folder)
    package = module.partition(".")[0]
    if package and package not in sys.modules and find_spec(package) is None:
        raise Unbuilt(f"{module} can't be imported: ModuleNotFoundError: No module named {package!r}")
    return module, factory
