"""Events a second from the log to the warehouse, everything included, beside the engine taking the same lines as JSON.

Run: python -m tests.bench.consumer [--events 1000000]. Ends by counting that nothing is lost or doubled.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import tempfile
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import orjson

from ingest.log.sqlite import open_sqlite_log
from ingest.log.sqlite_room import Keeping
from ingest.logs import number_of_log
from schemas.control.connect import migrate_control, open_control
from schemas.event import LINE_FIELDS, BlockHeaders, ReceiptCount, SiteId
from schemas.warehouse.client import Warehouse
from schemas.warehouse.migrate import migrate
from tests.ingest.consumer.rivers import NOW, River, make_enricher, make_sites

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterator

    from ingest.log import EventLog

SITES = 20
VISITORS = 50_000
PAGES = 3000
LINES_A_BLOCK = 400
PARTITIONS = 4
WARMING = 4 * LINES_A_BLOCK
AT_ONCE = 64  # blocks
BROWSERS = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{}.0.0.0 Safari/537.36",
    "Mozilla/5.0 (X11; Linux x86_64; rv:{0}.0) Gecko/20100101 Firefox/{0}.0",
    (
        "Mozilla/5.0 (iPhone; CPU iPhone OS 18_{} like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 "
        "Mobile/15E148 Safari/604.1"
    ),
)
REFERRERS = ("", "", "https://www.google.com/", "https://news.ycombinator.com/item?id=1", "https://t.co/x")
TABLE = "CREATE TABLE raw ({}) ENGINE = MergeTree ORDER BY (site_id, ts) SETTINGS fsync_after_insert = 1"
KINDS = {"string": "String", "int64": "Int64", "bool": "Bool"}


def make_lines(count: int, now: int = NOW, sites: int = SITES, seed: int = 7) -> Iterator[bytes]:
    """Lines of visitors who look at some pages of one site over the hours before `now`."""
    dice = random.Random(seed)  # noqa: S311 (test data)
    agents = [text.format(version) for text in BROWSERS for version in range(120, 145)]
    visitors = [
        (f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", dice.choice(agents), dice.randrange(sites) + 1)
        for number in range(VISITORS)
    ]
    for number in range(count):
        address, agent, site = dice.choice(visitors)
        line = {
            "site_id": site,
            "event_id": str(uuid.UUID(int=dice.getrandbits(128))),
            "url": f"https://www.example{site}.org/blog/post-{int(dice.paretovariate(0.6)) % PAGES}",
            "title": "A page about something",
            "ts": now - dice.randrange(20_000_000),
            "received": now,
            "address": address,
            "user_agent": agent,
            "language": "en-GB",
            "screen_width": 1920,
            "timezone": "Europe/Berlin",
        }
        if referrer := dice.choice(REFERRERS):
            line["referrer"] = referrer
        if not number % 10:
            line |= {"name": "signup", "props": '{"plan":"pro","step":"2"}'}
        yield orjson.dumps(line) + b"\n"


async def fill(log: EventLog, lines: list[bytes], now: int = NOW) -> None:
    """Append them in blocks over all partitions, no more at once than a log lets wait."""
    appends: list[Awaitable[object]] = []
    for start in range(0, len(lines), LINES_A_BLOCK):
        block = lines[start : start + LINES_A_BLOCK]
        counts: dict[int, int] = {}
        for line in block:
            site = orjson.loads(line)["site_id"]
            counts[site] = counts.get(site, 0) + 1
        rows = tuple(ReceiptCount(SiteId(site), now // 3_600_000 * 3600, "", n) for site, n in counts.items())
        headers = BlockHeaders(len(block), now, now, rows)
        appends.append(log.append(start // LINES_A_BLOCK % PARTITIONS, headers, b"".join(block)))
        if len(appends) == AT_ONCE:
            await asyncio.gather(*appends)
            appends.clear()
    await asyncio.gather(*appends)


async def consume(river: River, count: int) -> float:
    """Seconds until everything is consumed."""
    consumer, stop = river.make_consumer(), asyncio.Event()
    landed = 0

    def count_landed(_sites: object, _received: int) -> None:
        nonlocal landed
        landed = sum(consumer.consumed.values())
        if landed * LINES_A_BLOCK >= count:
            stop.set()

    consumer.listen(count_landed)
    begun = time.perf_counter()
    await consumer.run(stop)
    return time.perf_counter() - begun


async def insert_raw(warehouse: Warehouse, lines: list[bytes], folder: Path) -> float:
    """Seconds that the engine takes for the same lines as JSONEachRow, in as many inserts, without enrichment."""
    columns = ", ".join(f"{field.name} {KINDS[field.kind]}" for field in LINE_FIELDS)
    await warehouse.command(TABLE.format(columns))
    begun = time.perf_counter()
    for start in range(0, len(lines), 50_000):
        file = folder / "raw.json"
        file.write_bytes(b"".join(lines[start : start + 50_000]))
        await warehouse.command(f"INSERT INTO raw FROM INFILE '{file}' FORMAT JSONEachRow")
    return time.perf_counter() - begun


async def run(events: int) -> dict[str, float]:
    """Fill, consume, insert raw, count."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        control = open_control(f"sqlite:///{folder}/control.db")
        await migrate_control(control)
        await make_sites(control, range(1, SITES + 1))
        warehouse = Warehouse(f"chdb:///{folder}/warehouse")
        await migrate(warehouse)
        log = await open_sqlite_log(folder / "log.db", PARTITIONS, Keeping(), lambda: NOW)
        number = await number_of_log(control, log.identity, lambda: NOW)
        river = River(log, control, warehouse, folder, number, make_enricher())
        lines = list(make_lines(events))
        await fill(log, lines[:WARMING])  # what is loaded once is not what is measured
        await consume(river, WARMING)
        await fill(log, lines[WARMING:])
        cpu = [time.process_time()]
        seconds = await consume(river, events)
        cpu.append(time.process_time())
        raw = await insert_raw(warehouse, lines, folder)
        cpu.append(time.process_time())
        (row,) = await river.rows("SELECT count() AS rows, uniqExact(event_id) AS ids FROM events")
        await log.close()
        await warehouse.close()
        await control.dispose()
    if row != {"rows": events, "ids": events}:
        message = f"{events} events went in, {row} came out"
        raise SystemExit(message)
    return {
        "events": events,
        "events_a_second": round((events - WARMING) / seconds),
        "raw_lines_a_second": round(events / raw),
        "ratio": round((events - WARMING) / seconds / (events / raw), 2),
        "cpu_microseconds_an_event": round((cpu[1] - cpu[0]) / (events - WARMING) * 1e6, 2),
        "cpu_microseconds_a_raw_line": round((cpu[2] - cpu[1]) / events * 1e6, 2),
    }


def main() -> None:
    """Print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000)
    print(json.dumps(asyncio.run(run(parser.parse_args().events))), file=sys.stdout)


if __name__ == "__main__":
    main()
