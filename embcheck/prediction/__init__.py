"""A tied head predicts tokens, and a loss judges what it says."""
