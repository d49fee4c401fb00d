"""Makes topics, tables and databases ready before any role starts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deploy.base import open_migrated_control
from deploy.private import working_in_private_folder
from deploy.urls import telling_of_log, telling_of_warehouse
from ingest.log.open import prepare_log
from schemas.warehouse.client import Warehouse
from schemas.warehouse.migrate import migrate

if TYPE_CHECKING:
    from deploy.settings import Settings


async def make_ready(settings: Settings) -> list[str]:
    """Do it and say what was done; raise SettingError for a setting that names what cannot be used."""
    with working_in_private_folder(settings.data):
        with telling_of_log(settings):
            done = [f"log: {line}" for line in await prepare_log(settings.log)]
        async with open_migrated_control(settings):
            done.append("control plane: up to date")
        with telling_of_warehouse(settings):
            warehouse = Warehouse(settings.warehouse, 1)
            try:
                applied = await migrate(warehouse)
            finally:
                await warehouse.close()
    return [*done, f"warehouse: {', '.join(applied) or 'up to date'}"]
