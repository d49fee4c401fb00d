"""The words beside places follow the database that is installed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deploy.attribution import LOOK_EVERY, AttributionReader
from tests.ingest.enrich.make import write_mmdb

if TYPE_CHECKING:
    from pathlib import Path


def test_the_words_follow_the_installed_database(tmp_path: Path) -> None:
    now = 0
    reader = AttributionReader(tmp_path, lambda: now)
    assert reader.read() == ""
    write_mmdb(tmp_path / "dbip-city-ipv4.mmdb", {"192.0.2.0/24": {"country_code": "DE"}})
    assert reader.read() == ""
    now = LOOK_EVERY
    assert reader.read() == "IP Geolocation by DB-IP"


def test_no_place_database_needs_no_words() -> None:
    assert AttributionReader(None, lambda: 0).read() == ""
