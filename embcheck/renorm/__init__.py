"""max_norm: the cases, what is due, and the programs."""
