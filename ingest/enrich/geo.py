"""Places of addresses from any MMDB: flat or nested records, one file, or a folder of several (v4 and v6 apart).

An address is looked up and let go; only the place is kept. City names are estimates of the database's maker.
Replace a file by renaming a new one over it (`install_geo` does): the engine maps the file into memory, and a file
that is overwritten or cut while it is mapped ends the process.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import maxminddb
import structlog

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from maxminddb.types import Record

CACHED = 65_536
CHECK_EVERY = 5_000  # milliseconds between two looks at the files
log = structlog.get_logger()

Fingerprint: TypeAlias = "tuple[tuple[str, int, int, int], ...]"


class GeoError(Exception):
    """A database cannot be read or got; the message is for the operator."""


class Place(NamedTuple):
    """ISO 3166-1 alpha-2 code, region and city as the database names them in English; empty is unknown."""

    country: str
    region: str
    city: str


NOWHERE = Place("", "", "")
MAPPED = "::ffff:"  # an IPv4 address in IPv6's clothes
REGIONS = ("state1", "region", "region_name", "state")  # flat records' names of it


class Geo:
    """One state of the installed files, open. Safe to use from one thread at a time."""

    def __init__(self, readers: Sequence[maxminddb.Reader]) -> None:
        """Look addresses up in the readers, one after the other; those made for v4 alone are asked for v4 first."""
        ordered = sorted(readers, key=lambda reader: reader.metadata().ip_version)
        self._v4 = ordered
        self._v6 = [reader for reader in ordered if reader.metadata().ip_version == 6]  # noqa: PLR2004 (IPv6)
        self._damaged = False
        self._places: dict[Place, Place] = {}
        self.find: Callable[[str], Place] = lru_cache(CACHED)(self._find)

    def _find(self, address: str) -> Place:
        """Give the place of an address in canonical text; of anything else, and of unknown ones, NOWHERE."""
        plain = address.removeprefix(MAPPED) if "." in address else address
        for reader in self._v6 if ":" in plain else self._v4:
            try:
                record = reader.get(plain)
            except (maxminddb.InvalidDatabaseError, UnicodeDecodeError) as error:
                self._tell_damage(error)
                continue
            except (ValueError, TypeError):  # no address; the engine's word for a NUL in it is TypeError
                return NOWHERE
            if record is not None and (place := to_place(record)) != NOWHERE:
                # One object a place, of which a database has a bounded number: the garbage collector has less to visit.
                return self._places.setdefault(place, place)
        return NOWHERE

    def _tell_damage(self, error: Exception) -> None:
        if not self._damaged:
            self._damaged = True
            log.warning("geo_damaged", problem=str(error))


def to_place(record: Record) -> Place:
    """Read a record of any known shape: MaxMind and DB-IP (nested), ip-location-db and IPinfo (flat)."""
    if not isinstance(record, dict):
        return NOWHERE
    country = to_code(record.get("country_code") or record.get("country") or record.get("registered_country"))
    divisions = record.get("subdivisions")
    nested = divisions[0] if isinstance(divisions, list) and divisions else None
    region = nested or next((record[name] for name in REGIONS if name in record), None)
    return Place(country, to_name(region), to_name(record.get("city")))


def to_code(value: Record | None) -> str:
    """Give a country code in capitals from a text or a nested record; empty for anything that is none."""
    code = value.get("iso_code") if isinstance(value, dict) else value
    return code.upper() if isinstance(code, str) and len(code) == 2 and code.isascii() and code.isalpha() else ""  # noqa: PLR2004 (alpha-2)


def to_name(value: Record | None) -> str:
    """Give a name from a text or a nested record with names by language."""
    if isinstance(value, dict):
        names = value.get("names")
        value = names.get("en") if isinstance(names, dict) else None
    return value.strip() if isinstance(value, str) else ""


def list_files(path: Path) -> list[Path]:
    """Give the database files of a path: itself, or every *.mmdb of the folder, by name; none is a state."""
    return sorted(path.glob("*.mmdb")) if path.is_dir() else [path] if path.is_file() else []


def open_reader(path: Path) -> maxminddb.Reader:
    """Open one file and look something up in it; raise GeoError."""
    try:
        reader = maxminddb.open_database(path)
        reader.get("1.1.1.1" if reader.metadata().ip_version == 4 else "2606:4700::1111")  # noqa: PLR2004 (IPv4)
    except (maxminddb.InvalidDatabaseError, OSError, ValueError) as error:
        message = f"{path.name}: {error}"
        raise GeoError(message) from error
    return reader


def open_geo(path: Path) -> Geo | None:
    """Open what is installed, None if nothing is; raise GeoError when a file cannot be read."""
    files = list_files(path)
    return Geo([open_reader(file) for file in files]) if files else None


class GeoWatch:
    """Keeps `Geo` as new as its files: looks at most every five seconds, opens again what has been replaced.

    A file that cannot be read is a warning and a `problem`; places go on from the state before, if there was one.
    """

    def __init__(self, path: Path | None, clock: Callable[[], int]) -> None:
        """Watch a file or folder; None is switched off."""
        self._path = path
        self._clock = clock
        self._looked = -CHECK_EVERY
        self._seen: Fingerprint | None = None
        self._geo: Geo | None = None
        self.problem = ""

    def current(self) -> Geo | None:
        """Give the state to use for the next batch, None without a database."""
        now = self._clock()
        if self._path is None or self._looked <= now < self._looked + CHECK_EVERY:
            return self._geo
        self._looked = now  # a clock that was set back is no reason to wait
        seen = read_fingerprint(self._path)
        if seen != self._seen:
            self._seen = seen
            self._open(self._path)
        return self._geo

    def _open(self, path: Path) -> None:
        try:
            self._geo = open_geo(path)
            self.problem = ""
        except GeoError as error:
            self.problem = str(error)
            log.warning("geo_unreadable", problem=self.problem)
        else:
            log.info("geo_opened", files=[file.name for file in list_files(path)])


def read_fingerprint(path: Path) -> Fingerprint:
    """Say what the files are now: another inode, time or size is another state."""
    found = []
    for file in list_files(path):
        try:
            stat = file.stat()
        except FileNotFoundError:  # gone since it was listed: the next look sees it so too
            continue
        found.append((file.name, stat.st_ino, stat.st_mtime_ns, stat.st_size))
    return tuple(found)
