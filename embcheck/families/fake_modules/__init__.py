"""Modules of fake and meta tensors."""
