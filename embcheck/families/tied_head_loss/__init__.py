"""A loss on the output of a tied head."""
