"""Gradient clipping, AveragedModel and GradScaler."""
