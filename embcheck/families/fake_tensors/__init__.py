"""Calls with fake and meta tensors."""
