"""Further ways in which autograd reaches a lookup."""
