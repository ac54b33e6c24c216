"""Lookups in tables of any dtype and origin."""
