"""Modes beyond the plain ones, one module for each sort; each mode is an entry of `embcheck.modes.mode.MODES`."""
