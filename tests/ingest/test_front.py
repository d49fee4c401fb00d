"""The door: the short way and aiohttp's way, on one connection, with an application behind."""

from __future__ import annotations

import asyncio
import re
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import orjson
import pytest
from aiohttp import http_parser, web

from ingest.front import Front, SlowParserError, front_alone
from ingest.log.open import open_log
from ingest.log.sqlite_room import Keeping
from tests.ingest.collecting import KEY, NOW, collecting, make_event, serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from sqlalchemy.ext.asyncio import AsyncEngine

    from ingest.log import EventLog
    from schemas.event import BlockHeaders
    from tests.ingest.collecting import Door

ANSWER = re.compile(rb"HTTP/1\.1 (\d{3}) .*?\r\n\r\n", re.DOTALL)


@pytest.fixture
async def door(tmp_path: Path, control: AsyncEngine) -> AsyncIterator[Door]:
    async with collecting(tmp_path, control) as door:
        yield door


def make_post(event: object, *headers: str) -> bytes:
    body = orjson.dumps(event)
    lines = ["POST /v1/events HTTP/1.1", "Host: x", "Content-Type: application/json", *headers]
    return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode() + body


async def say_page(request: web.Request) -> web.Response:
    return web.Response(text=f"page {request.method} {request.match_info.get('name', '')}")


class HeldLog:
    """A log that takes a block only when it is let go."""

    def __init__(self, log: EventLog) -> None:
        self.partitions = log.partitions
        self.taken = asyncio.Event()
        self.go = asyncio.Event()
        self._log = log

    async def append(self, partition: int, headers: BlockHeaders, body: bytes) -> int:
        """Wait, then append."""
        self.taken.set()
        await self.go.wait()
        return await self._log.append(partition, headers, body)


@asynccontextmanager
async def fronting(door: Door) -> AsyncIterator[int]:
    """An application behind the door's collector, all on one port."""
    app = web.Application()
    app.router.add_get("/v1/events", say_page)
    app.router.add_get("/page/{name}", say_page)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    assert runner.server is not None
    front = Front(door.collector, runner.server.request_handler, runner.server.request_factory)
    try:
        async with serving(front) as port:
            yield port
    finally:
        await runner.cleanup()


async def talk(port: int, *pieces: bytes) -> list[int]:
    """Send on one connection and give the statuses, up to the one that closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for piece in pieces:
        writer.write(piece)
        await asyncio.sleep(0)
    answer = await asyncio.wait_for(reader.read(), 60)
    writer.close()
    return [int(found) for found in ANSWER.findall(answer)]


CLOSE = b"GET /none HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


async def test_one_connection_takes_both_ways_in_order(door: Door) -> None:
    good, bad = make_post(make_event()), make_post({})
    assert await talk(door.port, good + bad + good + bad + CLOSE) == [202, 400, 202, 400, 404]
    assert await talk(door.port, good, bad, good, CLOSE) == [202, 400, 202, 404]
    assert await talk(door.port, good[:-5], good[-5:] + bad, CLOSE) == [202, 400, 404]
    assert await talk(door.port, good[:50], good[50:], good, CLOSE) == [202, 202, 404]
    assert len(await door.read_lines()) == 7


async def test_what_is_pipelined_behind_waits_its_turn(door: Door) -> None:
    events = [make_post(make_event(title=str(number))) for number in range(100)]
    assert await talk(door.port, *events, CLOSE) == [202] * 100 + [404]
    titles = [line["title"] for line in await door.read_lines()]
    assert titles == [str(number) for number in range(100)]


async def test_a_connection_is_closed_when_the_sender_wants_it(door: Door) -> None:
    assert await talk(door.port, make_post(make_event(), "Connection: close")) == [202]
    old = make_post(make_event()).replace(b"HTTP/1.1", b"HTTP/1.0")
    assert await talk(door.port, old) == [202]


async def test_an_application_lives_behind_the_same_port(door: Door) -> None:
    async with fronting(door) as port:
        base = f"http://127.0.0.1:{port}"
        async with door.session.get(f"{base}/v1/events") as response:
            assert (response.status, await response.text()) == (200, "page GET ")
        async with door.session.get(f"{base}/page/a%20b?x=1") as response:
            assert await response.text() == "page GET a b"
        async with door.session.post(f"{base}/v1/events", json=make_event()) as response:
            assert response.status == 202
        async with door.session.post(f"{base}/v1/events?x=1", json=make_event()) as response:
            assert response.status == 202
        async with door.session.get(f"{base}/nothing") as response:
            assert response.status == 404
        async with door.session.options(f"{base}/v1/events") as response:
            assert response.status == 204


async def test_a_stop_answers_what_is_under_way(tmp_path: Path, control: AsyncEngine) -> None:
    log = await open_log(f"sqlite:///{tmp_path}/held.db", Keeping(), lambda: NOW)
    held = HeldLog(log)
    async with collecting(tmp_path, control, log=held) as door:  # type: ignore[arg-type]  # appends only
        reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
        writer.write(make_post(make_event()))
        await held.taken.wait()
        asyncio.get_running_loop().call_later(0.05, held.go.set)  # while the server is stopping
    assert (await reader.read()).startswith(b"HTTP/1.1 202 ")
    writer.close()
    await log.close()


async def test_without_the_c_parser_it_does_not_start(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_parser, "HttpRequestParser", http_parser.HttpRequestParserPy)
    with pytest.raises(SlowParserError, match="C parser"):
        front_alone(door.collector)


async def test_an_idle_connection_is_closed_also_after_the_short_way(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingest.front.KEEPALIVE_SECONDS", 0.2)
    assert await talk(door.port, make_post(make_event())) == [202]
    assert await talk(door.port, make_post(make_event()) + make_post(make_event(site_key=KEY))) == [202, 202]
