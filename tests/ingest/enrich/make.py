"""Makers of lines, facts and place databases."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import orjson
import pyarrow as pa
from mmdb_writer import MMDBWriter
from netaddr import IPSet  # type: ignore[import-untyped] # mmdb-writer's own, without stubs
from prometheus_client import CollectorRegistry

from ingest.enrich.pipeline import Enricher, EnrichMetrics, Facts, SiteFacts, local_days, read_lines

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from ingest.enrich.geo import Geo

NOON = 1_780_000_000_000  # 2026-05-28T20:26:40Z
SAFARI = (
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) "
    "Version/17.4 Safari/605.1.15"
)
Value: TypeAlias = "str | int | bool | None"


def make_line(**fields: Value) -> dict[str, Value]:
    """A page view of a person in Safari, changed by the fields."""
    return {
        "site_id": 1,
        "url": "https://example.com/",
        "ts": NOON,
        "received": NOON,
        "address": "192.0.2.1",
        "user_agent": SAFARI,
        **fields,
    }


def to_lines(*lines: Mapping[str, Value]) -> pa.Table:
    """Lines as the consumer hands them over, all of one block."""
    table = read_lines(b"\n".join(orjson.dumps(line) for line in lines))
    for name in ("_log", "_partition", "_offset"):
        table = table.append_column(name, pa.array(np.zeros(table.num_rows, np.int64)))
    return table.append_column("_place", pa.array(np.arange(table.num_rows)))


def make_facts(lines: pa.Table, geo: Geo | None = None) -> Facts:
    """Facts that suffice for the lines: every site is example.com, every salt follows from its date."""
    sites = {site: SiteFacts("example.com", b"key of site %d" % site) for site in lines["site_id"].to_pylist()}
    return Facts(sites, {day: str(day).encode() for day in local_days(lines)}, geo)


def make_enricher() -> Enricher:
    return Enricher(EnrichMetrics(CollectorRegistry()))


@cache
def share_enricher() -> Enricher:
    """One for all tests: loading takes a second, and what it remembers changes no row (a test says so)."""
    return make_enricher()


def write_mmdb(path: Path, places: Mapping[str, Mapping[str, object]], version: int = 4) -> Path:
    """Write a database of networks and their records."""
    writer = MMDBWriter(ip_version=version, ipv4_compatible=version == 6, database_type="test-City")
    for network, record in places.items():
        writer.insert_network(IPSet([network]), dict(record))
    writer.to_db_file(str(path))
    return path
