"""nn.Linear and its constructor."""
