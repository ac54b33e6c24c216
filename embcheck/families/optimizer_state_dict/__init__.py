"""Optimizer.state_dict and training that is resumed."""
