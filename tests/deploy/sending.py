"""Events for a running product, and what its ledger says of them."""

from __future__ import annotations

import json
import time
import urllib.request
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.product import Product

SECONDS = 120.0
PERSON = {"ip": "192.0.2.1", "user_agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"}
OUTCOMES = ("stored", "in_flight", "erased")


def send(product: Product, key: str, *events: dict[str, object]) -> None:
    """Send them with an ingest key, as of a person; every one must be accepted."""
    body = json.dumps([PERSON | event for event in events]).encode()
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    request = urllib.request.Request(product.base + "/v1/events", body, headers)  # noqa: S310 - loopback
    with urllib.request.urlopen(request, timeout=SECONDS) as response:  # noqa: S310 - loopback
        assert json.loads(response.read())["accepted"] == len(events)


def add_up(product: Product) -> dict[str, int]:
    """What the ledger says of all sites that are not deleted; it must close."""
    ledger = product.run_json("ledger")
    assert ledger["closed"] is True
    rows = cast("list[dict[str, int]]", ledger["ledger"])
    return {name: sum(row[name] for row in rows) for name in OUTCOMES}


def wait_for(condition: Callable[[], bool]) -> None:
    """Return when it holds; fail when it does not in time."""
    end = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)
