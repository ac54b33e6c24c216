"""Tied weights through export, tracing and copies."""
