"""From what was sent to what is stored: who, when, where from; and which records are a resend of another."""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from tests.model.facts import ADDRESSES, AGENT_OF, DATACENTERS, WAY_OF, Way
from tests.model.ledger import Outcome
from tests.model.local import local_day
from tests.model.records import Event

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable

    from tests.model.ledger import Fate
    from tests.model.records import Arrival, Scalar, Sent


def to_stored(arrivals: Iterable[Arrival]) -> tuple[list[Event], list[Outcome]]:
    """What is stored of accepted records, and what the ledger says of each: a resend counts once.

    The strategies resend only in ways that API.md promises to count once: so an event id of a site that was there
    before is a duplicate.
    """
    seen: set[tuple[int, str]] = set()
    events = []
    outcomes = []
    for arrival in sorted(arrivals, key=lambda one: one.place):
        sent = arrival.sent
        again = (sent.site.id, sent.event_id) in seen
        if sent.event_id:
            seen.add((sent.site.id, sent.event_id))
        event = to_event(arrival)
        if not again:
            events.append(event)
        fate: Fate = "duplicate" if again else "bots" if event.bot else "stored"
        outcomes.append(Outcome(sent.site.id, arrival.received, fate))
    return events, outcomes


def to_event(arrival: Arrival) -> Event:
    """One accepted record with all that enrichment must add."""
    sent = arrival.sent
    way = way_of(sent)
    return Event(
        site=sent.site.id,
        visitor=visitor_of(sent),
        day=local_day(sent.ts, sent.site.timezone),
        ts=sent.ts,
        place=arrival.place,
        name=sent.name,
        interactive=sent.interactive,
        bot=is_bot(sent),
        engaged_ms=sent.engaged_ms,
        scroll_depth=sent.scroll_depth,
        dimensions=_dimensions(sent, way),
        props={key: to_text(value) for key, value in sent.props},
    )


def visitor_of(sent: Sent) -> Hashable:
    """Identified: site and user_id, over all days. Else a visitor of a local day: site, day, address and agent."""
    if sent.user_id:
        return (sent.site.id, sent.user_id)
    day = local_day(sent.ts, sent.site.timezone)
    return (sent.site.id, day, client_of(sent.address), sent.user_agent)


def client_of(address: str) -> str:
    """An IPv6 client is its /64; an IPv4 one its address."""
    parsed = ip_address(address)
    if isinstance(parsed, IPv6Address):
        return parsed.exploded[:19]
    return str(parsed)


def is_bot(sent: Sent) -> bool:
    """A crawler's user agent, a data centre's address, a spammer's referrer.

    Decision: METRICS.md does not say where the reasons end; a record that names its user_id comes from a server that
    knows its visitor, so its address is nothing against it.
    """
    machine = sent.address in DATACENTERS and not sent.user_id
    return AGENT_OF[sent.user_agent].bot or machine or way_of(sent).bot


def way_of(sent: Sent) -> Way:
    """The referrer and query of a record in the table; a referrer from the site itself is none."""
    query = urlsplit(sent.url).query
    referrer = "" if sent.referrer and hostname_of(sent.referrer) == hostname_of(sent.url) else sent.referrer
    return WAY_OF[referrer, f"?{query}" if query else ""]


def hostname_of(url: str) -> str:
    """In lower case without `www.` and port."""
    return (urlsplit(url).hostname or "").lower().removeprefix("www.")


def pathname_of(url: str) -> str:
    """As it was sent: nothing decoded, case and trailing slash kept; query and fragment dropped; empty is `/`."""
    rest = url.split("://", 1)[1].split("#", 1)[0].split("?", 1)[0]
    return "/" + rest.split("/", 1)[1] if "/" in rest else "/"


def to_text(value: Scalar) -> str:
    """A property's value as text, as JSON writes it."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value)


def _of_itself(sent: Sent) -> str:
    """The site's own pages are no source, but the referrer is what it is."""
    return hostname_of(sent.referrer) + pathname_of(sent.referrer) if sent.referrer else ""


def _dimensions(sent: Sent, way: Way) -> dict[str, str]:
    agent = AGENT_OF[sent.user_agent]
    place = ADDRESSES[sent.address]
    return {
        "hostname": hostname_of(sent.url),
        "pathname": pathname_of(sent.url),
        "referrer": way.referrer_dimension or _of_itself(sent),
        "referrer_source": way.referrer_source,
        "channel": way.channel,
        "utm_source": way.utm_source,
        "utm_medium": way.utm_medium,
        "utm_campaign": way.utm_campaign,
        "country": place.country,
        "region": place.region,
        "city": place.city,
        "device_type": agent.device_type,
        "browser": agent.browser,
        "os": agent.os,
        "language": sent.language,
    }
