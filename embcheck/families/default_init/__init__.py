"""The first values of a table."""
