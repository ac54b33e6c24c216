"""Optimizers with several parameters and groups."""
