"""torch.func.functional_call and its likes."""
