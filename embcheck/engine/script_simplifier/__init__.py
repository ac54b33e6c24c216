"""Residual programs: what is left of a counterexample's program once its options are decided (partial evaluation)."""
