"""Lookups with max_norm, which rescale rows in place."""
