"""`pulse site`: what is measured."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from deploy.control import control_of
from deploy.terminal import AsJson, Speaker, read_settings, run
from query_api.control.sites import (
    SiteChanges,
    SiteDraft,
    SitePair,
    create_site,
    delete_site,
    list_sites,
    update_site,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

app = typer.Typer(no_args_is_help=True, help="Sites: what is measured")

Wanted = Annotated[str, typer.Argument(metavar="SITE", help="Domain or id")]


def to_result(pair: SitePair) -> dict[str, object]:
    """A site as commands show it: its own fields and the key of its sandbox."""
    return asdict(pair.live) | {"test_site_key": pair.sandbox.site_key}


@app.command()
def create(
    domain: Annotated[str, typer.Option(help="Host of the site, for example example.com")],
    name: Annotated[str, typer.Option(help="What it is called; default the domain")] = "",
    timezone: Annotated[str, typer.Option(help="IANA zone that its days are in")] = "UTC",
    *,
    as_json: AsJson = False,
) -> None:
    """Make a site; prints its public key."""

    async def work() -> SitePair:
        async with control_of(read_settings()) as control:
            draft = SiteDraft(domain, name, timezone)
            return await create_site(control.engine, control.project.id, draft, control.now)

    Speaker(as_json).show(to_result(run(work())))


@app.command("list")
def list_all(*, as_json: AsJson = False) -> None:
    """List the sites."""

    async def work() -> Sequence[SitePair]:
        async with control_of(read_settings()) as control:
            return await list_sites(control.engine, control.project.id)

    columns = ("id", "domain", "name", "timezone", "is_active", "site_key", "test_site_key")
    rows = [to_result(pair) for pair in run(work())]
    Speaker(as_json).show_rows("sites", rows if as_json else [{name: row[name] for name in columns} for row in rows])


@app.command()
def update(  # noqa: PLR0913 - each is an option of the command
    site: Wanted,
    *,
    domain: Annotated[str | None, typer.Option(help="New host")] = None,
    name: Annotated[str | None, typer.Option(help="New name")] = None,
    timezone: Annotated[str | None, typer.Option(help="New IANA zone, for events received from now on")] = None,
    allow_hostname: Annotated[
        list[str] | None, typer.Option(help="Accept only these hosts, '*.example.com' for all below; '' for any")
    ] = None,
    exclude_address: Annotated[
        list[str] | None, typer.Option(help="Refuse events from these addresses or networks; '' for none")
    ] = None,
    retention_months: Annotated[int | None, typer.Option(help="Whole months to keep events, 0 for ever")] = None,
    as_json: AsJson = False,
) -> None:
    """Change a site."""
    hostnames = None if allow_hostname is None else tuple(filter(None, allow_hostname))
    addresses = None if exclude_address is None else tuple(filter(None, exclude_address))
    changes = SiteChanges(domain, name, timezone, None, hostnames, addresses, retention_months)
    Speaker(as_json).show(to_result(run(change(site, changes))))


@app.command()
def pause(
    site: Wanted,
    *,
    resume: Annotated[bool, typer.Option("--resume", help="Collect again")] = False,
    as_json: AsJson = False,
) -> None:
    """Stop collecting for a site (events are refused as `paused`) until `--resume`."""
    Speaker(as_json).show(to_result(run(change(site, SiteChanges(is_active=resume)))))


@app.command()
def delete(
    site: Wanted,
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask")] = False,
    as_json: AsJson = False,
) -> None:
    """Delete a site: it collects nothing any more and no question reaches it."""
    if not yes:
        typer.confirm(f"Delete {site}?", abort=True, err=True)

    async def work() -> SitePair:
        async with control_of(read_settings()) as control:
            return await delete_site(control.engine, control.project.id, site, control.now)

    Speaker(as_json).show(to_result(run(work())), f"deleted {site}")


async def change(site: str, changes: SiteChanges) -> SitePair:
    """Change a site of the project that commands work on."""
    async with control_of(read_settings()) as control:
        return await update_site(control.engine, control.project.id, site, changes)
