"""Optimizers under another default device or dtype."""
