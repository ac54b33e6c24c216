"""Lookups in sharded tables."""
