"""Gradients of rows that many tokens look up, in half precision."""
