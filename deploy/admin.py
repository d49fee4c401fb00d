"""Commands that need what only one process may open: run by the server that has it, else by the command itself.

The server listens on a Unix socket in the data folder that only its user may open. The same functions answer there
and in a command that finds no server (`asking.py`).
"""

from __future__ import annotations

import os
import re
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import orjson
from aiohttp import web
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from deploy.admin_ledger import LEDGER_COMMANDS
from deploy.admin_move import MOVES, stand_still
from deploy.asking import FAILED, SOCKET, Arguments, Result, short_path
from deploy.doctor import read_findings
from deploy.parts import open_parts
from deploy.private import working_in_private_folder
from deploy.terminal import CommandError
from ingest.dead_letters import DeadLetter, DeadLetterGoneError
from ingest.log import LogUnavailableError
from ingest.writer import no_failpoint
from schemas.in_flight import InFlightUnknownError
from schemas.warehouse.errors import WarehouseError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

    from deploy.asking import Ask
    from deploy.parts import Parts
    from deploy.settings import Settings


async def list_dead_letters(parts: Parts, arguments: Arguments) -> Result:
    """The oldest dead letters."""
    letters = await parts.consumer.dead_letters.list(int(arguments.get("limit", "100")))
    return {"dead_letters": [to_row(letter) for letter in letters]}


async def show_dead_letter(parts: Parts, arguments: Arguments) -> Result:
    """The line itself; it holds the client's address."""
    position = to_position(arguments["id"])
    line = await parts.consumer.dead_letters.read_line(position)
    return {"id": arguments["id"], "line": line.decode("utf-8", "backslashreplace")}


async def retry_dead_letters(parts: Parts, arguments: Arguments) -> Result:
    """Append one line, or all that were not retried yet, to the log again."""
    letters = parts.consumer.dead_letters
    if arguments["id"] != "all":
        await letters.retry(to_position(arguments["id"]))
        return {"retried": 1}
    found = [letter for letter in await letters.list(ALL) if not letter.retried]
    for letter in found:
        await letters.retry(letter.position)
    return {"retried": len(found)}


async def examine(parts: Parts, _arguments: Arguments) -> Result:
    """What `pulse doctor` finds inside."""
    return {"findings": await read_findings(parts)}


COMMANDS: Mapping[str, Callable[[Parts, Arguments], Awaitable[Result]]] = {
    **LEDGER_COMMANDS,
    "dead-letters-list": list_dead_letters,
    "dead-letters-show": show_dead_letter,
    "dead-letters-retry": retry_dead_letters,
    "doctor": examine,
    **MOVES,
}
EXPECTED = (
    CommandError,
    DeadLetterGoneError,
    LogUnavailableError,
    InFlightUnknownError,
    WarehouseError,
    SQLAlchemyError,
    ValueError,
)
ALL = 1_000_000


def to_row(letter: DeadLetter) -> Result:
    """A dead letter as commands show it."""
    return {
        "id": ":".join(map(str, letter.position)),
        "site_id": letter.site_id,
        "hour": datetime.fromtimestamp(letter.hour, UTC).isoformat(),
        "reason": letter.reason,
        "retried": letter.retried,
    }


def to_problem(error: Exception) -> str:
    """What went wrong; of a control plane what it said, without the statement that was sent."""
    return f"the control plane: {error.orig}" if isinstance(error, DBAPIError) else str(error)


def to_position(text: str) -> tuple[int, int, int]:
    """The position that an id names; raise CommandError."""
    match = re.fullmatch(r"(\d+):(\d+):(\d+)", text)
    if match is None:
        message = f"{text!r} is no id of a dead letter: `pulse dead-letters list` shows them, for example 0:12:3"
        raise CommandError(message)
    return int(match[1]), int(match[2]), int(match[3])


async def run_alone(settings: Settings, command: str, arguments: Arguments) -> Result:
    """Open the parts, run the command and close them again."""
    async with answering_alone(settings) as ask:
        return await ask(command, arguments)


@asynccontextmanager
async def answering_alone(settings: Settings) -> AsyncIterator[Ask]:
    """Keep the parts open as long as the block runs."""
    with working_in_private_folder(settings.data):
        async with open_parts(settings, no_failpoint) as parts:

            async def ask(command: str, arguments: Arguments) -> Result:
                try:
                    return await COMMANDS[command](parts, arguments)
                except DeadLetterGoneError as error:
                    raise CommandError(str(error)) from error

            yield ask


@asynccontextmanager
async def answering_commands(parts: Parts) -> AsyncIterator[None]:
    """Listen on the socket as long as the block runs."""
    await stand_still(parts)

    async def answer(request: web.Request) -> web.Response:
        try:
            result = await COMMANDS[request.match_info["command"]](parts, orjson.loads(await request.read()))
        except EXPECTED as error:
            return web.Response(status=FAILED, body=orjson.dumps({"error": to_problem(error)}))
        return web.Response(body=orjson.dumps(result, default=str))

    app = web.Application()
    app.router.add_post("/{command}", answer)
    runner = web.AppRunner(app, handle_signals=False)
    await runner.setup()
    (parts.base.settings.data / SOCKET).unlink(missing_ok=True)
    with short_path(parts.base.settings.data) as path:
        site = web.UnixSite(runner, path)
        mask = os.umask(0o177)
        try:
            await site.start()
        finally:
            os.umask(mask)
    try:
        yield
    finally:
        await runner.cleanup()
        (parts.base.settings.data / SOCKET).unlink(missing_ok=True)
