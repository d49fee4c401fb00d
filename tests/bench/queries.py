"""The seven ranged endpoints over a month of one site, from raw events: `answer()` with its queries, no cache.

The month is made here: `--events` page views, of which 0.3 begin a session of 0.25 visitors, a thousand pages, sixty
sources, three hundred regions, in the order of time and in forty inserts. `--engagement` adds a record a view.
Each endpoint runs `--rounds` times; printed are median, p95 and processor time, and at the end the memory.
Before that, what stats says is held against a plain window function over the same rows.
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import shutil
import statistics
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa

from query_api.families import REPORTS
from query_api.params import parse_question
from query_api.question import Access, SiteView
from query_api.reports import answer
from schemas.event import SiteId
from schemas.warehouse.client import Limits, Warehouse
from schemas.warehouse.migrate import migrate

START = datetime(2026, 10, 1, tzinfo=UTC)
DAY = 86_400_000
DAYS, PAGES, PARTS = 30, 1000, 40
RANGED = ("stats", "pages", "referrers", "timeseries", "events", "geo", "devices")
ACCESS = Access((SiteView(SiteId(1), "example.org", "UTC"),))
LIMITS = Limits(memory=1024**3)
CHECK = """
SELECT countIf(breaks) AS sessions, uniqExact(visitor_id) AS visitors, countIf(name = 'pageview') AS pageviews FROM
(
    SELECT visitor_id, name, ts > lagInFrame(ts, 1, toDateTime64(0, 3, 'UTC')) OVER day + INTERVAL 30 MINUTE AS breaks
    FROM events
    WINDOW day AS (PARTITION BY site_id, local_date, visitor_id ORDER BY ts ROWS BETWEEN 1 PRECEDING AND CURRENT ROW)
)
"""


@dataclass(frozen=True, slots=True)
class Visits:
    """For each event the number of its session and of its visitor, its time, and whether it begins the session."""

    session: np.ndarray
    visitor: np.ndarray
    ts: np.ndarray


def zipf(random: np.random.Generator, choices: int, size: int) -> np.ndarray:
    """Numbers of choices, the first by far the most frequent."""
    weights = 1 / np.arange(1, choices + 1)
    return random.choice(choices, size, p=weights / weights.sum())


def make_visits(random: np.random.Generator, events: int) -> Visits:
    """Sessions of 3.3 views on average with gaps of seconds to minutes, each within its day."""
    sessions, visitors = int(events * 0.3), int(events * 0.25)
    sizes = random.geometric(sessions / events, sessions)
    visitor = np.concatenate([np.arange(visitors), random.integers(0, visitors, sessions - visitors)])
    day = int(START.timestamp() * 1000) + random.integers(0, DAYS, visitors)[visitor] * DAY
    session = np.repeat(np.arange(sessions), sizes)
    gaps = random.integers(2_000, 400_000, len(session))
    first = np.cumsum(sizes) - sizes
    gaps[first] = 0
    passed = np.cumsum(gaps)
    within = random.integers(0, 80_000_000, sessions)[session] + passed - passed[first][session]
    return Visits(session, visitor[session], day[session] + np.minimum(within, DAY - 1))


def make_table(events: int) -> pa.Table:
    """Page views in the order of time."""
    random = np.random.default_rng(1)
    visits = make_visits(random, events)
    order = np.argsort(visits.ts, kind="stable")
    session, visitor, ts = visits.session[order], visits.visitor[order], visits.ts[order]
    count, visitors, sessions = len(ts), int(visitor.max()) + 1, int(session.max()) + 1
    ids = random.integers(1, 1 << 63, visitors, dtype=np.uint64)
    place = zipf(random, 300, visitors)[visitor]

    def words(numbers: np.ndarray, text: str) -> pa.Array:
        names = pa.array([text.format(number) for number in range(int(numbers.max()) + 1)])
        return pa.DictionaryArray.from_arrays(pa.array(numbers, pa.int32()), names)

    source = zipf(random, 60, sessions)[session]
    return pa.table(
        {
            "site_id": np.ones(count, np.uint32),
            "local_date": pa.array((ts // DAY).astype(np.int32), pa.date32()),
            "visitor_id": ids[visitor],
            "ts": pa.array(ts, pa.timestamp("ms", "UTC")),
            "received": pa.array(ts, pa.timestamp("ms", "UTC")),
            "_log": np.ones(count, np.uint16),
            "_offset": (np.arange(count) // 900).astype(np.uint64),
            "_place": (np.arange(count) % 900).astype(np.uint32),
            "name": words(np.zeros(count, np.int32), "pageview"),
            "interactive": np.ones(count, bool),
            "pathname": words(zipf(random, PAGES, count), "/blog/post-number-{}").cast(pa.string()),
            "referrer_source": words(source, "site{}.example"),
            "country": words(place % 60, "C{}"),
            "region": words(place, "Region {}"),
            "device_type": words(zipf(random, 3, visitors)[visitor], "device {}"),
            "browser": words(zipf(random, 8, visitors)[visitor], "Browser {}"),
            "os": words(zipf(random, 6, visitors)[visitor], "System {}"),
            "engaged_ms": np.zeros(count, np.uint32),
            "scroll_depth": np.full(count, -1, np.int16),
        }
    )


def add_engagement(views: pa.Table) -> pa.Table:
    """A record of ten seconds after each view, one place behind it."""
    later = pa.array(views["ts"].cast(pa.int64()).to_numpy() + 1500, pa.timestamp("ms", "UTC"))
    more = {
        "ts": later,
        "name": pa.array(["engagement"] * views.num_rows).dictionary_encode(),
        "engaged_ms": np.full(views.num_rows, 10_000, np.uint32),
        "scroll_depth": np.full(views.num_rows, 60, np.int16),
    }
    columns = {name: more.get(name, views[name]) for name in views.column_names}
    return pa.concat_tables([views, pa.table(columns)], promote_options="permissive")


async def fill(warehouse: Warehouse, table: pa.Table) -> None:
    """In forty inserts; merges run as they do in life."""
    await migrate(warehouse)
    step = -(-table.num_rows // PARTS)
    for start in range(0, table.num_rows, step):
        await warehouse.insert("events", table.slice(start, step))


async def ask(warehouse: Warehouse, report: str) -> dict[str, object]:
    """One question over the month, the first row of its answer."""
    query = [("start", "2026-10-01"), ("end", "2026-10-30")]
    question = parse_question(REPORTS[report], query, ACCESS, datetime.now(UTC))
    rows = (await answer(question, warehouse, datetime.now(UTC), LIMITS)).rows
    return dict(rows[0]) if rows else {}


async def check(warehouse: Warehouse) -> None:
    """Stats and a window function must agree; engagement only closes gaps, so sessions are then left out."""
    [expected] = (await warehouse.query(CHECK)).to_pylist()
    row = await ask(warehouse, "stats")
    names = ("visitors", "pageviews") if await has_engagement(warehouse) else tuple(expected)
    assert all(row[name] == expected[name] for name in names), (row, expected)


async def has_engagement(warehouse: Warehouse) -> bool:
    """Whether the month has any."""
    [row] = (await warehouse.query("SELECT countIf(name = 'engagement') AS n FROM events")).to_pylist()
    return bool(row["n"])


def read_cpu() -> float:
    """Seconds of processor time of this process."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


