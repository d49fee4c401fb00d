"""Commands inside the server for those that move its data: `pulse backup` and `pulse promote`.

Like all of `admin.py` they run in the server that has the warehouse open, or in the command where no server runs.
"""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING

from deploy.copying_ledger import read_cells, read_extent, to_list
from deploy.jobs import BatchCutShortError, BetweenBatches
from deploy.terminal import CommandError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from deploy.asking import Arguments, Result
    from deploy.parts import Parts

TABLES = """
SELECT name FROM system.tables WHERE database = currentDatabase() AND engine LIKE '%MergeTree' ORDER BY name
"""
EVENTS = "SELECT count() AS found FROM events"
ERASING = "SELECT count() AS found FROM erasing"
MIGRATIONS = "SELECT name FROM migrations ORDER BY name"
NAME = re.compile(r"pulse_backup_[0-9a-f]{32}")


async def freeze(parts: Parts, arguments: Arguments) -> Result:
    """Give every part of the warehouse a second name in `shadow/{name}`, between two batches: a state of one moment.

    It takes no room and hardly any time; the rest of the answer says what is in it.
    """
    name = arguments["name"]
    if not NAME.fullmatch(name):
        message = f"{name!r} is no name of a backup"
        raise CommandError(message)
    await parts.warehouse.check_disk()
    try:
        async with BetweenBatches(parts.consumer.between_batches, parts.read_progress):
            return await freeze_now(parts, name)
    except BatchCutShortError as error:
        message = f"{error}: run the command again in a moment"
        raise CommandError(message) from error


async def freeze_now(parts: Parts, name: str) -> Result:
    """The same, when nothing of a batch lands."""
    warehouse = parts.warehouse
    if (await warehouse.query(ERASING)).to_pylist()[0]["found"]:
        message = "an erasure was cut short and is not finished: start Pulse, then run the command again"
        raise CommandError(message)
    positions = (await parts.read_progress()).begins
    extent = await read_extent(warehouse, parts.number, positions)
    for table in (await warehouse.query(TABLES)).column("name").to_pylist():
        await warehouse.command(f"ALTER TABLE {table} FREEZE WITH NAME '{name}'")
    return {
        "migrations": (await warehouse.query(MIGRATIONS)).column("name").to_pylist(),
        "log": {"number": parts.number, "identity": parts.base.log.identity, "partitions": parts.base.log.partitions},
        "extent": dataclasses.asdict(extent),
        "events": (await warehouse.query(EVENTS)).to_pylist()[0]["found"],
        "cells": to_list(await read_cells(warehouse, extent)),
    }


MOVES: Mapping[str, Callable[[Parts, Arguments], Awaitable[Result]]] = {"backup-freeze": freeze}
