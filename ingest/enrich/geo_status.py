"""What place database is installed: for `pulse geo status`, `pulse doctor` and the pages that must name its maker."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from ingest.enrich.geo import GeoError, list_files, open_reader

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Attribution:
    """Words and link that must stand where places are shown; empty when the maker asks for none that we know."""

    text: str
    link: str


# By words of file name, type and description: ip-location-db's files say what they hold in their names only.
MAKERS: tuple[tuple[str, Attribution], ...] = (
    ("dbip", Attribution("IP Geolocation by DB-IP", "https://db-ip.com")),
    ("db-ip", Attribution("IP Geolocation by DB-IP", "https://db-ip.com")),
    (
        "geolite",
        Attribution(
            "This product includes GeoLite Data created by MaxMind, available from https://www.maxmind.com",
            "https://www.maxmind.com",
        ),
    ),
    ("ipinfo", Attribution("IP address data powered by IPinfo", "https://ipinfo.io")),
)
UNKNOWN_MAKER = Attribution("", "")


@dataclass(frozen=True, slots=True)
class GeoFile:
    """One database file. `built` is epoch seconds; `ip_version` 6 may hold IPv4 too."""

    name: str
    kind: str
    built: int
    ip_version: int
    bytes: int
    attribution: Attribution


@dataclass(frozen=True, slots=True)
class GeoStatus:
    """`off`: switched off; `none`: nothing installed; `damaged`: a file cannot be read (`problem` says why)."""

    state: Literal["off", "none", "damaged", "ready"]
    path: str
    files: tuple[GeoFile, ...] = ()
    problem: str = ""

    @property
    def built(self) -> int | None:
        """When the oldest of the files was built, epoch seconds; None without files."""
        return min((file.built for file in self.files), default=None)

    @property
    def attribution(self) -> Attribution:
        """What must be shown beside places."""
        return next((file.attribution for file in self.files if file.attribution.text), UNKNOWN_MAKER)


def geo_status(path: Path | None) -> GeoStatus:
    """Look at what is installed at a path (file or folder); None is switched off. Never raises."""
    if path is None:
        return GeoStatus("off", "")
    try:
        files = tuple(read_file(file) for file in list_files(path))
    except GeoError as error:
        return GeoStatus("damaged", str(path), problem=str(error))
    return GeoStatus("ready" if files else "none", str(path), files)


def read_file(path: Path) -> GeoFile:
    """Read what a file says of itself; raise GeoError."""
    with open_reader(path) as reader:
        facts = reader.metadata()
    description = " ".join(text for text in facts.description.values() if isinstance(text, str))
    words = f"{path.name} {facts.database_type} {description}".lower()
    attribution = next((found for word, found in MAKERS if word in words), UNKNOWN_MAKER)
    return GeoFile(
        path.name, facts.database_type, facts.build_epoch, facts.ip_version, path.stat().st_size, attribution
    )
