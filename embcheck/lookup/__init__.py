"""Lookups in a table: their cases, the programs that make them, and the routes that derivatives take through them."""
