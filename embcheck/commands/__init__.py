"""The commands that look at more than one run: each module has some, and ``embcheck.cli`` registers them."""
