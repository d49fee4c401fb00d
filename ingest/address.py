"""Who sent a request: the client address out of the peer and `X-Forwarded-For`."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from socket import AF_INET, inet_ntop, inet_pton
from typing import TYPE_CHECKING, NamedTuple

import structlog

if TYPE_CHECKING:
    from collections.abc import Sequence

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

REMEMBERED = 16_384  # clients of the last seconds; about 6 MB when all differ
LONGEST_REMEMBERED = 200  # characters of a forwarded list; a longer one is worked out each time

log = structlog.get_logger()


class Client(NamedTuple):
    """`address` in canonical text (IPv4-mapped is IPv4), `group` what counts as one client: IPv6 by its /64."""

    address: str
    group: str


NOBODY = Client("", "")


def parse_address(text: str) -> Address | None:
    """Read an address with or without port, brackets or scope; None when it is none."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address


def read_client(text: str) -> Client | None:
    """The client of a text, None for none. Plain IPv4 goes past ipaddress, which takes six times as long."""
    try:
        address = inet_ntop(AF_INET, inet_pton(AF_INET, text))
    except (OSError, ValueError):  # ValueError: a NUL, a lone surrogate
        found = parse_address(text)
        return None if found is None else to_client(found)
    return Client(address, address)


def to_client(address: Address) -> Client:
    """Give the two texts of an address."""
    if isinstance(address, IPv4Address):
        return Client(str(address), str(address))
    return Client(str(address), str(IPv6Address(int(address) >> 64 << 64)) + "/64")


class Addresses:
    """Finds the client of a request; believes `X-Forwarded-For` only from the `trusted` networks.

    `untrusted_forwarder` is the last private peer that sent forwarded headers without being trusted: most likely a
    reverse proxy that `PULSE_TRUSTED_PROXIES` should name. None while there was none.
    """

    def __init__(self, trusted: Sequence[Network]) -> None:
        self.untrusted_forwarder: str | None = None
        self._trusted = tuple(trusted)
        self._remembered = lru_cache(REMEMBERED)(self._find)

    def find(self, peer: str, forwarded: str) -> Client:
        """Give the first from the right of `forwarded` and `peer` that no trusted network holds.

        Where all are trusted it is the leftmost; where a hop is no address, the one that named it.
        """
        if len(forwarded) > LONGEST_REMEMBERED:
            return self._find(peer, forwarded)
        return self._remembered(peer, forwarded)

    def _find(self, peer: str, forwarded: str) -> Client:
        found = parse_address(peer)
        if found is None:
            return NOBODY
        if forwarded and not self._trusts(found):
            self._note_untrusted(found)
            return to_client(found)
        for hop in reversed(forwarded.split(",")) if forwarded else ():
            if not self._trusts(found):
                break
            address = parse_address(hop)
            if address is None:
                break
            found = address
        return to_client(found)

    def _trusts(self, address: Address) -> bool:
        return any(address in network for network in self._trusted)

    def _note_untrusted(self, peer: Address) -> None:
        if not peer.is_private:
            return
        if self.untrusted_forwarder is None:
            log.warning(
                "forwarded_headers_not_trusted",
                meaning="a private peer sends X-Forwarded-For, so visitors are counted under its address",
                setting="PULSE_TRUSTED_PROXIES",
            )
        self.untrusted_forwarder = str(peer)
