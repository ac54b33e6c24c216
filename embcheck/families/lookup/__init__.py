"""F.embedding and nn.Embedding: rows of a table."""
