"""torch.nn.utils.parametrize, norms and pruning."""
