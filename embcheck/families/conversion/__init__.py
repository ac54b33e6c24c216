"""An Embedding’s weight as a Linear’s weight, and back."""
