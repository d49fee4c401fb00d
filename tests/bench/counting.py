"""Every bench ends by counting: what was sent, what is there."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from tests.product import Product

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
