"""What a lookup costs: the cases, and the programs that count."""
