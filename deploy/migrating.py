"""Makes topics, tables and databases ready before any role starts, each where it is on a server.

What is embedded makes itself ready when it starts, and is not looked at.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from deploy.base import open_migrated_control
from deploy.private import working_in_private_folder
from deploy.urls import refuse_wrong_urls, telling_of_log, telling_of_warehouse
from ingest.log.open import prepare_log
from schemas.warehouse.client import Warehouse
from schemas.warehouse.migrate import migrate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deploy.settings import Settings

FILE, FOLDER = "sqlite:///", "chdb:///"  # of what is embedded


async def make_ready(settings: Settings) -> list[str]:
    """Do it and say what was done; raise SettingError for a setting that names what cannot be used."""
    refuse_wrong_urls(settings)
    with working_in_private_folder(settings.data):
        with telling_of_log(settings):
            done = [f"log: {line}" for line in await prepare_log(settings.log)]
        if not settings.control.startswith(FILE):
            async with open_migrated_control(settings):
                done.append("control plane: up to date")
        if not settings.warehouse.startswith(FOLDER):
            done.append(f"warehouse: {', '.join(await migrate_warehouse(settings)) or 'up to date'}")
    return done


async def migrate_warehouse(settings: Settings) -> Sequence[str]:
    """Apply the migrations that are missing and give their names; raise SettingError."""
    with telling_of_warehouse(settings):
        warehouse = Warehouse(settings.warehouse, 1)
        try:
            return await migrate(warehouse)
        finally:
            await warehouse.close()
