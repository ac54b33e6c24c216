"""Drawn faults: a mutation score of the laws (`selfcheck.runner`).  Not part of the wheel."""
