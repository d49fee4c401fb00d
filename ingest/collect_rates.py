"""The two limits of collecting: events a second per site, records a second per client address."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from ingest.answers import TurnedAwayError
from ingest.rates import Rates

if TYPE_CHECKING:
    from ingest.admit import Admission, Sender
    from schemas.event import SiteId

CHEAP_BODY = 4096  # bytes that are decoded for nothing
PACKED_RECORDS = 4


class CollectRates:
    """Turns requests away; senders with an ingest key have no limit of their address."""

    def __init__(self, per_site: int, per_address: int) -> None:
        self._sites = Rates[int](per_site)
        self._addresses = Rates[str](per_address)
        self._has_site_limit = per_site > 0

    def take_work(self, group: str, body: int, encoding: str | None, now: int) -> int:
        """Take what decoding is worth, before it is done, or raise TurnedAwayError (429); give what was taken.

        A record for every 4 KiB, four for a packed body: so that bodies which turn out to be rubbish are limited too.
        """
        records = body // CHEAP_BODY + (PACKED_RECORDS if encoding else 0)
        if records:
            refuse_until(self._addresses.wait_for(group, records, now), "address")
        return records

    def take(self, sender: Sender, admission: Admission, taken: int) -> None:
        """Take what the request holds, beside what was `taken`, or raise TurnedAwayError (429)."""
        records = admission.accepted + len(admission.refusals) - taken
        if sender.key is None and records > 0:
            refuse_until(self._addresses.wait_for(sender.client.group, records, sender.received), "address")
        if self._has_site_limit:
            sites: Counter[SiteId] = Counter()
            for (site_id, _), lines in admission.lines.items():
                sites[site_id] += len(lines)
            for site_id, count in sites.items():
                refuse_until(self._sites.wait_for(site_id, count, sender.received), "site")


def refuse_until(wait: int, whose: str) -> None:
    """Raise TurnedAwayError (429) for a wait of more than 0 milliseconds."""
    if wait:
        raise TurnedAwayError(429, f"Too many events for this {whose}.", -(-wait // 1000))
