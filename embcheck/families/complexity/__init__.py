"""What a lookup allocates and computes."""
