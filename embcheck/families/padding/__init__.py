"""Lookups with padding_idx."""
