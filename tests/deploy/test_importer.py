"""The import is a client of POST /v1/events: every line finds its place, and a second run sends the same ids."""

from __future__ import annotations

import gzip
import hashlib
from typing import TYPE_CHECKING
from uuid import UUID

import orjson
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from backports import zstd

from deploy.importer import NAMESPACE, ImportFailedError, Summary, Target, import_access_logs
from tests.deploy.test_access_log import make_line

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

Event = dict[str, str | int]


class Recorder:
    """Takes events as the collector does and keeps them; refuses a path of /refused, can be away for a while."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.away = 0
        self.base = ""

    async def collect(self, request: web.Request) -> web.Response:
        """Answer in the shape of the contract."""
        assert request.headers["X-Site-Key"] == "sk_live_x"
        assert request.headers["Authorization"] == "Bearer ak_live_x"
        if self.away:
            self.away -= 1
            return web.Response(status=503, headers={"Retry-After": "0.01"})
        events = orjson.loads(await request.read())
        assert len(events) <= 1000
        refused = [index for index, event in enumerate(events) if event["url"].endswith("/refused")]
        self.events += [event for index, event in enumerate(events) if index not in refused]
        answer = {"accepted": len(events) - len(refused), "refused": [{"index": i, "code": "bad_url"} for i in refused]}
        return web.json_response(answer, status=202 if answer["accepted"] else 400)


@pytest.fixture
async def recorder() -> AsyncIterator[Recorder]:
    """A recorder that listens."""
    recorder = Recorder()
    app = web.Application()
    app.router.add_post("/v1/events", recorder.collect)
    async with TestServer(app) as server:
        recorder.base = str(server.make_url(""))
        yield recorder


async def run_import(recorder: Recorder, *files: Path) -> Summary:
    target = Target(recorder.base, "blog.example", "sk_live_x", "ak_live_x")
    return await import_access_logs(list(files), target, lambda _file, _position, _lines: None)


async def test_every_line_finds_its_place(recorder: Recorder, tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    lines = [
        make_line(),
        make_line("POST / HTTP/1.1"),
        make_line(status="404"),
        make_line("GET /a.css HTTP/1.1"),
        b"nonsense",
        make_line("GET /refused HTTP/1.1"),
    ]
    log.write_bytes(b"\n".join(lines))
    summary = await run_import(recorder, log)
    assert summary.adds_up
    assert (summary.lines, summary.sent, dict(summary.refused)) == (6, 1, {"bad_url": 1})
    assert dict(summary.skipped) == {"method": 1, "status": 1, "asset": 1, "malformed": 1}
    assert summary.malformed_lines == ["access.log:5"]


async def test_a_second_run_sends_the_same_ids_and_equal_lines_have_different_ones(
    recorder: Recorder, tmp_path: Path
) -> None:
    log, packed = tmp_path / "a.log", tmp_path / "a.log.gz"
    text = b"\n".join([make_line()] * 3 + [make_line("GET /other HTTP/1.1")]) + b"\n"
    log.write_bytes(text)
    packed.write_bytes(gzip.compress(text))
    await run_import(recorder, log)
    first = sorted(str(event["event_id"]) for event in recorder.events)
    assert len(set(first)) == 4
    recorder.events.clear()
    await run_import(recorder, packed)
    assert sorted(str(event["event_id"]) for event in recorder.events) == first


async def test_the_ids_are_those_of_every_import_before(recorder: Recorder, tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    log.write_bytes(b"\n".join([make_line()] * 12))
    await run_import(recorder, log)
    begin = NAMESPACE + b"blog.example\0" + make_line() + b"\0"
    digests = [hashlib.sha1(begin + b"%d" % before, usedforsecurity=False).digest() for before in range(12)]
    assert [event["event_id"] for event in recorder.events] == [str(UUID(bytes=d[:16], version=5)) for d in digests]


async def test_one_visitors_lines_arrive_in_file_order(recorder: Recorder, tmp_path: Path) -> None:
    log = tmp_path / "a.log.zst"
    lines = [
        make_line(f"GET /{number} HTTP/1.1").replace(b"83.149.9.216", b"10.0.0.%d" % (number % 7))
        for number in range(5000)
    ]
    log.write_bytes(zstd.compress(b"\n".join(lines)))
    summary = await run_import(recorder, log)
    assert summary.sent == 5000
    for address in {event["ip"] for event in recorder.events}:
        numbers = [int(str(e["url"]).rpartition("/")[2]) for e in recorder.events if e["ip"] == address]
        assert numbers == sorted(numbers)


async def test_a_server_that_was_away_gets_the_events_later(recorder: Recorder, tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    log.write_bytes(make_line())
    recorder.away = 2
    assert (await run_import(recorder, log)).sent == 1


async def test_a_server_that_refuses_as_a_whole_ends_the_import(recorder: Recorder, tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    log.write_bytes(make_line())
    target = Target(recorder.base + "/nowhere", "blog.example", "sk_live_x", "ak_live_x")
    with pytest.raises(ImportFailedError, match="404"):
        await import_access_logs([log], target, lambda _file, _position, _lines: None)


async def test_a_broken_file_is_named(recorder: Recorder, tmp_path: Path) -> None:
    log = tmp_path / "a.log.gz"
    log.write_bytes(gzip.compress(make_line() * 100)[:-20])
    with pytest.raises(ImportFailedError, match=r"a\.log\.gz"):
        await run_import(recorder, log)


async def test_a_file_that_is_not_what_its_name_says_is_named(recorder: Recorder, tmp_path: Path) -> None:
    log = tmp_path / "a.log.zst"
    log.write_bytes(make_line() * 100)
    with pytest.raises(ImportFailedError, match=r"a\.log\.zst: .+ \(after 0 lines\)"):
        await run_import(recorder, log)
