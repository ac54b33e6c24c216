"""Embedding bags: their cases, what is due, and the programs."""
