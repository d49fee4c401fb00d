"""What an event may hold, one table a field; what becomes of its time, its site and its sender."""

from __future__ import annotations

from ipaddress import ip_network

import orjson
import pytest

from ingest.address import Client
from ingest.admit import Sender, admit
from ingest.sites import ProjectKey, Site, to_hostnames
from schemas.event import LINE_FIELDS, SiteId

NOW = 1_790_000_000_000
HOUR = 3_600_000
URL = "https://example.org/blog"
KEY = "sk_live_a"
SITE = Site(SiteId(7), project_id=1, sandbox=False, timezone="UTC", is_active=True, hostnames=None, excluded=())
INGEST_KEY = ProjectKey(1, project_id=1, sandbox=False, scopes=frozenset({"ingest"}), expires=None)
SENDER = Sender(NOW, Client("203.0.113.9", "203.0.113.9"), "Agent/1", KEY, None)
SERVER = SENDER._replace(key=INGEST_KEY)
UUID = "01932c07-209e-7c3b-8f1a-0123456789ab"


def take(event: object, sender: Sender = SENDER, site: Site = SITE) -> dict[str, object]:
    """The line of an accepted event."""
    admission = admit([event], sender, {KEY: site})
    assert admission.refusals == []
    [[line]] = admission.lines.values()
    assert line.endswith(b"}\n")
    value = orjson.loads(line)
    assert isinstance(value, dict)
    return value


def refuse(event: object, sender: Sender = SENDER, site: Site = SITE) -> str:
    """The code of a refused event."""
    admission = admit([event], sender, {KEY: site})
    assert (admission.accepted, admission.lines) == (0, {})
    [refusal] = admission.refusals
    assert refusal.site_id == SITE.id
    return refusal.reason


def test_a_line_holds_only_what_the_schema_knows_and_no_defaults() -> None:
    event = {
        "name": "pageview",
        "url": URL,
        "referrer": "",
        "title": "",
        "props": {},
        "user_id": "",
        "language": "",
        "interactive": True,
        "attempt": 1,
        "unknown": 1,
        "ts": 5,
        "address": "1.1.1.1",
        "ingest": True,
        "site_id": 9,
    }
    assert take(event) == {
        "site_id": 7,
        "url": URL,
        "ts": NOW,
        "received": NOW,
        "address": "203.0.113.9",
        "user_agent": "Agent/1",
    }


def test_every_field_of_a_line_has_the_type_of_the_schema() -> None:
    event = {
        "name": "engagement",
        "url": URL,
        "event_id": UUID.upper(),
        "referrer": "https://r.example/",
        "title": "T",
        "props": {"a": 1, "b": None, "c": True, "d": "x", "e": 1.5},
        "revenue": {"amount": 19.99, "currency": "eur"},
        "user_id": "u",
        "screen_width": 1440.0,
        "language": "en",
        "timezone": "Asia/Kathmandu",
        "timestamp": NOW,
        "interactive": False,
        "engaged_ms": 1_800_000,
        "scroll_depth": 0,
        "attempt": 2,
        "ip": "::ffff:198.51.100.7",
        "user_agent": "Real/2",
    }
    line = take(event, SERVER, SITE._replace(timezone="Asia/Kathmandu"))
    kinds = {"string": str, "int64": int, "bool": bool}
    assert {name: type(value) for name, value in line.items()} == {f.name: kinds[f.kind] for f in LINE_FIELDS}
    assert line["event_id"] == UUID
    assert orjson.loads(str(line["props"])) == {"a": 1, "c": True, "d": "x", "e": 1.5}
    assert (line["revenue_amount"], line["revenue_currency"]) == ("19.9900", "EUR")
    assert (line["address"], line["user_agent"]) == ("198.51.100.7", "Real/2")


