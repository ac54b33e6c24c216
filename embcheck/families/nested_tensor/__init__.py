"""Lookups of nested tensors."""
