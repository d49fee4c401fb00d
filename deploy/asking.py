"""Has the server that serves a data folder run a command, over its Unix socket; without a server the command does it.

Light: nothing of the engine is loaded to ask.
"""

from __future__ import annotations

import asyncio
import functools
import os
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, TypeAlias

import aiohttp
import orjson
import structlog

from deploy.terminal import CommandError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
    from pathlib import Path

    from deploy.settings import Settings

Arguments: TypeAlias = "Mapping[str, str]"
Result: TypeAlias = "dict[str, object]"
Ask: TypeAlias = "Callable[[str, Arguments], Awaitable[Result]]"

SOCKET = "pulse.sock"
LONGEST_PATH = 100  # the kernel takes 107 bytes
DONE, FAILED = 200, 422
ANSWER_SECONDS = 300.0
log = structlog.get_logger()


async def run_admin(
    settings: Settings, command: str, arguments: Arguments, seconds: float | None = ANSWER_SECONDS
) -> Result:
    """Have a command run; raise CommandError with what went wrong. `seconds` as `ask_server` takes them."""
    if (settings.data / SOCKET).exists():
        try:
            return await ask_server(settings.data, command, arguments, seconds)
        except aiohttp.ClientConnectorError:
            log.debug("no_server", folder=str(settings.data))
    from deploy.admin import run_alone  # noqa: PLC0415 - loads the engine, which asking a server does not need

    return await run_alone(settings, command, arguments)


@asynccontextmanager
async def asking(settings: Settings) -> AsyncIterator[Ask]:
    """For commands that ask many times: the server if one listens, else what they need stays open meanwhile."""
    if await is_served(settings.data):
        yield functools.partial(ask_server, settings.data)
        return
    from deploy.admin import answering_alone  # noqa: PLC0415 - as above

    async with answering_alone(settings) as ask:
        yield ask


async def is_served(folder: Path) -> bool:
    """Whether a server listens there."""
    with short_path(folder) as path:
        try:
            _, writer = await asyncio.open_unix_connection(path)
        except OSError:
            return False
        writer.close()
        return True


async def ask_server(
    folder: Path, command: str, arguments: Arguments, seconds: float | None = ANSWER_SECONDS
) -> Result:
    """Have the server run a command, which may take so many seconds, None for as long as it takes.

    Raise CommandError with what went wrong there, ClientConnectorError when nobody listens.
    """
    timeout = aiohttp.ClientTimeout(total=seconds)
    with short_path(folder) as path:
        async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(path), timeout=timeout) as session:
            try:
                async with session.post(f"http://pulse/{command}", data=orjson.dumps(arguments)) as response:
                    return to_result(response.status, await response.read())
            except TimeoutError as error:
                message = f"the server gave no answer in {seconds:.0f} s; it may still be at work on {command}"
                raise CommandError(message) from error


def to_result(status: int, body: bytes) -> Result:
    """What the server says; raise CommandError for anything but a result."""
    if status not in {DONE, FAILED}:
        message = f"the server failed (status {status}): its log says why"
        raise CommandError(message)
    answer: Result = orjson.loads(body)
    if status == FAILED:
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
