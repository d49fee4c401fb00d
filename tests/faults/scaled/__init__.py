"""Faults of the scaled form: real processes, hurt by a seeded schedule while clients send; then all is counted."""
