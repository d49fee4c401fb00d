"""The old installation as a promotion sees it: through the server that runs, or opened here where none does."""

from __future__ import annotations

import asyncio
import uuid
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, astuple, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, cast

import aiohttp
import orjson
import pyarrow as pa

from deploy.admin import COMMANDS
from deploy.asking import Arguments, Result, ask_server, is_served
from deploy.clock import read_clock
from deploy.copying import KEPT_IDS, Chunk, Measure, Piece, Span
from deploy.copying_proof import Proof
from deploy.parts import open_parts
from deploy.promote_note import work_folder, write_json
from deploy.terminal import CommandError
from ingest.writer import no_failpoint

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from deploy.promote_note import Note
    from deploy.settings import Settings

    Ask: TypeAlias = Callable[[str, Arguments], Awaitable[Result]]

HELD_SECONDS = 60.0
LOOK_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class LogFacts:
    """The old log: its number, how many partitions it has, how far it is consumed."""

    number: int
    identity: str
    partitions: int
    positions: list[int]


class Source:
    """Reads the old warehouse."""

    def __init__(self, settings: Settings, ask: Ask) -> None:
        self._data = settings.data
        self._ask = ask
        for name in ("held-*", "*.arrow"):  # of a run that was killed; whoever is held for it goes on
            for path in work_folder(self._data).glob(name):
                path.unlink(missing_ok=True)

    async def look(self) -> LogFacts:
        """The log now."""
        found = await self._ask("promote-look", {})
        return LogFacts(**found)  # type: ignore[arg-type]

    async def plan(self, table: str, span: Span) -> list[Chunk]:
        """The chunks of a table."""
        arguments = {"table": table, "span": orjson.dumps(asdict(span)).decode()}
        found = await self._ask("promote-plan", arguments)
        return [Chunk(*chunk) for chunk in cast("list[list[int]]", found["chunks"])]  # type: ignore[arg-type]

    async def read_chunk(self, chunk: Chunk) -> Piece:
        """The rows of a chunk."""
        kept = read_clock() - KEPT_IDS
        arguments = {"chunk": orjson.dumps(astuple(chunk)).decode(), "kept": str(kept)}
        return Piece(chunk, *read_exported(await self._ask("promote-chunk", arguments)), kept)

    async def read_whole(self, table: str) -> pa.Table:
        """The rows of a small table."""
        return read_exported(await self._ask("promote-whole", {"table": table, "kept": "0"}))[0]

    async def measure(self) -> Proof:
        """All that it holds; raise CommandError while something is under way in it."""
        found = await self._ask("promote-measure", {"kept": str(read_clock() - KEPT_IDS)})
        if found["under_way"]:
            message = f"the old warehouse has something under way ({found['under_way']}): run this again in a minute"
            raise CommandError(message)
        return Proof.from_json(cast("dict[str, object]", found["proof"]))

    @asynccontextmanager
    async def holding(self) -> AsyncIterator[Callable[[Note], Awaitable[bool]]]:
        """No batch lands in the old warehouse inside; give what ends that for good, and says whether it did."""
        token = uuid.uuid4().hex
        folder = work_folder(self._data)
        held, release, order = (folder / f"{name}-{token}" for name in ("held", "release", "hand-over"))
        waiting = asyncio.ensure_future(self._ask("promote-hold", {"token": token}))

        async def hand_over(note: Note) -> bool:
            write_json(order, asdict(note))
            return bool((await waiting)["handed_over"])

        try:
            await wait_for_file(held, waiting)
            yield hand_over
        finally:
            release.touch()
            with suppress(CommandError, TimeoutError):  # whoever waits for the answer has been told
                await asyncio.wait_for(waiting, HELD_SECONDS)
            for path in (held, release, order):
                path.unlink(missing_ok=True)


async def wait_for_file(path: Path, waiting: asyncio.Future[Result]) -> None:
    """Return when the file is there; raise CommandError when the server ended instead."""
    while not path.exists():  # noqa: ASYNC240 - a look at a folder of ours
        if waiting.done():
            waiting.result()
            message = "the server stopped: run this again"
            raise CommandError(message)
        await asyncio.sleep(LOOK_SECONDS)


def read_exported(found: Result) -> tuple[pa.Table, Measure]:
    """The rows of a file that the server wrote, which goes."""
    path = Path(str(found["path"]))
    with pa.memory_map(str(path)) as file:
        rows = pa.ipc.open_file(file).read_all()
    path.unlink()
    return rows, Measure(cast("int", found["rows"]), cast("int", found["checksum"]))


@asynccontextmanager
async def open_source(settings: Settings) -> AsyncIterator[Source]:
    """The server that runs, else the parts opened here (nothing consumes then)."""
    if await is_served(settings.data):

        async def ask(command: str, arguments: Arguments) -> Result:
            try:
                return await ask_server(settings.data, command, arguments, None)  # it may take hours
            except aiohttp.ClientError as error:
                message = f"the server went away ({error}): run this again"
                raise CommandError(message) from error

        yield Source(settings, ask)
        return
    async with open_parts(settings, no_failpoint) as parts:
        await parts.retention.resume()
        yield Source(settings, lambda command, arguments: COMMANDS[command](parts, arguments))