TEXT = "x" * 3000
REFUSED = [
    ({"url": None}, "bad_url"),
    ({"url": 5}, "bad_url"),
    ({"url": ""}, "bad_url"),
    ({"url": "/blog"}, "bad_url"),
    ({"url": "//example.org/"}, "bad_url"),
    ({"url": "https:///path"}, "bad_url"),
    ({"url": "https://"}, "bad_url"),
    ({"url": "https://:80/"}, "bad_url"),
    ({"url": "file:///etc/passwd"}, "bad_url"),
    ({"url": "about:blank"}, "bad_url"),
    ({"url": "data:text/html,x"}, "bad_url"),
    ({"url": "javascript:alert(1)"}, "bad_url"),
    ({"url": "https://exa mple.org/"}, "bad_url"),
    ({"url": "https://example.org:port/"}, "bad_url"),
    ({"url": "https://example.org/" + "x" * 2029}, "bad_url"),
    ({"name": ""}, "bad_name"),
    ({"name": "x" * 121}, "bad_name"),
    ({"name": 1}, "bad_name"),
    ({"event_id": "1"}, "bad_event_id"),
    ({"event_id": UUID.replace("-", "")}, "bad_event_id"),
    ({"event_id": UUID + "\n"}, "bad_event_id"),
    ({"event_id": UUID.replace("a", "g")}, "bad_event_id"),
    ({"event_id": UUID.replace("0", "\uff10")}, "bad_event_id"),
    ({"event_id": 5}, "bad_event_id"),
    ({"referrer": 5}, "bad_referrer"),
    ({"title": []}, "bad_title"),
    ({"props": []}, "bad_props"),
    ({"props": "{}"}, "bad_props"),
    ({"props": {str(n): n for n in range(31)}}, "bad_props"),
    ({"props": {"a": {}}}, "bad_props"),
    ({"props": {"a": [1]}}, "bad_props"),
    ({"props": {"a": "x" * 2001}}, "bad_props"),
    ({"props": {"": 1}}, "bad_props"),
    ({"props": {"x" * 121: 1}}, "bad_props"),
    ({"revenue": 5}, "bad_revenue"),
    ({"revenue": {"amount": 5}}, "bad_revenue"),
    ({"revenue": {"currency": "EUR"}}, "bad_revenue"),
    ({"revenue": {"amount": True, "currency": "EUR"}}, "bad_revenue"),
    ({"revenue": {"amount": "NaN", "currency": "EUR"}}, "bad_revenue"),
    ({"revenue": {"amount": "Infinity", "currency": "EUR"}}, "bad_revenue"),
    ({"revenue": {"amount": "1e1000000000", "currency": "EUR"}}, "bad_revenue"),
    ({"revenue": {"amount": 1e14, "currency": "EUR"}}, "bad_revenue"),
    ({"revenue": {"amount": "99999999999999.99999", "currency": "EUR"}}, "bad_revenue"),
    ({"revenue": {"amount": "1" * 50, "currency": "EUR"}}, "bad_revenue"),
    ({"revenue": {"amount": "1_000", "currency": "EUR"}}, "bad_revenue"),
    ({"revenue": {"amount": "٣", "currency": "EUR"}}, "bad_revenue"),
    ({"revenue": {"amount": "5 EUR", "currency": "EUR"}}, "bad_revenue"),
    ({"revenue": {"amount": 5, "currency": "EURO"}}, "bad_revenue"),
    ({"revenue": {"amount": 5, "currency": "€€€"}}, "bad_revenue"),
    ({"user_id": "x" * 129}, "bad_user_id"),
    ({"user_id": 42}, "bad_user_id"),
    ({"screen_width": -1}, "bad_screen_width"),
    ({"screen_width": True}, "bad_screen_width"),
    ({"screen_width": "800"}, "bad_screen_width"),
    ({"screen_width": 2**63}, "bad_screen_width"),
    ({"screen_width": 1e300}, "bad_screen_width"),
    ({"screen_width": 800.5}, "bad_screen_width"),
    ({"language": 1}, "bad_language"),
    ({"timezone": {}}, "bad_timezone"),
    ({"timestamp": "yesterday"}, "bad_timestamp"),
    ({"timestamp": True}, "bad_timestamp"),
    ({"timestamp": []}, "bad_timestamp"),
    ({"timestamp": "9999-12-31T23:59:59-14:00"}, "bad_timestamp"),
    ({"timestamp": "0001-01-01T00:00:00+14:00"}, "bad_timestamp"),
    ({"timestamp": 1e300}, "bad_timestamp"),
    ({"timestamp": 2**63}, "bad_timestamp"),
    ({"timestamp": NOW, "sent_at": "never"}, "bad_timestamp"),
    ({"interactive": 0}, "bad_interactive"),
    ({"interactive": "false"}, "bad_interactive"),
    ({"name": "engagement", "engaged_ms": 1_800_001}, "bad_engagement"),
    ({"name": "engagement", "engaged_ms": -1}, "bad_engagement"),
    ({"name": "engagement", "scroll_depth": 101}, "bad_scroll_depth"),
    ({"name": "engagement", "scroll_depth": "50"}, "bad_scroll_depth"),
    ({"attempt": 0}, "bad_attempt"),
    ({"attempt": True}, "bad_attempt"),
]


