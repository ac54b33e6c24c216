"""torch.optim.LBFGS on a quadratic function."""
