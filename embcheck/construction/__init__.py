"""How layers are made and filled, and which calls of them are refused: the cases and the programs."""
