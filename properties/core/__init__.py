"""The laws of the core families."""
