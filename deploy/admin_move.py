"""Commands inside the server for those that move its data: `pulse backup` and `pulse promote`.

Like all of `admin.py` they run in the server that has the warehouse open, or in the command where no server runs.
"""

from __future__ import annotations

import asyncio
import dataclasses
import re
import uuid
from typing import TYPE_CHECKING

import orjson
import pyarrow as pa
import structlog

from deploy.backup_files import open_private
from deploy.copying import Chunk, Span, plan, read_chunk, read_whole
from deploy.copying_alone import is_at_work
from deploy.copying_ledger import read_cells, read_extent, to_list
from deploy.copying_proof import WHOLE_CONDITIONS, find_under_way, read_proof
from deploy.jobs import BatchCutShortError, BetweenBatches
from deploy.promote_note import (
    WORK,
    Note,
    read_json,
    read_note,
    refuse_promoted,
    to_places,
    work_folder,
    write_note,
)
from deploy.terminal import CommandError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from pathlib import Path

    from deploy.asking import Arguments, Result
    from deploy.copying import Measure
    from deploy.parts import Parts

TABLES = """
SELECT name FROM system.tables WHERE database = currentDatabase() AND engine LIKE '%MergeTree' ORDER BY name
"""
EVENTS = "SELECT count() AS found FROM events"
ERASING = "SELECT count() AS found FROM erasing"
MIGRATIONS = "SELECT name FROM migrations ORDER BY name"
LOOK_SECONDS, BEGUN_SECONDS = 0.05, 0.5
log = structlog.get_logger()
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


async def look(parts: Parts, _arguments: Arguments) -> Result:
    """Which log this is, and how far it is consumed."""
    positions = await parts.read_positions()
    return {
        "number": parts.number,
        "identity": parts.base.log.identity,
        "partitions": parts.base.log.partitions,
        "positions": [positions[partition] for partition in sorted(positions)],
    }


async def plan_chunks(parts: Parts, arguments: Arguments) -> Result:
    """The chunks of a table in a span."""
    span = Span(**orjson.loads(arguments["span"]))
    return {"chunks": [dataclasses.astuple(chunk) for chunk in await plan(parts.warehouse, arguments["table"], span)]}


async def export_chunk(parts: Parts, arguments: Arguments) -> Result:
    """Write the rows of a chunk into a file of the work's folder."""
    chunk = Chunk(*orjson.loads(arguments["chunk"]))
    return await export(parts, *await read_chunk(parts.warehouse, chunk, int(arguments["kept"])))


async def export_whole(parts: Parts, arguments: Arguments) -> Result:
    """The same of a small table."""
    table = arguments["table"]
    where = WHOLE_CONDITIONS[table]
    return await export(parts, *await read_whole(parts.warehouse, table, where, int(arguments["kept"])))


async def export(parts: Parts, rows: pa.Table, measure: Measure) -> Result:
    """Write the rows, and say where and how many they are."""
    path = work_folder(parts.base.settings.data) / f"{uuid.uuid4().hex}.arrow"
    await asyncio.to_thread(write_arrow, path, rows)
    return {"path": str(path), "rows": measure.rows, "checksum": measure.checksum}


def write_arrow(path: Path, rows: pa.Table) -> None:
    """Write a file for its owner alone."""
    options = pa.ipc.IpcWriteOptions(compression="lz4")
    with open_private(path) as file, pa.ipc.new_file(file, rows.schema, options=options) as writer:
        writer.write_table(rows)


async def measure_all(parts: Parts, arguments: Arguments) -> Result:
    """What the warehouse holds, to compare a copy with; up to the consumed positions where the ledger is concerned."""
    warehouse, kept = parts.warehouse, int(arguments["kept"])
    extent = await read_extent(warehouse, parts.number, await parts.read_positions())
    proof = await read_proof(warehouse, extent, kept)
    return {"proof": proof.to_json(), "under_way": await find_under_way(warehouse)}


async def hold(parts: Parts, arguments: Arguments) -> Result:
    """Let no batch land as long as the promotion is at work and neither releases nor hands over.

    Say whether it was handed over: then the note is written, and the consumer has ended for good before a batch could.
    """
    data, warehouse = parts.base.settings.data, parts.base.settings.warehouse
    folder = work_folder(data)
    held, release, order = (folder / f"{name}-{arguments['token']}" for name in ("held", "release", "hand-over"))
    async with parts.consumer.between_batches:
        held.touch()
        while held.exists() and is_at_work(data, WORK) and not release.exists() and parts.consumer.state != "stopped":
            found = read_json(order)
            if found is not None:
                write_note(data, Note(**{**found, "warehouse": warehouse, "places": to_places(found["places"])}))  # type: ignore[arg-type]
                end_consumer()
                return {"handed_over": True}
            await asyncio.sleep(LOOK_SECONDS)
    return {"handed_over": False}


def end_consumer() -> bool:
    """End the consumer of this process and what erases beside it, the others go on; False where none has begun."""
    found = [task for task in asyncio.all_tasks() if task.get_name() in {"consumer", "jobs"}]
    for task in found:
        task.cancel()
    return bool(found)


def end_consumer_soon() -> None:
    """The same as soon as it has begun."""
    if not end_consumer():
        asyncio.get_running_loop().call_later(BEGUN_SECONDS, end_consumer_soon)


async def tell_standing(parts: Parts, _arguments: Arguments) -> Result:
    """Whether this is the old server of a promotion that has handed over."""
    note = read_note(parts.base.settings.data)
    return {"stands_still": note is not None and note.warehouse == parts.base.settings.warehouse}


async def stand_still(parts: Parts) -> None:
    """Let no batch ever land where the folder's note says so; raise CommandError where nothing may start at all."""
    settings = parts.base.settings
    note = refuse_promoted(settings.data, settings.warehouse)
    if note is not None:
        await parts.consumer.between_batches.acquire()
        end_consumer_soon()
        log.warning("promoted", to=note.places.warehouse, hint="collects for `pulse promote`; reports stand still")


MOVES: Mapping[str, Callable[[Parts, Arguments], Awaitable[Result]]] = {
    "backup-freeze": freeze,
    "promote-look": look,
    "promote-plan": plan_chunks,
    "promote-chunk": export_chunk,
    "promote-whole": export_whole,
    "promote-measure": measure_all,
    "promote-hold": hold,
    "promote-standing": tell_standing,
}
