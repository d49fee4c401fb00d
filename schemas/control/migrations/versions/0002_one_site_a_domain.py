"""A domain stands once in a project; an enterprise plan has limits of its own."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

ALIVE = sa.text("deleted_at IS NULL")


def upgrade() -> None:
    """Apply."""
    op.add_column("organisations", sa.Column("requests_per_minute", sa.Integer()))
    op.add_column("organisations", sa.Column("requests_per_day", sa.Integer()))
    op.create_index(
        "one_site_a_domain",
        "sites",
        ["project_id", "domain", "sandbox"],
        unique=True,
        sqlite_where=ALIVE,
        postgresql_where=ALIVE,
    )
