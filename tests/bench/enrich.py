"""Measures enrichment: events a second, by step, over made-up but realistic batches.

`python -m tests.bench.enrich [batches]`. Three events a visitor, half of a batch's visitors known from the batch
before; pages and user agents as uneven as real ones; every event id, a twentieth of the URLs and a thirtieth of the
referrers new.
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
import uuid
from ipaddress import IPv4Address, IPv6Address
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import numpy as np
import orjson
import pyarrow as pa
from prometheus_client import CollectorRegistry

from ingest.enrich.geo import open_geo
from ingest.enrich.pipeline import STEPS, Enricher, EnrichMetrics, Facts, SiteFacts, local_days, read_lines
from tests.ingest.enrich.make import write_mmdb

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ingest.enrich.geo import Geo

EVENTS = 50_000
VISITORS = 15_000
START = 1_780_000_000_000
SYSTEMS = (
    "Windows NT 10.0; Win64; x64",
    "Macintosh; Intel Mac OS X 10_15_7",
    "X11; Linux x86_64",
    "Linux; Android {}; K",
    "Linux; Android {}; SM-S91{}B",
)
CHROME = "Mozilla/5.0 ({}) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{}.0.{}.{} {}Safari/537.36"
IPHONE = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 1{}_{} like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
    "Version/1{}.{} Mobile/15E148 Safari/604.1"
)
REFERRERS = ("", "", "", "https://www.google.com/", "https://www.google.de/", "https://t.co/", "https://chatgpt.com/")


def make_agents(dice: random.Random, count: int) -> list[str]:
    agents = []
    for _ in range(count):
        a, b = dice.randrange(10), dice.randrange(10)
        system = dice.choice(SYSTEMS).format(10 + a % 5, b)
        chrome = CHROME.format(system, 120 + a, b, dice.randrange(150), "Mobile " if "Android" in system else "")
        agents.append(IPHONE.format(5 + a % 4, b, 5 + a % 4, b) if dice.random() < 0.3 else chrome)
    return agents


def make_visitor(dice: random.Random, agents: list[str]) -> dict[str, object]:
    six = dice.random() < 0.3
    bits = 0x2001 << 112 | dice.getrandbits(109) if six else dice.getrandbits(32)
    return {
        "address": str(IPv6Address(bits) if six else IPv4Address(bits)),
        "user_agent": agents[min(int(dice.expovariate(1 / 60)), len(agents) - 1)],
        "language": dice.choice(("en-US", "en-US", "en-GB", "de", "de-DE", "fr-FR", "ja", "pt-BR")),
        "timezone": dice.choice(("Europe/Berlin", "America/New_York", "Asia/Tokyo", "UTC")),
        "screen_width": dice.choice((390, 393, 412, 768, 1280, 1440, 1920, 2560)),
        "site_id": 1 + min(int(dice.expovariate(1)), 9),
    }


def make_lines(dice: random.Random, visitors: list[dict[str, object]]) -> Iterator[bytes]:
    for place in range(EVENTS):
        chance = dice.random()
        page = min(int(dice.expovariate(1 / 150)), 3000)
        query = f"?utm_source=newsletter&utm_medium=email&utm_campaign=week{page % 9}" if chance < 0.1 else ""
        query = f"?fbclid=IwAR{dice.getrandbits(120):x}" if chance > 0.95 else query
        found = dice.choice(REFERRERS) or f"https://example.com/page/{page // 2}"
        line = dice.choice(visitors) | {
            "event_id": str(uuid.UUID(int=dice.getrandbits(128), version=4)),
            "url": f"https://example.com/articles/{page}/what-happens-when{query}",
            "referrer": f"https://blog.example.net/post/{dice.getrandbits(40)}" if chance < 0.03 else found,
            "title": f"What happens when {page} columns meet a row",
            "ts": START + place * 20,
            "received": START + place * 20 + 40,
            "site_timezone": "Europe/Berlin",
        }
        if chance < 0.1:
            line |= {"name": "signup", "props": f'{{"plan":"{page % 5}","trial":true,"seats":{page % 40}}}'}
        yield orjson.dumps(line)


def make_batch(dice: random.Random, visitors: list[dict[str, object]]) -> bytes:
    return b"\n".join(make_lines(dice, visitors))


def to_table(body: bytes) -> pa.Table:
    lines = read_lines(body)
    for name in ("_log", "_partition", "_offset"):
        lines = lines.append_column(name, pa.array(np.zeros(lines.num_rows, np.int64)))
    return lines.append_column("_place", pa.array(np.arange(lines.num_rows)))


def main(batches: int) -> None:
    dice = random.Random(1)  # noqa: S311 (not a secret)
    agents = make_agents(dice, 800)
    visitors = [make_visitor(dice, agents) for _ in range(VISITORS)]
    sites = {site: SiteFacts("example.com", bytes(32)) for site in range(1, 11)}
    registry = CollectorRegistry()
    geo = make_geo()
    begun = time.thread_time()
    enricher = Enricher(EnrichMetrics(registry))
    tell(f"lists loaded in {time.thread_time() - begun:.2f} s; {EVENTS} events a batch, CPU time:")
    speeds = []
    steps: list[dict[str, float]] = [read_steps(registry)]
    for number in range(batches + 1):
        visitors = visitors[VISITORS // 2 :] + [make_visitor(dice, agents) for _ in range(VISITORS // 2)]
        body = make_batch(dice, visitors)
        begun = time.thread_time()
        lines = to_table(body)
        read = time.thread_time()
        enricher.enrich(lines, Facts(sites, {day: bytes(16) for day in local_days(lines)}, geo))
        done = time.thread_time()
        speeds.append((EVENTS / (read - begun), EVENTS / (done - read)))
        steps.append(read_steps(registry))
        tell(f"batch {number}: read {speeds[-1][0]:9,.0f} events/s, enrich {speeds[-1][1]:9,.0f} events/s")
    read_speed, enrich_speed = (median(speed) for speed in zip(*speeds[1:], strict=True))
    tell(f"median without the first: read {read_speed:9,.0f} events/s, enrich {enrich_speed:9,.0f} events/s; by step:")
    for step in steps[0]:
        cost = median(after[step] - before[step] for before, after in pairwise(steps[1:]))
        tell(f"  {step:14} {cost / EVENTS * 1e9:6.0f} ns an event")


def tell(text: str) -> None:
    print(text)


def read_steps(registry: CollectorRegistry) -> dict[str, float]:
    name = "pulse_enrich_step_seconds_total"
    return {step.__name__: registry.get_sample_value(name, {"step": step.__name__}) or 0.0 for step in STEPS}


def make_geo() -> Geo | None:
    places = {f"{n}.{m}.0.0/16": make_place(n) for n in range(1, 224) for m in range(256)}
    with tempfile.TemporaryDirectory() as folder:
        return open_geo(write_mmdb(Path(folder) / "places.mmdb", places))


def make_place(number: int) -> dict[str, object]:
    return {"country_code": "DE", "state1": f"Region {number % 40}", "city": f"City {number}"}


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 6)
