"""F.linear and nn.Linear."""
