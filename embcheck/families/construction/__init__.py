"""nn.Embedding and its constructor."""
