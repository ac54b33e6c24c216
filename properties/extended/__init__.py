"""The laws of the extended families."""
