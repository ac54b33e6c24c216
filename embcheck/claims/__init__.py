"""The claims of the five tutorials, and the programs that put them to the test."""
