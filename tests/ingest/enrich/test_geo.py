"""Places: every shape of database, replaced and broken files."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from ingest.enrich.geo import CHECK_EVERY, NOWHERE, GeoError, GeoWatch, Place, open_geo
from ingest.enrich.geo_status import geo_status
from tests.ingest.enrich.make import make_facts, make_line, share_enricher, to_lines, write_mmdb

if TYPE_CHECKING:
    from pathlib import Path

NESTED = {
    "country": {"iso_code": "GB", "names": {"en": "United Kingdom", "de": "Vereinigtes Königreich"}},
    "registered_country": {"iso_code": "US"},
    "subdivisions": [{"iso_code": "ENG", "names": {"en": "England"}}, {"names": {"en": "West Berkshire"}}],
    "city": {"names": {"en": "Boxford"}},
}
RECORDS: list[tuple[dict[str, object], Place]] = [
    (NESTED, Place("GB", "England", "Boxford")),
    ({"country_code": "de", "state1": "Hesse", "state2": "x", "city": "Fulda"}, Place("DE", "Hesse", "Fulda")),
    ({"country_code": "DE"}, Place("DE", "", "")),
    ({"country": "US", "region": "California", "city": "San José"}, Place("US", "California", "San José")),
    ({"registered_country": {"iso_code": "FR"}}, Place("FR", "", "")),
    ({"country": {"names": {"en": "Nowhere"}}, "city": {"names": {"de": "Köln"}}}, NOWHERE),
    ({"country_code": "", "state1": "", "city": ""}, NOWHERE),
    ({"country_code": "Germany", "city": "Bonn"}, Place("", "", "Bonn")),
    ({"country": {"iso_code": 7}, "subdivisions": [], "city": 9}, NOWHERE),
]


@pytest.mark.parametrize(("record", "place"), RECORDS, ids=lambda value: json.dumps(value)[:40])
def test_records_of_every_shape(tmp_path: Path, record: dict[str, object], place: Place) -> None:
    geo = open_geo(write_mmdb(tmp_path / "a.mmdb", {"192.0.2.0/24": record}))
    assert geo
    assert geo.find("192.0.2.7") == place
    assert geo.find("198.51.100.7") == NOWHERE


@pytest.mark.parametrize("address", ["", "x", "999.1.1.1", "192.0.2", "2001:db8::1", "::ffff:192.0.2.x", "\x00"])
def test_what_is_no_address_of_the_database_is_nowhere(tmp_path: Path, address: str) -> None:
    geo = open_geo(write_mmdb(tmp_path / "a.mmdb", {"192.0.2.0/24": {"country_code": "DE"}}))
    assert geo
    assert geo.find(address) == NOWHERE


def test_one_file_may_hold_both_kinds_of_addresses(tmp_path: Path) -> None:
    places = {"192.0.2.0/24": {"country_code": "DE"}, "2001:db8::/32": {"country_code": "FR"}}
    geo = open_geo(write_mmdb(tmp_path / "a.mmdb", places, version=6))
    assert geo
    assert [geo.find(address).country for address in ("192.0.2.1", "::ffff:192.0.2.1", "2001:db8::5")] == [
        "DE",
        "DE",
        "FR",
    ]


def test_a_folder_may_hold_a_file_for_each_kind(tmp_path: Path) -> None:
    write_mmdb(tmp_path / "x-ipv4.mmdb", {"192.0.2.0/24": {"country_code": "DE"}})
    write_mmdb(tmp_path / "x-ipv6.mmdb", {"2001:db8::/32": {"country_code": "FR"}}, version=6)
    geo = open_geo(tmp_path)
    assert geo
    assert [geo.find(address).country for address in ("192.0.2.1", "2001:db8::5")] == ["DE", "FR"]


def test_none_installed_is_a_state(tmp_path: Path) -> None:
    assert open_geo(tmp_path) is None
    assert open_geo(tmp_path / "nothing") is None
    assert geo_status(tmp_path).state == "none"
    assert geo_status(None).state == "off"
    assert GeoWatch(None, lambda: 0).current() is None
    lines = to_lines(make_line())
    row = share_enricher().enrich(lines, make_facts(lines)).to_pylist()[0]
    assert (row["country"], row["region"], row["city"]) == ("", "", "")


def test_the_step_fills_the_three_columns(tmp_path: Path) -> None:
    geo = open_geo(write_mmdb(tmp_path / "a.mmdb", {"192.0.2.0/24": NESTED}))
    lines = to_lines(make_line(), make_line(address="198.51.100.1"), make_line(address="192.0.2.9"))
    rows = share_enricher().enrich(lines, make_facts(lines, geo)).to_pylist()
    assert [(row["country"], row["region"], row["city"]) for row in rows] == [
        ("GB", "England", "Boxford"),
        NOWHERE,
        ("GB", "England", "Boxford"),
    ]


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = 1_000_000

    def __call__(self) -> int:
        """Epoch milliseconds."""
        return self.now


def find(watch: GeoWatch) -> str:
    geo = watch.current()
    return geo.find("192.0.2.1").country if geo else "none"


def test_a_replaced_file_is_in_force_after_the_next_look(tmp_path: Path) -> None:
    clock = Clock()
    watch = GeoWatch(tmp_path, clock)
    assert find(watch) == "none"
    write_mmdb(tmp_path / "new", {"192.0.2.0/24": {"country_code": "DE"}}).rename(tmp_path / "a.mmdb")
    assert find(watch) == "none"
    clock.now += CHECK_EVERY
    assert find(watch) == "DE"
    write_mmdb(tmp_path / "new", {"192.0.2.0/24": {"country_code": "FR"}}).rename(tmp_path / "a.mmdb")
    clock.now += CHECK_EVERY - 1
    assert find(watch) == "DE"
    clock.now += 1
    assert find(watch) == "FR"
    (tmp_path / "a.mmdb").unlink()
    clock.now += CHECK_EVERY
    assert find(watch) == "none"


def test_a_broken_file_is_a_warning_and_the_state_before_goes_on(tmp_path: Path) -> None:
    clock = Clock()
    watch = GeoWatch(tmp_path / "a.mmdb", clock)
    write_mmdb(tmp_path / "a.mmdb", {"192.0.2.0/24": {"country_code": "DE"}})
    assert find(watch) == "DE"
    (tmp_path / "new").write_bytes(b"this is no database")
    (tmp_path / "new").rename(tmp_path / "a.mmdb")
    clock.now += CHECK_EVERY
    with capture_logs() as logs:
        assert find(watch) == "DE"
        clock.now += CHECK_EVERY
        assert find(watch) == "DE"
    assert [entry["event"] for entry in logs] == ["geo_unreadable"]
    assert "a.mmdb" in watch.problem
    status = geo_status(tmp_path)
    assert (status.state, status.problem.partition(":")[0]) == ("damaged", "a.mmdb")
    write_mmdb(tmp_path / "new", {"192.0.2.0/24": {"country_code": "FR"}}).rename(tmp_path / "a.mmdb")
    clock.now += CHECK_EVERY
    assert find(watch) == "FR"
    assert watch.problem == ""


def test_a_broken_file_at_the_start_is_no_place_and_no_crash(tmp_path: Path) -> None:
    (tmp_path / "a.mmdb").write_bytes(b"\xab\xcd\xefMaxMind.com" + b"\xff" * 40)
    with capture_logs() as logs:
        assert find(GeoWatch(tmp_path, Clock())) == "none"
    assert [entry["event"] for entry in logs] == ["geo_unreadable"]
    with pytest.raises(GeoError, match=r"a\.mmdb"):
        open_geo(tmp_path)


def test_damage_inside_a_file_is_told_once(tmp_path: Path) -> None:
    whole = write_mmdb(tmp_path / "a", {"192.0.2.0/24": NESTED, "1.1.1.0/24": {"country_code": "AU"}}).read_bytes()
    begin = whole.index(b"\0" * 16) + 16
    (tmp_path / "a.mmdb").write_bytes(whole[:begin] + whole[begin:].replace(b"Boxford", b"\xff" * 7))
    with capture_logs() as logs:
        geo = open_geo(tmp_path / "a.mmdb")
        assert geo
        assert {geo.find("192.0.2.1"), geo.find("192.0.2.2")} == {NOWHERE}
        assert geo.find("1.1.1.1").country == "AU"
    assert [entry["event"] for entry in logs] == ["geo_damaged"]
