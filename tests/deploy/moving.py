"""Events that keep coming while an installation is moved, and what a server says of them."""

from __future__ import annotations

import json
import threading
import time
import urllib.error
import urllib.request
import uuid
from typing import TYPE_CHECKING, Self, cast

from tests.deploy.sending import PERSON, SECONDS, send

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from tests.product import Product

PATIENCE = 240.0  # on a machine that does much else
LOOK_SECONDS = 0.7  # a key may ask a hundred times a minute
RANGE = "start=2026-01-01&end=2030-01-01&include_bots=true"
REPORTS = ("stats", "pages", "devices", "referrers")
Rows = list[dict[str, object]]


def wait_for(condition: Callable[[], bool], seconds: float = 0.05) -> None:
    """Return when it holds; fail when it never does."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end
        time.sleep(seconds)


class Traffic:
    """Sends single events, one after the other, until it is stopped; `acknowledged` are the ids that were taken."""

    def __init__(self, product: Product, key: str, site_key: str) -> None:
        self.base = product.base
        self.acknowledged: list[str] = []
        self.failed = 0
        self._key = key
        self._site_key = site_key
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._send, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Send no more; what was sent has been answered."""
        self._stop.set()
        self._thread.join()

    def wait_for_more(self, events: int) -> None:
        """Return when so many more were acknowledged."""
        wanted = len(self.acknowledged) + events
        wait_for(lambda: len(self.acknowledged) >= wanted)

    def _send(self) -> None:
        number = 0
        while not self._stop.wait(0.03):
            number += 1
            event_id = str(uuid.uuid4())
            event = make_event(self._site_key, f"/{number % 5}", ip=f"192.0.2.{number % 50}", event_id=event_id)
            try:
                post(self.base, self._key, event)
            except OSError:
                self.failed += 1
            else:
                self.acknowledged.append(event_id)


def make_event(site_key: str, path: str, **more: object) -> dict[str, object]:
    """A page view of a person."""
    return PERSON | {"site_key": site_key, "url": f"https://a.example{path}", "props": {"kind": "moved"}} | more


def post(base: str, key: str, event: dict[str, object]) -> None:
    """Send one event, which must be accepted; raise OSError."""
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    request = urllib.request.Request(base + "/v1/events", json.dumps([event]).encode(), headers)  # noqa: S310 - loopback
    with urllib.request.urlopen(request, timeout=SECONDS) as response:  # noqa: S310 - loopback
        if json.loads(response.read())["accepted"] != 1:
            raise OSError


def make_site(product: Product, domain: str) -> str:
    """Add a site and give its key."""
    return str(product.run_json("site", "create", "--domain", domain)["site_key"])


def make_key(product: Product, *scopes: str) -> str:
    """Add a key."""
    return str(product.run_json("key", "create", *(word for scope in scopes for word in ("--scope", scope)))["key"])


def send_old(product: Product, key: str, site_key: str, events: int) -> None:
    """Send events of several months."""
    for start in range(0, events, 500):
        made = [
            make_event(
                site_key,
                f"/page-{number % 17}",
                ip=f"192.0.2.{number % 200}",
                timestamp=f"2026-{9 + number % 2:02}-{1 + number % 27:02}T{number % 24:02}:00:00Z",
                event_id=str(uuid.uuid5(uuid.NAMESPACE_URL, str(number))),
            )
            for number in range(start, min(start + 500, events))
        ]
        send(product, key, *made)


def read_reports(product: Product, key: str, site: str) -> dict[str, Rows]:
    """What the reports say of a site, from its beginning."""
    return {
        report: cast("Rows", product.get_json(f"/v1/{report}?{RANGE}&site={site}", key)["data"]) for report in REPORTS
    }


def count_events(product: Product, key: str) -> int:
    """Stored events, once nothing is in flight; the ledger must close."""
    found: dict[str, int] = {}

    def is_drained() -> bool:
        found.update(add_up(product, key))
        return found["in_flight"] == 0

    wait_for(is_drained, LOOK_SECONDS)
    return found["stored"]


def add_up(product: Product, key: str) -> dict[str, int]:
    """The ledger of all hours."""
    answer = product.get_json(f"/v1/ledger?{RANGE.removesuffix('&include_bots=true')}", key)
    assert cast("dict[str, object]", answer["meta"])["closed"] is True
    rows = cast("list[dict[str, int]]", answer["data"])
    return {name: sum(row[name] for row in rows) for name in ("stored", "in_flight")}
