"""Pure: what becomes of the records of a request. Nothing here knows HTTP, a clock, a socket or a database."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple
from zlib import crc32

import orjson

from ingest.address import parse_address
from ingest.decode import Unreadable
from ingest.fields import INGEST_FIELDS, PUBLIC_FIELDS, read_instant, read_ip, read_revenue, read_url, to_host
from ingest.refused import Reason, RefusedError
from schemas.event import ENGAGEMENT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ingest.address import Client
    from ingest.sites import ProjectKey, Site
    from schemas.event import SiteId

OLDEST = 48 * 3600 * 1000  # milliseconds before receipt
NEWEST = 3600 * 1000  # milliseconds after receipt


class Sender(NamedTuple):
    """What is true of all records of a request.

    `received` is in epoch milliseconds, `site_key` what the header said (or empty), `user_agent` valid Unicode, `key`
    the project key of scope `ingest` that came with it.
    """

    received: int
    client: Client
    user_agent: str
    site_key: str
    key: ProjectKey | None


class Line(NamedTuple):
    """An accepted event: `visitor` is a number by which all events of one visitor go into one log partition.

    `data` ends with a newline.
    """

    site_id: SiteId
    visitor: int
    data: bytes


class Refusal(NamedTuple):
    """A refused record: its place in the request from 0, why, and its site where that is known."""

    place: int
    reason: Reason
    site_id: SiteId | None


class Admission(NamedTuple):
    """What became of every record, in order."""

    lines: list[Line]
    refusals: list[Refusal]


def admit(records: Sequence[object], sender: Sender, sites: Mapping[str, Site]) -> Admission:
    """Sort records into lines and refusals; every record is in exactly one of them."""
    lines: list[Line] = []
    refusals: list[Refusal] = []
    for place, record in enumerate(records):
        key = to_site_key(record, sender.site_key)
        site = sites.get(key)
        try:
            if not isinstance(record, dict):
                raise RefusedError(record.reason if isinstance(record, Unreadable) else Reason.MALFORMED)  # noqa: TRY301
            if site is None:
                raise RefusedError(Reason.UNKNOWN_SITE if key else Reason.NO_SITE_KEY)  # noqa: TRY301
            lines.append(to_line(record, sender, site))
        except RefusedError as refused:
            refusals.append(Refusal(place, refused.reason, None if site is None else site.id))
    return Admission(lines, refusals)


def to_site_key(record: object, site_key: str) -> str:
    """Give the record's own site key, else that of the header; one that is no text is nobody's."""
    if isinstance(record, dict):
        own = record.get("site_key")
        return (own if isinstance(own, str) else repr(own)) if own else site_key
    return (record.site_key or site_key) if isinstance(record, Unreadable) else site_key


def to_line(event: Mapping[str, object], sender: Sender, site: Site) -> Line:
    """Check an event of `site` and write its line; raise RefusedError."""
    if sender.key is not None and not sender.key.opens(site):
        raise RefusedError(Reason.FOREIGN_SITE)
    if not site.is_active:
        raise RefusedError(Reason.PAUSED)
    url = read_url(event.get("url"))
    client = sender.client
    line: dict[str, str | int | bool] = {"site_id": site.id, "url": url, "user_agent": sender.user_agent}
    fields = INGEST_FIELDS if sender.key else PUBLIC_FIELDS
    for name, value in event.items():
        read = fields.get(name)
        if read is not None and value is not None and (kept := read(value)) is not None:
            line[name] = kept
    if sender.key and (ip := event.get("ip")) is not None:
        client = read_ip(ip)
    if (revenue := event.get("revenue")) is not None:
        line["revenue_amount"], line["revenue_currency"] = read_revenue(revenue)
    if line.get("name") != ENGAGEMENT:
        line.pop("engaged_ms", None)
        line.pop("scroll_depth", None)
    refuse_by_site(url, client, site)
    line["ts"] = to_event_time(event, sender)
    line["received"] = sender.received
    line["address"] = client.address
    if sender.key:
        line["ingest"] = True
    if site.timezone != "UTC":
        line["site_timezone"] = site.timezone
    visitor = line.get("user_id") or f"{client.group} {line['user_agent']}"
    return Line(site.id, crc32(f"{site.id} {visitor}".encode()), orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))


def refuse_by_site(url: str, client: Client, site: Site) -> None:
    """Hold an event against the site's allowed hostnames and excluded addresses; raise RefusedError."""
    if site.hostnames is not None and not site.hostnames.allow(to_host(url) or ""):
        raise RefusedError(Reason.HOSTNAME)
    if site.excluded:
        address = parse_address(client.address)
        if address is not None and any(address in network for network in site.excluded):
            raise RefusedError(Reason.EXCLUDED_ADDRESS)


def to_event_time(event: Mapping[str, object], sender: Sender) -> int:
    """Give the event's time in epoch milliseconds; raise RefusedError.

    With `timestamp` and `sent_at` it is received - (sent_at - timestamp), whatever the sender's clock says; with
    `timestamp` alone that; with none the time of receipt.
    """
    timestamp, sent_at = event.get("timestamp"), event.get("sent_at")
    if timestamp is None:
        return sender.received
    ts = read_instant(timestamp)
    if sent_at is not None:
        ts = read_instant(sender.received - (read_instant(sent_at) - ts))
    if sender.key is None:
        if ts < sender.received - OLDEST:
            raise RefusedError(Reason.TOO_OLD)
        if ts > sender.received + NEWEST:
            raise RefusedError(Reason.IN_FUTURE)
    return ts