@pytest.mark.parametrize(("fields", "code"), REFUSED, ids=lambda value: str(value)[:60])
def test_a_field_that_holds_something_else_refuses_the_event(fields: dict[str, object], code: str) -> None:
    assert refuse({"url": URL, **fields}) == code


@pytest.mark.parametrize(
    ("fields", "kept"),
    [
        ({"title": TEXT}, {"title": "x" * 512}),
        ({"referrer": TEXT}, {"referrer": "x" * 2048}),
        ({"language": TEXT}, {"language": "x" * 64}),
        ({"name": "x" * 120}, {"name": "x" * 120}),
        ({"url": "app://com.example.app/home"}, {"url": "app://com.example.app/home"}),
        ({"url": "http://u:p@[::1]:8080?q"}, {"url": "http://u:p@[::1]:8080?q"}),
        ({"url": "https://bücher.example/ü\U0001f600"}, {"url": "https://bücher.example/ü\U0001f600"}),
        ({"url": "https://e.org/" + "ü" * 2034}, {"url": "https://e.org/" + "ü" * 2034}),
        ({"props": {"a\nb": "c\td"}}, {"props": '{"a\\nb":"c\\td"}'}),
        (
            {"revenue": {"amount": 0.1 + 0.2, "currency": "USD"}},
            {"revenue_amount": "0.3000", "revenue_currency": "USD"},
        ),
        ({"revenue": {"amount": "-5", "currency": "usd"}}, {"revenue_amount": "-5.0000", "revenue_currency": "USD"}),
        ({"revenue": {"amount": -1e-7, "currency": "USD"}}, {"revenue_amount": "0.0000", "revenue_currency": "USD"}),
        (
            {"revenue": {"amount": "1.00005", "currency": "USD"}},
            {"revenue_amount": "1.0000", "revenue_currency": "USD"},
        ),
        ({"name": "signup", "interactive": False}, {"name": "signup", "interactive": False}),
        ({"engaged_ms": 10, "scroll_depth": 10}, {}),
        ({"name": "engagement", "scroll_depth": 100}, {"name": "engagement", "scroll_depth": 100}),
        ({"ip": "1.1.1.1", "user_agent": "Other/1"}, {}),
        ({"ip": 5, "user_agent": 5}, {}),
        ({"attempt": 3}, {"attempt": 3}),
        ({"name": None, "title": None, "props": None, "timestamp": None}, {}),
    ],
    ids=lambda value: str(value)[:60],
)
def test_what_is_kept_of_a_field(fields: dict[str, object], kept: dict[str, object]) -> None:
    common = {"site_id": 7, "url": URL, "ts": NOW, "received": NOW, "address": "203.0.113.9", "user_agent": "Agent/1"}
    assert take({"url": URL, **fields}) == {**common, **kept}


@pytest.mark.parametrize(
    ("fields", "ts"),
    [
        ({}, NOW),
        ({"timestamp": NOW - 5000}, NOW - 5000),
        ({"timestamp": NOW - 5000.9}, NOW - 5001),
        ({"sent_at": 5}, NOW),
        # A clock that is a year slow or fast does not matter, only what passed on it.
        ({"timestamp": NOW - 365 * 24 * HOUR - 7, "sent_at": NOW - 365 * 24 * HOUR}, NOW - 7),
        ({"timestamp": NOW + 365 * 24 * HOUR - 7, "sent_at": NOW + 365 * 24 * HOUR}, NOW - 7),
        # Sent before it happened: the clock was set meanwhile.
        ({"timestamp": NOW + 9, "sent_at": NOW}, NOW + 9),
        ({"timestamp": "2026-09-21T14:13:20Z"}, NOW),
        ({"timestamp": "2026-09-21T14:13:20"}, NOW),
        ({"timestamp": "2026-09-21T16:13:20.250+02:00"}, NOW + 250),
        ({"timestamp": NOW - 48 * HOUR}, NOW - 48 * HOUR),
        ({"timestamp": NOW + HOUR}, NOW + HOUR),
    ],
)
def test_an_event_is_placed_at_its_own_time(fields: dict[str, object], ts: int) -> None:
    assert take({"url": URL, **fields})["ts"] == ts


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"timestamp": NOW - 48 * HOUR - 1}, "too_old"),
        ({"timestamp": NOW + HOUR + 1}, "in_future"),
        ({"timestamp": NOW, "sent_at": NOW + 48 * HOUR + 1}, "too_old"),
        ({"timestamp": NOW + HOUR + 1, "sent_at": NOW}, "in_future"),
        ({"timestamp": NOW // 1000}, "too_old"),  # seconds
    ],
)
def test_the_corrected_time_must_be_near_the_receipt(fields: dict[str, object], code: str) -> None:
    assert refuse({"url": URL, **fields}) == code


