"""Tables of the control plane: who owns what, which keys open it, and the secrets that make visitor ids."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    Date,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    TypeDecorator,
    text,
)

if TYPE_CHECKING:
    from sqlalchemy import Dialect

metadata = MetaData()


class Instant(TypeDecorator[datetime]):
    """An aware datetime in UTC both ways; SQLite by itself would forget the offset."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002 (inherited)
        """Store UTC; a naive datetime is a fault (ValueError)."""
        if value is not None and value.tzinfo is None:
            message = f"{value} has no time zone"
            raise ValueError(message)
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002 (inherited)
        """Read UTC."""
        return None if value is None else value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


organisations = Table(
    "organisations",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", String(200), nullable=False),
    Column("plan", String(20), nullable=False),
    Column("requests_per_minute", Integer),  # of an enterprise plan; null is without end
    Column("requests_per_day", Integer),  # of an enterprise plan; null is without end
    Column("created_at", Instant, nullable=False),
)

projects = Table(
    "projects",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("organisation_id", ForeignKey("organisations.id"), nullable=False, index=True),
    Column("name", String(200), nullable=False),
    Column("created_at", Instant, nullable=False),
)

# A site has a twin with `sandbox` true: its sk_test_ key collects there and ak_test_ keys see only such sites.
sites = Table(
    "sites",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("project_id", ForeignKey("projects.id"), nullable=False, index=True),
    Column("sandbox", Boolean, nullable=False),
    Column("domain", String(253), nullable=False),
    Column("name", String(200), nullable=False),
    Column("timezone", String(64), nullable=False),
    Column("site_key", String(64), nullable=False, unique=True),  # sk_live_… or sk_test_…; public
    Column("is_active", Boolean, nullable=False),  # false is paused: events are refused
    Column(
        "allowed_hostnames", JSON, nullable=False
    ),  # list of hostnames, empty allows all; *.example.org for any below
    Column("excluded_addresses", JSON, nullable=False),  # list of addresses and networks
    Column("retention_months", Integer),  # whole months to keep, null is for ever
    Column("visitor_key", LargeBinary(32), nullable=False),  # keys the ids of identified visitors, never changes
    Column("created_at", Instant, nullable=False),
    Column("deleted_at", Instant),
    Index(
        "one_site_a_domain",
        "project_id",
        "domain",
        "sandbox",
        unique=True,
        sqlite_where=text("deleted_at IS NULL"),  # of PostgreSQL in the migration: naming it loads all of its dialect
    ),
)

keys = Table(
    "keys",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("project_id", ForeignKey("projects.id"), nullable=False, index=True),
    Column("sandbox", Boolean, nullable=False),
    Column("name", String(200), nullable=False),
    Column("digest", String(64), nullable=False, unique=True),  # SHA-256 of the key, hexadecimal
    Column("hint", String(24), nullable=False),  # first characters, to recognise it by
    Column("scopes", JSON, nullable=False),  # list of read, ingest
    Column("created_at", Instant, nullable=False),
    Column("expires_at", Instant),
    Column("revoked_at", Instant),
    Column("last_used_at", Instant),
    Column("replaced_by", ForeignKey("keys.id")),  # rotation: the old key lives until expires_at
)

salts = Table(
    "salts",
    metadata,
    Column("day", Date, primary_key=True),  # calendar date of the visitors' local days
    Column("salt", LargeBinary(16), nullable=False),
    Column("backfill", Boolean, nullable=False),  # made for an old date, for events sent with an ingest key
    Column("last_used_at", Instant, nullable=False),
)

logs = Table(
    "logs",
    metadata,
    Column("id", Integer, primary_key=True),  # the _log of warehouse rows
    Column("identity", String(200), nullable=False, unique=True),  # EventLog.identity
    Column("created_at", Instant, nullable=False),
)

stream_tokens = Table(
    "stream_tokens",
    metadata,
    Column("digest", String(64), primary_key=True),  # SHA-256 of the token, hexadecimal
    Column("key_id", ForeignKey("keys.id"), nullable=False),
    Column("expires_at", Instant, nullable=False),
)

facts = Table(
    "facts",
    metadata,
    Column("name", String(64), primary_key=True),  # what the installation knows of itself, e.g. the welcome was shown
    Column("value", JSON, nullable=False),
)
