"""Who is whom."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from hashlib import blake2b

import pytest

from ingest.enrich.facts import Facts, MissingFactsError, SiteFacts
from ingest.enrich.pipeline import local_days
from tests.ingest.enrich.make import NOON, SAFARI, Value, make_facts, make_line, share_enricher, to_lines

HOURS = 3_600_000


def hash_one(key: bytes, message: bytes) -> int:
    return int.from_bytes(blake2b(message, key=key, digest_size=8).digest(), "little")


def find(*changes: dict[str, Value]) -> list[int]:
    """The visitor of each event."""
    lines = to_lines(*(make_line(**fields) for fields in changes))
    visitors: list[int] = share_enricher().enrich(lines, make_facts(lines))["visitor_id"].to_pylist()
    return visitors


SAME: list[dict[str, Value]] = [
    {"ts": NOON + 60_000},
    {"url": "https://example.com/other", "referrer": "https://example.org/", "name": "signup"},
    {"address": "::ffff:192.0.2.1"},
    {"event_id": "018f0000-0000-7000-8000-000000000001", "attempt": 2},
]
OTHER: list[dict[str, Value]] = [
    {"ts": NOON + 12 * HOURS},
    {"address": "192.0.2.2"},
    {"user_agent": "Mozilla/5.0 (another)"},
    {"user_agent": ""},
    {"site_id": 2},
    {"site_timezone": "Asia/Kathmandu"},
    {"user_id": "u"},
    {"address": ""},
]


@pytest.mark.parametrize("fields", SAME)
def test_the_same_visitor(fields: dict[str, Value]) -> None:
    one, other = find({}, fields)
    assert one == other


@pytest.mark.parametrize("fields", OTHER)
def test_another_visitor(fields: dict[str, Value]) -> None:
    one, other = find({}, fields)
    assert one != other


def test_ipv6_counts_by_its_64() -> None:
    one, other, neighbour = find(
        {"address": "2001:db8::1"}, {"address": "2001:db8::ffff:2"}, {"address": "2001:db8:0:1::1"}
    )
    assert one == other != neighbour


def test_an_identified_visitor_is_one_over_days_addresses_and_agents() -> None:
    visitors = find(
        {"user_id": "u"}, {"user_id": "u", "ts": NOON + 48 * HOURS, "address": "2001:db8::1", "user_agent": ""}
    )
    assert len(set(visitors)) == 1
    assert len(set(find({"user_id": "u"}, {"user_id": "v"}, {"user_id": "u", "site_id": 2}))) == 3


def test_parts_of_a_visitor_never_run_into_each_other() -> None:
    # Without the network's length, the first bytes of a user agent could stand for those of an address.
    assert len(set(find({"address": "", "user_agent": "0000x"}, {"address": "48.48.48.48", "user_agent": "x"}))) == 2


def test_an_id_is_a_function_of_line_and_salt_alone() -> None:
    lines = to_lines(make_line(), make_line(user_id="u"), make_line(address="2001:db8::1"))
    facts = make_facts(lines)
    first = share_enricher().enrich(lines, facts)["visitor_id"].to_pylist()
    turned = share_enricher().enrich(lines.take([2, 1, 0]), facts)["visitor_id"].to_pylist()
    assert first == turned[::-1]
    # Written out: an id must never change while its salt or key lives.
    salt, site = b"2026-05-28", b"\1\0\0\0"
    assert first == [
        hash_one(salt, site + b"\4" + bytes([192, 0, 2, 1]) + SAFARI.encode()),
        hash_one(b"key of site 1", site + b"\0" + b"u"),
        hash_one(salt, site + b"\x08" + bytes.fromhex("20010db800000000") + SAFARI.encode()),
    ]


def test_another_salt_or_key_is_another_visitor() -> None:
    lines = to_lines(make_line(), make_line(user_id="u"))
    facts = make_facts(lines)
    salts = dict.fromkeys(facts.salts, b"another")
    sites = {1: SiteFacts("example.com", b"another")}
    before = share_enricher().enrich(lines, facts)["visitor_id"].to_pylist()
    salted = share_enricher().enrich(lines, replace(facts, salts=salts))["visitor_id"].to_pylist()
    keyed = share_enricher().enrich(lines, replace(facts, sites=sites))["visitor_id"].to_pylist()
    assert (before[0] == salted[0], before[1] == salted[1]) == (False, True)
    assert (before[0] == keyed[0], before[1] == keyed[1]) == (True, False)


def test_a_missing_salt_or_site_is_never_made_up() -> None:
    lines = to_lines(make_line())
    facts = make_facts(lines)
    (day,) = local_days(lines)
    with pytest.raises(MissingFactsError, match=str(day)):
        share_enricher().enrich(lines, Facts(facts.sites, {day + timedelta(days=1): b"x"}))
    with pytest.raises(MissingFactsError, match="site 1"):
        share_enricher().enrich(lines, Facts({}, facts.salts))


def test_identified_needs_no_salt() -> None:
    lines = to_lines(make_line(user_id="u"))
    assert share_enricher().enrich(lines, Facts(make_facts(lines).sites, {}))["identified"].to_pylist() == [True]


def test_secrets_are_not_shown() -> None:
    facts = make_facts(to_lines(make_line()))
    assert "key of site" not in repr(facts)
    assert "2026-05-28'" not in repr(facts)
