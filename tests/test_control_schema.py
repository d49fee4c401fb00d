"""The migrations of the control plane make exactly the tables that the code knows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from schemas.control.connect import MIGRATIONS, migrate_control
from schemas.control.tables import metadata
from tests.servers.control_fixtures import pytest_generate_tests  # noqa: F401 - pytest calls it

if TYPE_CHECKING:
    from sqlalchemy import Connection
    from sqlalchemy.ext.asyncio import AsyncEngine


def test_the_newest_file_is_the_head() -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    head = ScriptDirectory.from_config(config).get_current_head()
    assert head == max(item.name for item in (MIGRATIONS / "versions").iterdir() if item.name[:1].isdigit())[:4]


async def test_migrations_make_the_tables_of_the_code(control: AsyncEngine) -> None:
    def differences(connection: Connection) -> list[object]:
        return list(compare_metadata(MigrationContext.configure(connection), metadata))

    await migrate_control(control)  # a second time changes nothing
    async with control.connect() as connection:
        assert await connection.run_sync(differences) == []
