"""Schemas of the warehouse: migrations in order, and the one door to it."""
