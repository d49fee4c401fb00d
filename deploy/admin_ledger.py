"""The ledger inside the server: as it is, counted once more piece by piece, and repaired. See `admin.py`.

Whoever recounts asks for one piece after the other, so no answer takes long and nothing is left behind by a caller who
goes away.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sqlalchemy import select

from deploy.terminal import CommandError
from ingest.doubled import count_doubled
from ingest.log import LogUnavailableError
from ingest.repairing import Repair, RepairBusyError, find_hours
from ingest.verifying import Verifier
from query_api.control.organisations import ensure_project
from query_api.control.sites import list_sites
from query_api.ledger import read_ledger
from query_api.question import Range
from schemas.control.tables import sites
from schemas.event import SiteId
from schemas.warehouse.client import Limits

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

    from deploy.asking import Arguments, Result
    from deploy.parts import Parts

DAY = 24 * 3600
EXTENT = "SELECT toUInt32(min(hour)) AS first, toUInt32(max(hour)) AS last FROM receipts WHERE site_id != 0"
SITES = """
SELECT DISTINCT site_id FROM receipts
WHERE hour >= toDateTime({start:UInt32}, 'UTC') AND hour < toDateTime({end:UInt32}, 'UTC') AND site_id != 0
"""
ERASING = "SELECT count() AS found FROM erasing"


async def show_ledger(parts: Parts, arguments: Arguments) -> Result:
    """Every hour of receipt of the project's live sites, or of one site; `start` and `end` are ISO 8601.

    Where it does not close: how many rows are stored twice.
    """
    project = await ensure_project(parts.base.control, parts.base.settings.plan, parts.base.now())
    pairs = await list_sites(parts.base.control, project.id)
    wanted = arguments.get("site", "")
    found = [pair.live.id for pair in pairs if not wanted or wanted in {pair.live.domain, str(pair.live.id)}]
    if wanted and not found:
        message = f"there is no site {wanted!r}: `pulse site list` shows the sites there are"
        raise CommandError(message)
    asked = Range(to_instant(arguments["start"]), to_instant(arguments["end"]))
    ledger = await read_ledger(parts.warehouse, parts.read_in_flight, found, asked, Limits())
    result: Result = {"ledger": ledger.rows, "closed": ledger.closed}
    if ledger.open:
        hours = sorted({one.hour for one in ledger.open})
        rows = [(await count_doubled(parts.warehouse, *to_span(hour))).rows for hour in hours]
        result["doubled"] = sum(rows)
    return result


async def plan_recount(parts: Parts, arguments: Arguments) -> Result:
    """What there is to recount: days of receipt (epoch seconds), and what the log still holds of what was consumed.

    `start` and `end` are ISO 8601; empty is everything.
    """
    extent = (await parts.warehouse.query(EXTENT)).to_pylist()[0]
    start = int(to_instant(arguments["start"]).timestamp()) if arguments["start"] else extent["first"]
    end = int(to_instant(arguments["end"]).timestamp()) if arguments["end"] else extent["last"] + 3600
    start, end = start // 3600 * 3600, -(-end // 3600) * 3600
    positions = await parts.read_positions()
    bounds = {partition: await parts.base.log.bounds(partition) for partition in positions}
    log = [
        {"partition": partition, "begin": bounds[partition].begin, "end": min(position, bounds[partition].end)}
        for partition, position in positions.items()
    ]
    days = [[first, min(first + DAY, end)] for first in range(max(start, extent["first"]), end, DAY)]
    return {"start": start, "end": end, "days": days if extent["last"] else [], "log": log}


async def recount_hours(parts: Parts, arguments: Arguments) -> Result:
    """What does not close of the hours from `start` to `end` (epoch seconds), over all sites that there ever were."""
    start, end = int(arguments["start"]), int(arguments["end"])
    asked = Range(datetime.fromtimestamp(start, UTC), datetime.fromtimestamp(end, UTC))
    everyone = sorted(await find_sites(parts, start, end))
    ledger = await read_ledger(parts.warehouse, parts.read_in_flight, everyone, asked, Limits())
    repair = Repair(parts.warehouse, parts.base.control, parts.base.clock)
    doubled, torn = [], []
    for hour in await find_hours(parts.warehouse, start, end):
        if rows := (await count_doubled(parts.warehouse, *to_span(hour))).rows:
            doubled.append({"hour": to_text(hour), "rows": rows})
        if rows := (await repair.count(hour)).moves:
            torn.append({"hour": to_text(hour), "rows": rows})
    hours = [{"site_id": one.site_id, "hour": to_text(one.hour), **one.figures} for one in ledger.open]
    return {"open": hours, "doubled": doubled, "torn": torn}


async def recount_log(parts: Parts, arguments: Arguments) -> Result:
    """Some blocks of a log partition; the answer says where to go on."""
    verifier = Verifier(parts.warehouse, parts.base.log, parts.number)
    hours = range(int(arguments["start"]), int(arguments["end"]))
    partition, position, until = (int(arguments[name]) for name in ("partition", "position", "until"))
    try:
        piece = await verifier.verify(partition, position, until, hours)
    except LogUnavailableError as error:
        raise CommandError(str(error)) from error
    return asdict(piece)


async def repair_hour(parts: Parts, arguments: Arguments) -> Result:
    """Delete second copies of rows received in an hour (ISO 8601), finish moves to `duplicates`."""
    hour = int(to_instant(arguments["hour"]).timestamp())
    repair = Repair(parts.warehouse, parts.base.control, parts.base.clock)
    async with without_erasures(parts):
        try:
            done = await repair.repair(hour)
        except RepairBusyError as error:
            raise CommandError(str(error)) from error
    await repair.release()
    parts.versions.bump(await find_sites(parts, hour, hour + 3600))
    return asdict(done)


@asynccontextmanager
async def without_erasures(parts: Parts) -> AsyncIterator[None]:
    """Between two batches, while nothing is being erased: an erasure has counted the rows that it deletes."""
    async with parts.consumer.between_batches:
        if (await parts.warehouse.query(ERASING)).to_pylist()[0]["found"]:
            message = "an erasure is under way: run the command again in a moment"
            raise CommandError(message)
        yield


async def find_sites(parts: Parts, start: int, end: int) -> frozenset[SiteId]:
    """Every site of the control plane, deleted ones too, and every one that anything was received for."""
    async with parts.base.control.connect() as connection:
        known = (await connection.execute(select(sites.c.id))).scalars().all()
    rows = await parts.warehouse.query(SITES, {"start": start, "end": end})
    return frozenset(map(SiteId, [*known, *rows.column("site_id").to_pylist()]))


def to_instant(text: str) -> datetime:
    """An instant of ISO 8601 text, UTC where it names no offset; raise ValueError."""
    instant = datetime.fromisoformat(text)
    return instant if instant.tzinfo else instant.replace(tzinfo=UTC)


def to_text(hour: int) -> str:
    """An hour (epoch seconds) in ISO 8601."""
    return datetime.fromtimestamp(hour, UTC).isoformat().replace("+00:00", "Z")


def to_span(hour: int) -> tuple[int, int]:
    """The epoch milliseconds of an hour, from the first to after the last."""
    return hour * 1000, (hour + 3600) * 1000


LEDGER_COMMANDS: Mapping[str, Callable[[Parts, Arguments], Awaitable[Result]]] = {
    "ledger": show_ledger,
    "ledger-plan": plan_recount,
    "ledger-hours": recount_hours,
    "ledger-log": recount_log,
    "ledger-repair": repair_hour,
}
