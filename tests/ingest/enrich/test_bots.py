"""Who is flagged, and why."""

from __future__ import annotations

import iporigin
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.enrich.addresses import MACHINES, AddressReader
from ingest.enrich.bots import REASONS
from ingest.enrich.spam import is_spam, read_spammers
from tests.ingest.enrich.make import Value, make_facts, make_line, share_enricher, to_lines

GOOGLEBOT = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"
AMAZON = "52.95.110.1"
READER = AddressReader()

EVENTS: list[tuple[dict[str, Value], str]] = [
    ({}, ""),
    ({"user_agent": GOOGLEBOT}, "ua"),
    ({"user_agent": GOOGLEBOT, "user_id": "u"}, "ua"),
    ({"user_agent": GOOGLEBOT, "address": AMAZON, "referrer": "https://semalt.com/"}, "ua"),
    ({"address": AMAZON}, "datacenter"),
    ({"address": "::ffff:" + AMAZON}, "datacenter"),
    ({"address": AMAZON, "ingest": True}, "datacenter"),
    ({"address": AMAZON, "user_id": "u"}, ""),
    ({"address": "127.0.0.1"}, ""),
    ({"address": "no address"}, ""),
    ({"address": ""}, ""),
    ({"referrer": "https://semalt.com/crawler.php?u=x"}, "spam-referrer"),
    ({"referrer": "http://www.site12.semalt.com"}, "spam-referrer"),
    ({"referrer": "https://notsemalt.com/"}, ""),
    ({"referrer": "https://example.org/?semalt.com"}, ""),
    ({"user_agent": ""}, "rule"),
    ({"user_agent": "Mozilla/5.0"}, "rule"),
    ({"user_agent": "", "user_id": "u"}, ""),
    ({"user_agent": "", "ingest": True}, "rule"),
]


@pytest.mark.parametrize(("fields", "reason"), EVENTS)
def test_the_first_reason_that_holds_is_kept(fields: dict[str, Value], reason: str) -> None:
    lines = to_lines(make_line(**fields))
    assert share_enricher().enrich(lines, make_facts(lines))["bot"].to_pylist() == [reason]


def test_every_reason_has_a_case() -> None:
    assert {reason for _, reason in EVENTS} == set(REASONS)


def is_machine(address: str) -> bool:
    kind: str = iporigin.classify(address).kind  # type: ignore[no-untyped-call]
    return kind in MACHINES


@given(st.ip_addresses())
def test_a_data_centre_is_what_the_packages_own_lookup_says(address: object) -> None:
    assert READER.read(str(address))[1] == is_machine(str(address))


@pytest.mark.parametrize(
    "address", [AMAZON, "140.82.121.4", "2600:1f18::1", "104.16.0.1", "2a01:4f8::1", "1.0.0.1", "192.0.2.1"]
)
def test_known_addresses_too(address: str) -> None:
    assert READER.read(address)[1] == is_machine(address)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "::ffff:192.0.2.1", True),
        ("2001:db8:0:1::1", "2001:db8:0:1:ffff::2", True),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
        ("192.0.2.1", "192.0.2.2", False),
        ("fe80::1%eth0", "fe80::1", True),
    ],
)
def test_a_network_is_an_ipv4_address_or_a_64(one: str, other: str, same: object) -> None:
    assert (READER.read(one)[0] == READER.read(other)[0]) is same


def test_the_list_of_spammers_is_clean() -> None:
    spammers = read_spammers()
    assert len(spammers) > 100
    assert all(host == host.strip().lower() and "." in host and "/" not in host for host in spammers)
    assert not is_spam("", spammers)
