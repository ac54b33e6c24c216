"""An embedding's table as a linear layer's weight, and back: the cases and the programs."""
