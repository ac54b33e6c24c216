"""The record of a run: written, read, compared and merged."""
