"""Lookups under torch.func transforms."""