async def measure(warehouse: Warehouse, report: str, rounds: int) -> float:
    """Print one endpoint's figures and give its median in seconds."""
    await ask(warehouse, report)
    times, before = [], read_cpu()
    for _ in range(rounds):
        start = time.perf_counter()
        await ask(warehouse, report)
        times.append(time.perf_counter() - start)
    spent = (read_cpu() - before) / rounds
    median, high = statistics.median(times), sorted(times)[min(rounds - 1, int(rounds * 0.95))]
    print(f"{report:12} median {median * 1000:6.0f} ms   p95 {high * 1000:6.0f} ms   cpu {spent * 1000:6.0f} ms")
    return median


async def main(events: int, rounds: int, engagement: str) -> None:
    """Fill, check, measure."""
    folder = tempfile.mkdtemp(prefix="pulse-bench-")
    warehouse = Warehouse(f"chdb:///{folder}", size=1)
    try:
        views = make_table(events)
        await fill(warehouse, add_engagement(views) if engagement == "yes" else views)
        del views
        await check(warehouse)
        total = sum([await measure(warehouse, report, rounds) for report in RANGED])
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"{'all seven':12} median {total * 1000:6.0f} ms   highest memory {memory:.0f} MB, filling included")
    finally:
        await warehouse.close()
        shutil.rmtree(folder)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--engagement", choices=("no", "yes"), default="no")
    options = parser.parse_args()
    asyncio.run(main(options.events, options.rounds, options.engagement))