def test_a_server_may_send_any_time_that_can_be_stored() -> None:
    for text, ts in (("1970-01-02T00:00:00Z", 86_400_000), ("2105-12-31T00:00:00Z", 4_291_660_800_000)):
        assert take({"url": URL, "timestamp": text}, SERVER)["ts"] == ts
    for text in ("1970-01-01T23:59:59.999Z", "2105-12-31T00:00:00.001Z"):
        assert refuse({"url": URL, "timestamp": text}, SERVER) == "bad_timestamp"


@pytest.mark.parametrize(("field", "code"), [("ip", "bad_ip"), ("user_agent", "bad_user_agent")])
def test_what_a_server_says_of_the_client_is_checked(field: str, code: str) -> None:
    assert refuse({"url": URL, field: 5}, SERVER) == code
    assert refuse({"url": URL, "ip": "300.1.1.1"}, SERVER) == "bad_ip"


@pytest.mark.parametrize(
    ("url", "accepted"),
    [
        ("https://example.org/", True),
        ("https://WWW.Example.org:8443/", True),
        ("https://blog.example.org/", False),
        ("https://a.b.other.example/", True),
        ("https://other.example/", False),
        ("https://evilother.example/", False),
        ("https://example.org.evil.example/", False),
        ("https://example.org@evil.example/", False),
    ],
)
def test_only_allowed_hostnames_may_send(url: str, *, accepted: bool) -> None:
    site = SITE._replace(hostnames=to_hostnames(["www.Example.org", "*.other.example"]))
    admission = admit([{"url": url}], SENDER, {KEY: site})
    assert [refusal.reason for refusal in admission.refusals] == ([] if accepted else ["hostname"])


def test_excluded_addresses_are_refused_whoever_names_them() -> None:
    site = SITE._replace(excluded=(ip_network("203.0.113.0/24"), ip_network("2001:db8::/32")))
    assert refuse({"url": URL}, site=site) == "excluded_address"
    assert refuse({"url": URL, "ip": "2001:db8::5"}, SERVER, site) == "excluded_address"
    assert take({"url": URL, "ip": "198.51.100.1"}, SERVER, site)["address"] == "198.51.100.1"


def test_a_paused_site_takes_nothing() -> None:
    assert refuse({"url": URL}, site=SITE._replace(is_active=False)) == "paused"


def test_a_key_opens_only_sites_of_its_project_and_data_set() -> None:
    assert refuse({"url": URL}, SERVER, SITE._replace(project_id=2)) == "foreign_site"
    assert refuse({"url": URL}, SERVER, SITE._replace(sandbox=True)) == "foreign_site"


def to_visitor(event: dict[str, object], sender: Sender = SENDER) -> int:
    [(_, visitor)] = admit([{"url": URL, **event}], sender, {KEY: SITE}).lines
    return visitor


def test_all_events_of_a_visitor_go_into_one_partition() -> None:
    elsewhere = SENDER._replace(client=Client("198.51.100.1", "198.51.100.1"))
    assert to_visitor({"user_id": "u"}) == to_visitor({"user_id": "u"}, elsewhere) == 1804503830
    assert to_visitor({}) == to_visitor({"title": "x"}) != to_visitor({}, elsewhere)
    assert to_visitor({}) != to_visitor({}, SENDER._replace(user_agent="Agent/2"))
    assert to_visitor({"ip": "2001:db8::1"}, SERVER) == to_visitor({"ip": "2001:db8::2"}, SERVER)
    assert to_visitor({"ip": "198.51.100.1"}, SERVER) == to_visitor({}, elsewhere)
