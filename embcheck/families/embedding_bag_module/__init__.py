"""nn.EmbeddingBag and its constructor."""
