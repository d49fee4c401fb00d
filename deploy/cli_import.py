"""`pulse import`: bring in what other tools wrote."""

from __future__ import annotations

import asyncio
import secrets
import time
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path  # noqa: TC003 - typer reads the annotation
from typing import TYPE_CHECKING, Annotated

import aiohttp
import orjson
import typer
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from deploy.control import control_of
from deploy.importer import Target, import_access_logs
from deploy.terminal import AsJson, CommandError, Speaker, errors, read_settings, run
from query_api.control.keys import KeyDraft, create_key, revoke_key
from query_api.control.sites import find_site

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from deploy.importer import Summary
    from deploy.settings import Settings

app = typer.Typer(no_args_is_help=True, help="Bring in what other tools wrote")

KEY_LIFE = timedelta(days=1)
ANSWER_SECONDS = 10


@app.callback()
def group() -> None:
    """Bring in what other tools wrote."""


@app.command("access-log")
def access_log(
    files: Annotated[list[Path], typer.Argument(help="Logs, oldest first: plain, .gz or .zst", exists=True)],
    site: Annotated[str, typer.Option(help="Domain or id of the site")],
    url: Annotated[str, typer.Option(help="Address of the server; default the one of these settings")] = "",
    key: Annotated[
        str, typer.Option(help="Project key of scope ingest (with --url also read); default one of its own")
    ] = "",
    *,
    as_json: AsJson = False,
) -> None:
    """Import web server logs: combined and common format, JSON lines of Caddy.

    Can be interrupted and run again: no line counts twice.
    """
    began = time.monotonic()
    summary = run(work(files, site, url, key))
    Speaker(as_json).show(to_result(summary), to_text(summary, time.monotonic() - began))


async def work(files: list[Path], site: str, url: str, key: str) -> Summary:
    """Find out where to send, send, and show progress on standard error."""
    settings = read_settings()
    if url and not key:
        message = "--url needs --key: a key of that server (pulse key create --scope ingest --scope read)"
        raise CommandError(message)
    base = url.rstrip("/") or f"http://{settings.listen}"
    await refuse_silence(base)
    remote = remote_target(base, site, key) if url else local_target(settings, base, site, key)
    async with remote as target:
        with Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f}%"),
            TextColumn("{task.fields[lines]:,} lines, {task.fields[rate]:,.0f}/s"),
            TimeRemainingColumn(),
            console=errors,
            transient=True,
        ) as bar:
            return await import_access_logs(files, target, Shown(bar, files))


class Shown:
    """A bar a file."""

    def __init__(self, bar: Progress, files: list[Path]) -> None:
        self._bar = bar
        self._began = time.monotonic()
        self._tasks: dict[Path, TaskID] = {
            file: bar.add_task(file.name, total=file.stat().st_size, lines=0, rate=0.0) for file in files
        }

    def __call__(self, file: Path, position: int, lines: int) -> None:
        """Move the bar."""
        rate = lines / max(1e-3, time.monotonic() - self._began)
        self._bar.update(self._tasks[file], completed=position, lines=lines, rate=rate)


async def refuse_silence(base: str) -> None:
    """Raise CommandError when no server answers there."""
    timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS)
    try:
        async with aiohttp.ClientSession(timeout=timeout) as session, session.get(f"{base}/healthz") as response:
            await response.read()
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        message = f"no server answers at {base} ({error or type(error).__name__}): start one with scripts/start"
        raise CommandError(message) from error


@asynccontextmanager
async def local_target(settings: Settings, base: str, site: str, key: str) -> AsyncIterator[Target]:
    """Site and key from the control plane of these settings; a key made for this import ends with it."""
    async with control_of(settings) as control:
        pair = await find_site(control.engine, control.project.id, site)
        if key:
            yield Target(base, pair.live.domain, pair.live.site_key, key)
            return
        draft = KeyDraft(f"import {secrets.token_hex(3)}", ("ingest",), expires_at=control.now + KEY_LIFE)
        made = await create_key(control.engine, control.project.id, draft, control.now)
        try:
            yield Target(base, pair.live.domain, pair.live.site_key, made.text)
        finally:
            await asyncio.shield(revoke_key(control.engine, control.project.id, made.key.id, control.now))


@asynccontextmanager
async def remote_target(base: str, site: str, key: str) -> AsyncIterator[Target]:
    """The site as the server lists it to the key."""
    headers = {"Authorization": f"Bearer {key}"}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.get(f"{base}/v1/sites", params={"per_page": "1000"}) as response,
    ):
        body = await response.read()
    if response.status != 200:  # noqa: PLR2004 - OK
        message = f"{base}/v1/sites: {response.status} {body[:300].decode('utf-8', 'replace')}"
        raise CommandError(message)
    for row in orjson.loads(body)["data"]:
        if site in {row["domain"], str(row["id"])}:
            yield Target(base, row["domain"], row["site_key"], key)
            return
    message = f"{base} shows no site {site!r} to this key"
    raise CommandError(message)


def to_result(summary: Summary) -> dict[str, object]:
    """The summary for machines: `lines` is the sum of `sent`, `skipped` and `refused`."""
    return {
        "lines": summary.lines,
        "sent": summary.sent,
        "skipped": {reason.value: count for reason, count in sorted(summary.skipped.items())},
        "refused": dict(summary.refused),
        "malformed_lines": summary.malformed_lines,
        "adds_up": summary.adds_up,
    }


def to_text(summary: Summary, seconds: float) -> str:
    """The summary for people."""
    rows = [("page views sent (again or for the first time)", summary.sent)]
    rows += [(f"no page view: {reason}", count) for reason, count in sorted(summary.skipped.items())]
    rows += [(f"refused by the server: {reason}", count) for reason, count in sorted(summary.refused.items())]
    rows += [("lines in all", summary.lines)]
    text = "\n".join(f"{count:>12,}  {name}" for name, count in rows)
    malformed = f"\nmalformed: {', '.join(summary.malformed_lines)}" if summary.malformed_lines else ""
    rate = summary.lines / max(seconds, 1e-3)
    return f"{text}{malformed}\n{seconds:.1f} s, {rate:,.0f} lines/s. Running it again changes no number."
