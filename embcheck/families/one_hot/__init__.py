"""F.one_hot and its product with a table."""
