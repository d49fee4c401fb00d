"""PostgreSQL tells listeners that something which they keep in memory has changed; SQLite needs no help to be asked.

The last use of a key is written every minute and kept by nobody: it is not told. A later migration that adds a column
to `keys` adds it to the trigger too (a test compares them).
"""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"

TELL = """
CREATE FUNCTION pulse_tell_change() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN PERFORM pg_notify('pulse_control', ''); RETURN NULL; END $$
"""
TRIGGER = """
CREATE TRIGGER pulse_tell_change AFTER INSERT OR DELETE OR TRUNCATE OR UPDATE {columns} ON {table}
FOR EACH STATEMENT EXECUTE FUNCTION pulse_tell_change()
"""
KEPT = {
    "organisations": "",
    "projects": "",
    "sites": "",
    "keys": "OF id, project_id, sandbox, name, digest, hint, scopes, created_at, expires_at, revoked_at, replaced_by",
}


def upgrade() -> None:
    """Apply."""
    if op.get_bind().dialect.name != "postgresql":
        return
    op.execute(TELL)
    for table, columns in KEPT.items():
        op.execute(TRIGGER.format(table=table, columns=columns))
