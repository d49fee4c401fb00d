"""The roles of a process, each `async def (parts, stop) -> None`; the default is all of them in one TaskGroup."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

import structlog

from deploy import welcome
from deploy.http import serve_http
from deploy.parts import Parts, open_parts
from deploy.signals import stopping_on_signals
from query_api.control.first_start import ensure_first_start

if TYPE_CHECKING:
    from collections.abc import Callable

    from deploy.settings import Settings

log = structlog.get_logger()


async def serve(settings: Settings, failpoint: Callable[[str], None]) -> None:
    """Run every role until a signal comes, then stop: listening first, then what is under way, then the parts."""
    os.chdir(make_private_folder(settings))
    stop = asyncio.Event()
    async with open_parts(settings, failpoint) as parts:
        with stopping_on_signals(stop):
            async with asyncio.TaskGroup() as group:
                ready = asyncio.Event()
                group.create_task(serve_http(parts, stop, ready), name="http")
                group.create_task(parts.consumer.run(stop), name="consumer")
                await ready.wait()
                await greet(parts)
    log.info("stopped")


async def greet(parts: Parts) -> None:
    """Tell a newcomer once how to begin; tell everybody where."""
    base = f"http://{parts.settings.listen}"
    newcomer = await ensure_first_start(parts.control, parts.settings.plan, parts.now())
    if newcomer is not None:
        print(welcome.to_text(newcomer, base), flush=True)  # noqa: T201 - it is what the command is asked for
    log.info("serving", at=base)


def make_private_folder(settings: Settings) -> str:
    """An empty folder to run in: the embedded engine would read a config.xml of the working directory."""
    folder = settings.data / "run"
    folder.mkdir(parents=True, exist_ok=True)
    return str(folder)
