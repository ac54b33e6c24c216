"""F.embedding_bag: sum, mean and max."""
