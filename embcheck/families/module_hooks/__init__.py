"""Hooks of modules."""
