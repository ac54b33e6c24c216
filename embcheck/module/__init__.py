"""Parameters in modules: how one is made, listed, saved and loaded; the cases and the programs."""
