"""Has the server that serves a data folder run a command, over its Unix socket; without a server the command does it.

Light: nothing of the engine is loaded to ask.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeAlias

import aiohttp
import orjson
import structlog

from deploy.terminal import CommandError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from deploy.settings import Settings

Arguments: TypeAlias = "Mapping[str, str]"
Result: TypeAlias = "dict[str, object]"

SOCKET = "pulse.sock"
LONGEST_PATH = 100  # the kernel takes 107 bytes
DONE = 200
log = structlog.get_logger()


async def run_admin(settings: Settings, command: str, arguments: Arguments) -> Result:
    """Have a command run; raise CommandError with what went wrong."""
    if (settings.data / SOCKET).exists():
        try:
            return await ask_server(settings.data, command, arguments)
        except aiohttp.ClientConnectorError:
            log.debug("no_server", folder=str(settings.data))
    from deploy.admin import run_alone  # noqa: PLC0415 - loads the engine, which asking a server does not need

    return await run_alone(settings, command, arguments)


async def ask_server(folder: Path, command: str, arguments: Arguments) -> Result:
    """Raise ClientConnectorError when nobody listens."""
    with short_path(folder) as path:
        connector = aiohttp.UnixConnector(path)
        async with (
            aiohttp.ClientSession(connector=connector) as session,
            session.post(f"http://pulse/{command}", data=orjson.dumps(arguments)) as response,
        ):
            answer: Result = orjson.loads(await response.read())
    if response.status != DONE:
        raise CommandError(str(answer["error"]))
    return answer


@contextmanager
def short_path(folder: Path) -> Iterator[str]:
    """A path of the socket that the kernel takes, however deep the folder lies."""
    path = str(folder / SOCKET)
    if len(path.encode()) <= LONGEST_PATH:
        yield path
        return
    descriptor = os.open(folder, os.O_PATH)
    try:
        yield f"/proc/self/fd/{descriptor}/{SOCKET}"
    finally:
        os.close(descriptor)
