"""Crashes and hangs: what was running, how it ends, and the verdict that it becomes."""
