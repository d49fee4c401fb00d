"""Pure: what becomes of the records of a request. Nothing here knows HTTP, a clock, a socket or a database."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeAlias
from zlib import crc32

import orjson

from ingest.address import parse_address
from ingest.decode import Unreadable
from ingest.fields import PUBLIC_FIELDS, read_instant, read_ip, read_revenue, read_url, read_user_agent, to_host
from ingest.refused import Reason, RefusedError
from schemas.event import ENGAGEMENT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ingest.address import Client
    from ingest.fields import Value
    from ingest.sites import ProjectKey, Site
    from schemas.event import SiteId

OLDEST = 48 * 3600 * 1000  # milliseconds before receipt
NEWEST = 3600 * 1000  # milliseconds after receipt
DEFAULT_TIMEZONE = "UTC"


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


# Whose an accepted event is: the site, and a number by which all events of one visitor go into one log partition.
Owner: TypeAlias = "tuple[SiteId, int]"


class Refusal(NamedTuple):
    """A refused record: its place in the request from 0, why, and its site where that is known."""

    place: int
    reason: Reason
    site_id: SiteId | None


class Admission(NamedTuple):
    """What became of every record: `accepted` lines, each ending with a newline, and refusals; both in order."""

    accepted: int
    lines: Mapping[Owner, Sequence[bytes]]
    refusals: Sequence[Refusal]


class Stamp(NamedTuple):
    """What all lines of one sender for one site have in common.

    `reason` refuses them all; `visitor` is that of events which name no visitor of their own.
    """

    site: Site
    line: dict[str, Value]
    visitor: int
    reason: Reason | None


def admit(records: Sequence[object], sender: Sender, sites: Mapping[str, Site]) -> Admission:
    """Sort records into lines and refusals; every record is in exactly one of them."""
    lines: dict[Owner, list[bytes]] = {}
    refusals: list[Refusal] = []
    stamps: dict[str, Stamp | None] = {}
    for place, record in enumerate(records):
        key = to_site_key(record, sender.site_key)
        if key not in stamps:
            site = sites.get(key)
            stamps[key] = None if site is None else to_stamp(sender, site)
        stamp = stamps[key]
        try:
            if not isinstance(record, dict):
                raise RefusedError(record.reason if isinstance(record, Unreadable) else Reason.MALFORMED)  # noqa: TRY301
            if stamp is None:
                raise RefusedError(Reason.UNKNOWN_SITE if key else Reason.NO_SITE_KEY)  # noqa: TRY301
            owner, line = to_line(record, sender, stamp)
            if owner in lines:
                lines[owner].append(line)
            else:
                lines[owner] = [line]
        except RefusedError as refused:
            refusals.append(Refusal(place, refused.reason, None if stamp is None else stamp.site.id))
    return Admission(len(records) - len(refusals), lines, refusals)


def to_site_key(record: object, site_key: str) -> str:
    """Give the record's own site key, else that of the header; one that is no text is nobody's."""
    if isinstance(record, dict):
        own = record.get("site_key")
        return (own if isinstance(own, str) else repr(own)) if own else site_key
    return (record.site_key or site_key) if isinstance(record, Unreadable) else site_key


def to_stamp(sender: Sender, site: Site) -> Stamp:
    """Give what the lines of this sender for this site begin with."""
    line: dict[str, Value] = {"site_id": site.id, "received": sender.received, "ts": sender.received}
    line["address"] = sender.client.address
    line["user_agent"] = sender.user_agent
    if sender.key is not None:
        line["ingest"] = True
    if site.timezone != DEFAULT_TIMEZONE:
        line["site_timezone"] = site.timezone
    reason = None
    if sender.key is not None and not sender.key.opens(site):
        reason = Reason.FOREIGN_SITE
    elif not site.is_active:
        reason = Reason.PAUSED
    elif is_excluded(sender.client, site):
        reason = Reason.EXCLUDED_ADDRESS
    return Stamp(site, line, to_visitor(site, sender.client, sender.user_agent), reason)


def to_visitor(site: Site, client: Client, user_agent: str) -> int:
    """Give the number of an anonymous visitor; an identified one has `crc32` of site and user_id."""
    return crc32(f"{site.id} {client.group} {user_agent}".encode())


def to_line(event: Mapping[str, object], sender: Sender, stamp: Stamp) -> tuple[Owner, bytes]:
    """Check an event and write its line; raise RefusedError."""
    site, common, visitor, reason = stamp
    line = common.copy()
    if sender.key is not None:
        visitor, reason = add_client(line, event, sender, stamp)
    if reason is not None:
        raise RefusedError(reason)
    line["url"] = url = read_url(event.get("url"))
    for name, value in event.items():
        read = PUBLIC_FIELDS.get(name)
        if read is not None and value is not None and (kept := read(value)) is not None:
            line[name] = kept
    if (revenue := event.get("revenue")) is not None:
        line["revenue_amount"], line["revenue_currency"] = read_revenue(revenue)
    if line.get("name") != ENGAGEMENT:
        line.pop("engaged_ms", None)
        line.pop("scroll_depth", None)
    if site.hostnames is not None and not site.hostnames.allow(to_host(url) or ""):
        raise RefusedError(Reason.HOSTNAME)
    if event.get("timestamp") is not None:
        line["ts"] = to_event_time(event, sender)
    if (user_id := line.get("user_id")) is not None:
        visitor = crc32(f"{site.id} {user_id}".encode())
    return (site.id, visitor), orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE)


def add_client(
    line: dict[str, Value], event: Mapping[str, object], sender: Sender, stamp: Stamp
) -> tuple[int, Reason | None]:
    """Put in who a server says the client is; give the visitor's number, and the reason that now refuses it, if any."""
    ip, agent = event.get("ip"), event.get("user_agent")
    client = sender.client if ip is None else read_ip(ip)
    user_agent = sender.user_agent if agent is None else read_user_agent(agent)
    line["address"] = client.address
    line["user_agent"] = user_agent
    reason = stamp.reason
    if reason in (None, Reason.EXCLUDED_ADDRESS):
        reason = Reason.EXCLUDED_ADDRESS if is_excluded(client, stamp.site) else None
    return to_visitor(stamp.site, client, user_agent), reason


def is_excluded(client: Client, site: Site) -> bool:
    """Whether the site does not want this client."""
    if not site.excluded:
        return False
    address = parse_address(client.address)
    return address is not None and any(address in network for network in site.excluded)


def to_event_time(event: Mapping[str, object], sender: Sender) -> int:
    """Give the time of an event that has a `timestamp`, in epoch milliseconds; raise RefusedError.

    With `timestamp` and `sent_at` it is received - (sent_at - timestamp), whatever the sender's clock says; with
    `timestamp` alone that. An event with none is placed at its receipt.
    """
    ts, sent_at = read_instant(event.get("timestamp")), event.get("sent_at")
    if sent_at is not None:
        ts = read_instant(sender.received - (read_instant(sent_at) - ts))
    if sender.key is None:
        if ts < sender.received - OLDEST:
            raise RefusedError(Reason.TOO_OLD)
        if ts > sender.received + NEWEST:
            raise RefusedError(Reason.IN_FUTURE)
    return ts
