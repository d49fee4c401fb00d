"""Migrations of the control plane, run by Alembic."""
