"""What torch gives instead, where a ledger entry can say it more narrowly than by a kind of difference."""

from embcheck.core.wrong_results import (  # noqa: F401  (which register what they know)
    lookups,
    modules,
    numbers,
    steps,
)
from embcheck.core.wrong_results.judgement import Instead, is_known, misnamed

__all__ = ["Instead", "is_known", "misnamed"]
