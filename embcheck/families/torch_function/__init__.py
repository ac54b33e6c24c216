"""Lookups under __torch_function__."""
