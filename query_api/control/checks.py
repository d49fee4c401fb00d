"""Pure checks of what people type for a site: each gives the stored form or raises ValueError with what to do."""

from __future__ import annotations

import difflib
import re
from ipaddress import ip_address, ip_network

import idna

from schemas.zones import zone_names

LONGEST_DOMAIN = 253
LONGEST_NAME = 200
PORT = re.compile(r":\d+$")


def to_domain(text: str) -> str:
    """Lower case, without `www.`, international names as `xn--…`; an address of a machine passes as it is."""
    domain = text.strip().lower().rstrip(".").removeprefix("www.")
    if "://" in domain or "/" in domain or "?" in domain or "@" in domain:
        bare = domain.split("://")[-1].split("/")[0]
        message = f"domain {text!r}: write the host alone, without https:// and path, for example {bare!r}"
        raise ValueError(message)
    if _is_address(domain):
        return domain
    if PORT.search(domain):
        message = f"domain {text!r}: leave the port out, for example {PORT.sub('', domain)!r}"
        raise ValueError(message)
    try:
        ascii_domain = idna.encode(domain, uts46=True).decode()
    except idna.IDNAError as error:
        message = f"domain {text!r} is not a host name ({error}): write it like 'example.com'"
        raise ValueError(message) from error
    return ascii_domain


def to_hostname_rule(text: str) -> str:
    """A host name, or `*.` and a host name for everything below it."""
    rule = text.strip()
    if rule.startswith("*."):
        return "*." + to_domain(rule.removeprefix("*."))
    return to_domain(rule)


def to_network(text: str) -> str:
    """An address or a network in canonical text; bits beyond the mask are cleared."""
    try:
        network = ip_network(text.strip(), strict=False)
    except ValueError as error:
        message = f"address {text!r}: write an address or a network, for example 203.0.113.7 or 2001:db8::/32"
        raise ValueError(message) from error
    return str(network.network_address) if network.num_addresses == 1 else str(network)


def to_timezone(text: str) -> str:
    """The name of an IANA zone."""
    zones = zone_names()
    if text in zones:
        return text
    folded = {zone.casefold(): zone for zone in zones}
    near = difflib.get_close_matches(text.strip().casefold(), folded, n=1)
    advice = f"did you mean {folded[near[0]]!r}?" if near else "write an IANA name, for example 'Europe/Berlin'"
    message = f"timezone {text!r} is not known: {advice}"
    raise ValueError(message)


def to_name(text: str) -> str:
    """Something to show, not empty, on one line."""
    name = " ".join(text.split())
    if not name or len(name) > LONGEST_NAME or not name.isprintable():
        message = f"name: write 1 to {LONGEST_NAME} printable characters"
        raise ValueError(message)
    return name


def to_retention(months: int | None) -> int | None:
    """Whole months to keep; None is for ever."""
    if months is not None and not 1 <= months <= 1200:  # noqa: PLR2004 (a century)
        message = f"retention of {months} months: write 1 to 1200, or nothing to keep for ever"
        raise ValueError(message)
    return months


def _is_address(text: str) -> bool:
    try:
        ip_address(text.strip("[]"))
    except ValueError:
        return False
    return True
