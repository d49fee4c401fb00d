"""What a command hears of the server that it asks: a result, or one line that says what went wrong."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest
from sqlalchemy.exc import OperationalError

from deploy import admin
from deploy.admin import answering_commands
from deploy.asking import ask_server
from deploy.terminal import CommandError
from ingest.dead_letters import DeadLetterGoneError
from ingest.log import LogUnavailableError
from schemas.in_flight import InFlightUnknownError
from schemas.warehouse.errors import WarehouseError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from deploy.asking import Arguments, Result
    from deploy.parts import Parts

EXPECTED = [
    (CommandError("no"), "no"),
    (ValueError("no number"), "no number"),
    (DeadLetterGoneError("no dead letter"), "no dead letter"),
    (WarehouseError("away"), "away"),
    (LogUnavailableError("the log has used up its budget"), "the log has used up its budget"),
    (InFlightUnknownError("cannot be read"), "cannot be read"),
    (OperationalError("SELECT secret", {}, ValueError("database is locked")), "the control plane: database is locked"),
]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder whose server knows no command."""
    monkeypatch.setattr(admin, "COMMANDS", {})
    return tmp_path


@asynccontextmanager
async def serving(folder: Path, run: Callable[[], Awaitable[Result]]) -> AsyncIterator[None]:
    """A server whose one command does that."""

    async def command(_parts: Parts, _arguments: Arguments) -> Result:
        return await run()

    cast("dict[str, object]", admin.COMMANDS)["work"] = command
    settings = SimpleNamespace(data=folder, warehouse="chdb:///x")
    async with answering_commands(cast("Parts", SimpleNamespace(base=SimpleNamespace(settings=settings)))):
        yield


@pytest.mark.parametrize(("error", "words"), EXPECTED, ids=[type(error).__name__ for error, _ in EXPECTED])
async def test_what_may_go_wrong_is_told_in_its_own_words(folder: Path, error: Exception, words: str) -> None:
    async def fail() -> Result:
        raise error

    async with serving(folder, fail):
        with pytest.raises(CommandError) as told:
            await ask_server(folder, "work", {})
    assert str(told.value) == words


async def test_a_fault_of_the_server_is_told_as_one(folder: Path) -> None:
    async def fail() -> Result:
        raise ZeroDivisionError

    async with serving(folder, fail):
        with pytest.raises(CommandError, match=r"the server failed \(status 500\): its log says why"):
            await ask_server(folder, "work", {})


async def test_a_server_that_gives_no_answer_is_not_waited_for_for_ever(folder: Path) -> None:
    ended = asyncio.Event()

    async def work() -> Result:
        await ended.wait()
        return {}

    async with serving(folder, work):
        with pytest.raises(CommandError, match="no answer in 0 s; it may still be at work on work"):
            await ask_server(folder, "work", {}, 0.01)
        ended.set()


async def test_a_result_is_given_however_long_it_may_take(folder: Path) -> None:
    async def work() -> Result:
        return {"done": True}

    async with serving(folder, work):
        assert await ask_server(folder, "work", {}, None) == {"done": True}
