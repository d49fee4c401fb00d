"""Every bench ends by counting: what was sent, what is there."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, cast

from tests.product import Product

if TYPE_CHECKING:
    from collections.abc import Callable

RANGE = "start=2020-01-01&end=2030-01-01&include_bots=true"


def count_pageviews(product: Product, key: str, site: str = "") -> int:
    """Page views of all sites of the key's project (or of one), bots included."""
    wanted = f"&site={site}" if site else ""
    answer = product.get_json(f"/v1/stats?{RANGE}{wanted}", key)
    rows = cast("list[dict[str, int]]", answer["data"])
    return rows[0]["pageviews"]


def wait_until_counted(product: Product, key: str, expected: int, seconds: float = 120.0) -> int:
    """Wait until so many page views are counted, or time is up; give the number that is there."""
    end = time.monotonic() + seconds
    found = count_pageviews(product, key)
    while found < expected and time.monotonic() < end:
        time.sleep(0.2)
        found = count_pageviews(product, key)
    return found


def run_and_count(measure: Callable[[Product, str, str], int]) -> None:
    """Start a product without limits, measure, then count; SystemExit when not all that was sent is there.

    `measure` gets the product, a site key and a read key, and gives how many page views it sent.
    """
    settings = {"COLLECT_ADDRESS_LIMIT": "0", "PLAN": "enterprise", "TRUSTED_PROXIES": "127.0.0.1"}
    with tempfile.TemporaryDirectory() as name, Product(Path(name), settings) as product:
        site = product.run_json("site", "create", "--domain", "bench.example")
        key = str(product.run_json("key", "create", "--scope", "read")["key"])
        sent = measure(product, str(site["site_key"]), key)
        found = wait_until_counted(product, key, sent)
    print(f"sent {sent:,}, counted {found:,}")
    if found != sent:
        raise SystemExit("COUNTS DIFFER")
