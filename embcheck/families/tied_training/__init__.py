"""Optimizer steps of a tied pair."""
