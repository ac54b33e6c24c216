"""Measurements: what checking costs beside the raw work, and beside a property-based suite of the usual kind."""
