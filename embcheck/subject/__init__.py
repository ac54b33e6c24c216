"""Brings the families that speak of torch's own layers to a subject of the user's."""
