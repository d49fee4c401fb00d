"""Who sent a request."""

from __future__ import annotations

from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis.strategies import from_regex, ip_addresses, text
from structlog.testing import capture_logs

from ingest.address import NOBODY, Addresses, Client, parse_address, read_client, to_client

TRUSTED = (ip_network("127.0.0.1"), ip_network("10.0.0.0/8"), ip_network("2001:db8:1::/48"))


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("198.51.100.1", "", "198.51.100.1"),
        ("::ffff:198.51.100.1", "", "198.51.100.1"),
        ("198.51.100.1", "203.0.113.1", "198.51.100.1"),  # nobody believes a stranger
        ("127.0.0.1", "203.0.113.1", "203.0.113.1"),
        ("::ffff:127.0.0.1", "203.0.113.1", "203.0.113.1"),
        ("127.0.0.1", "6.6.6.6, 203.0.113.1", "203.0.113.1"),  # what a client claims stands on the left
        ("127.0.0.1", "6.6.6.6,203.0.113.1, 10.1.1.1 ,10.2.2.2", "203.0.113.1"),
        ("127.0.0.1", "10.1.1.1, 10.2.2.2", "10.1.1.1"),
        ("127.0.0.1", "203.0.113.1:4711", "203.0.113.1"),
        ("127.0.0.1", "[2001:db8::1]:4711", "2001:db8::1"),
        ("2001:db8:1::5", "2001:DB8:0::0:1", "2001:db8::1"),
        ("127.0.0.1", "::ffff:203.0.113.1", "203.0.113.1"),
        ("127.0.0.1", "unknown, 10.1.1.1", "10.1.1.1"),
        ("127.0.0.1", "rubbish", "127.0.0.1"),
        ("127.0.0.1", ",", "127.0.0.1"),
        ("127.0.0.1", "203.0.113.1, " + "10.1.1.1, " * 50 + "10.1.1.1", "203.0.113.1"),
    ],
)
def test_the_client_is_the_first_from_the_right_that_is_not_trusted(peer: str, forwarded: str, address: str) -> None:
    addresses = Addresses(TRUSTED)
    for _ in range(2):  # remembered the second time
        assert addresses.find(peer, forwarded).address == address


def test_ipv6_counts_by_its_64() -> None:
    addresses = Addresses(())
    assert addresses.find("2001:db8::1:2", "") == Client("2001:db8::1:2", "2001:db8::/64")
    assert addresses.find("2001:db8::ffff:1", "").group == "2001:db8::/64"
    assert addresses.find("198.51.100.1", "") == Client("198.51.100.1", "198.51.100.1")
    assert addresses.find("fe80::1%eth0", "").address == "fe80::1"


def test_a_peer_without_address_is_nobody() -> None:
    assert Addresses(()).find("", "203.0.113.1") == NOBODY


@pytest.mark.parametrize("text", ["", "x", "1.2.3", "1.2.3.4.5", "300.1.1.1", "[::1", "::1]", "1.2.3.4 5", "0x7f.1"])
def test_what_is_no_address(text: str) -> None:
    address = parse_address(text)
    assert address is None or text == "[::1"


@given(
    ip_addresses().map(str)
    | from_regex(r"[ 0-9]{1,4}(\.[0-9]{1,3}){3}(:80|\x00|%a| )?", fullmatch=True)
    | text(alphabet="01259.:[]%a \ud800", max_size=20)
)
def test_the_short_way_to_a_client_finds_the_same(text: str) -> None:
    address = parse_address(text)
    assert read_client(text) == (None if address is None else to_client(address))


def test_an_untrusted_private_forwarder_is_told_once() -> None:
    addresses = Addresses(TRUSTED)
    with capture_logs() as logs:
        addresses.find("127.0.0.1", "203.0.113.1")
        addresses.find("8.8.8.8", "203.0.113.1")  # a stranger, not a proxy of ours
        assert addresses.untrusted_forwarder is None
        addresses.find("192.168.1.1", "203.0.113.1")
        addresses.find("192.168.1.2", "203.0.113.1")
    assert addresses.untrusted_forwarder == "192.168.1.2"
    [line] = logs
    assert (line["log_level"], line["setting"]) == ("warning", "PULSE_TRUSTED_PROXIES")
    assert "192.168" not in str(line)
