"""Bad input over real sockets: a clear 4xx, memory flat, the next request served."""

from __future__ import annotations

import asyncio
import gzip
import os
import re
import zlib
from typing import TYPE_CHECKING

import orjson
import pytest

from ingest import front, reading
from ingest.collector import CollectorSettings
from ingest.decode import MAX_BODY
from tests.ingest.collecting import HOUR, KEY, URL, collecting, make_event

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from sqlalchemy.ext.asyncio import AsyncEngine

    from tests.ingest.collecting import Door

STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")
PAGE = os.sysconf("SC_PAGE_SIZE")
PATIENCE = 60.0


@pytest.fixture
async def door(tmp_path: Path, control: AsyncEngine) -> AsyncIterator[Door]:
    async with collecting(tmp_path, control) as door:
        yield door
        assert (await door.post(make_event())).status == 202  # whatever came before, the next is served


async def send(door: Door, *pieces: bytes) -> bytes:
    """Send bytes as they are, each piece by itself, and read until the server closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        return await asyncio.wait_for(reader.read(), PATIENCE)
    finally:
        writer.close()


def make_post(body: bytes, *headers: str) -> bytes:
    lines = ["POST /v1/events HTTP/1.1", "Host: x", "Content-Type: application/json", *headers]
    return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode("utf-8", "surrogateescape") + body


def to_statuses(answer: bytes) -> list[int]:
    return [int(found) for found in STATUS.findall(answer)]


def read_memory() -> int:
    """Bytes that are resident."""
    with open("/proc/self/statm", "rb") as file:  # noqa: PTH123 - not a path of ours
        return int(file.read().split()[1]) * PAGE


BODIES = {
    "truncated": b'{"site_key":"sk_live_a","url":"https://exa',
    "nested": b'{"site_key":"sk_live_a","props":' + b"[" * 20_000,
    "nested-whole": b'{"a":' * 500 + b"1" + b"}" * 500,
    "latin-1": '{"site_key":"sk_live_a","title":"ü"}'.encode("latin-1"),
    "utf-16": '{"site_key":"sk_live_a"}'.encode("utf-16"),
    "surrogate": b'{"site_key":"sk_live_a","title":"\\ud800"}',
    "raw-surrogate": b'{"site_key":"sk_live_a","title":"\xed\xa0\x80"}',
    "infinity": b'{"site_key":"sk_live_a","screen_width":1e400}',
    "large-number": b'{"site_key":"sk_live_a","url":"https://e.org","screen_width":' + b"9" * 5000 + b"}",
    "nul-key": orjson.dumps(make_event(props={"a\0b": 1})),
    "nul-value": orjson.dumps(make_event(title="a\0b")),
    "raw-nul": b'{"site_key":"sk_live_a\0"}',
    "many-props": orjson.dumps(make_event(props={str(n): n for n in range(5000)})),
    "large-event": orjson.dumps(make_event(title="x" * 100_000)),
    "scalar": b"5",
    "string": b'"sk_live_a"',
    "key-of-another-type": b'{"site_key":["sk_live_a"],"url":"https://e.org"}',
}


@pytest.mark.parametrize("name", BODIES)
async def test_a_bad_body_is_a_400_with_a_reason(door: Door, name: str) -> None:
    reply = await door.post(BODIES[name])
    assert reply.status == 400
    assert reply.json["code"] == "BAD_REQUEST"
    assert len(reply.codes) == 1
    assert await door.read_lines() == []


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"x" * (MAX_BODY + 1), {}, 413),
        (b"[" + b"1," * 1000 + b"1]", {}, 413),
        (b"[" * 1_000_000, {}, 413),
        (gzip.compress(b"\0" * 300_000_000), {"Content-Encoding": "gzip"}, 413),
        (gzip.compress(gzip.compress(b"{}")), {"Content-Encoding": "gzip"}, 400),
        (b"not packed", {"Content-Encoding": "gzip"}, 400),
        (gzip.compress(b"{}")[:-3], {"Content-Encoding": "gzip"}, 400),
        (zlib.compress(b"{}"), {"Content-Encoding": "deflate"}, 415),
        (b"{}", {"Content-Encoding": "br"}, 415),
        (b"{}", {"Content-Type": "application/x-www-form-urlencoded"}, 415),
        (b"{}", {"Content-Type": "application/json; charset=utf-16"}, 415),
        (b"{}", {"Content-Type": ""}, 415),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_a_body_that_is_not_taken_says_why(door: Door, body: bytes, headers: dict[str, str], status: int) -> None:
    reply = await door.post(body, headers)
    assert (reply.status, reply.json["request_id"]) == (status, reply.headers["X-Request-Id"])
    assert await door.read_counts() == {}


async def test_a_million_empty_lists_take_no_memory_to_keep(door: Door) -> None:
    body = gzip.compress(b"[" + b"[]," * 600_000 + b"[]]")
    await door.post(body, {"Content-Encoding": "gzip"})
    before = read_memory()
    for _ in range(20):
        assert (await door.post(body, {"Content-Encoding": "gzip"})).status == 413
    assert read_memory() - before < 30_000_000


async def test_packed_rubbish_is_limited_as_records_are(tmp_path: Path, control: AsyncEngine) -> None:
    async with collecting(tmp_path, control, CollectorSettings(per_address=2)) as door:
        bomb = gzip.compress(b"\0" * 3_000_000)
        statuses = [(await door.post(bomb, {"Content-Encoding": "gzip"})).status for _ in range(6)]
        assert statuses == [413, 413, 413, 413, 413, 429]


@pytest.mark.parametrize(
    "header",
    [b"X-Large: " + b"x" * 10_000_000, b"GET /" + b"x" * 10_000_000, b"X-A: b\r\n" * 500_000],
    ids=["value", "line", "many"],
)
async def test_ten_megabytes_of_headers_are_cut_off(door: Door, header: bytes) -> None:
    before = read_memory()
    head = b"" if header.startswith(b"GET") else b"POST /v1/events HTTP/1.1\r\n"
    answer = await send(door, head + header + b"\r\n\r\n")
    assert to_statuses(answer) in ([431], [400])
    assert read_memory() - before < 60_000_000


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),  # TLS
        b"nonsense\r\n\r\n",
        b"POST /v1/events HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
        b"POST /v1/events HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /v1/events HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        b"POST /v1/events HTTP/1.1\r\nHost: x\r\nbad header\r\n\r\n",
        b"POST /v1/events HTTP/1.1\r\nHost: x\r\nX: a\0b\r\n\r\n",
    ],
)
async def test_what_is_not_http_is_a_400_and_closed(
    door: Door, request_bytes: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    answer = await send(door, request_bytes)
    assert to_statuses(answer) == [400]
    assert b"X-Request-Id: req_" in answer
    assert b"Connection: close" in answer
    assert "127.0.0.1" not in caplog.text


async def test_broken_chunks_are_a_400(door: Door) -> None:
    head = make_post(b"").replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
    assert to_statuses(await send(door, head, b"zz\r\n{}\r\n")) == [400]


async def test_a_chunked_body_is_taken(door: Door) -> None:
    body = orjson.dumps(make_event())
    head = make_post(b"", "Connection: close").replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
    pieces = [b"%x\r\n%s\r\n" % (len(body[at : at + 9]), body[at : at + 9]) for at in range(0, len(body), 9)]
    assert to_statuses(await send(door, head, *pieces, b"0\r\n\r\n")) == [202]


async def test_a_sender_who_expects_to_be_told_to_continue_is_told(door: Door) -> None:
    body = orjson.dumps(make_event())
    whole = make_post(body, "Connection: close", "Expect: 100-continue")
    head, _, _ = whole.partition(b"\r\n\r\n")
    reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
    writer.write(head + b"\r\n\r\n")
    assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    writer.write(body)
    assert to_statuses(await reader.read()) == [202]
    writer.close()


async def test_a_body_that_never_ends_is_a_408_and_holds_little(
    tmp_path: Path, control: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "BODY_SECONDS", 1.0)
    async with collecting(tmp_path, control) as door:
        head = make_post(b"x" * 1000)[:-900]
        readers = [await asyncio.open_connection("127.0.0.1", door.port) for _ in range(50)]
        for _, writer in readers:
            writer.write(head)
        for reader, writer in readers:
            answer = await asyncio.wait_for(reader.read(), PATIENCE)
            assert to_statuses(answer) == [408]
            assert b"Connection: close" in answer
            writer.close()
        assert (await door.post(make_event())).status == 202


async def test_slow_bodies_together_hold_bounded_memory(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MAX_UNFINISHED", 3_000_000)
    head = make_post(b"x" * 1_000_000)[:-1]
    connections = [await asyncio.open_connection("127.0.0.1", door.port) for _ in range(6)]
    for _, writer in connections:
        writer.write(head)
    answers = [asyncio.create_task(reader.readuntil(b"\r\n")) for reader, _ in connections]
    async with asyncio.timeout(PATIENCE):
        while sum(answer.done() for answer in answers) < 3:  # noqa: ASYNC110 - the others are never done
            await asyncio.sleep(0.01)
    done, waiting = await asyncio.wait(answers, timeout=1)
    assert [to_statuses(answer.result()) for answer in done] == [[503]] * len(done)
    assert 3 <= len(done) < 6  # who came first may go on
    for answer in waiting:
        answer.cancel()
    for _, writer in connections:
        writer.close()


async def test_headers_that_never_end_are_cut_off(
    tmp_path: Path, control: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(front, "KEEPALIVE_SECONDS", 0.3)
    async with collecting(tmp_path, control) as door:
        reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
        writer.write(b"POST /v1/events HTTP/1.1\r\nX-Slow: ")
        assert await asyncio.wait_for(reader.read(), PATIENCE) == b""
        writer.close()


async def test_a_sender_who_leaves_is_no_error(door: Door, caplog: pytest.LogCaptureFixture) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", door.port)
    writer.write(make_post(b"x" * 1000)[:-900])
    await writer.drain()
    writer.transport.abort()
    body = orjson.dumps(make_event(title="left"))
    for _ in range(20):
        _, writer = await asyncio.open_connection("127.0.0.1", door.port)
        writer.write(make_post(body))
        writer.close()  # without waiting for the answer
        await writer.wait_closed()
    assert (await door.post(make_event())).status == 202
    assert caplog.text == ""


async def test_bytes_that_are_not_text_in_headers_do_no_harm(door: Door) -> None:
    body = orjson.dumps({"url": URL})
    whole = make_post(body, "Connection: close", "X-Site-Key: " + KEY, "User-Agent: \udcff\udcfe")
    assert to_statuses(await send(door, whole)) == [202]
    assert [line["user_agent"] for line in await door.read_lines()] == ["??"]
    wrong = make_post(body, "Connection: close", "X-Site-Key: \udcff", "X-Forwarded-For: \udcff")
    assert to_statuses(await send(door, wrong)) == [400]
    assert to_statuses(await send(door, make_post(body, "Connection: close", "Authorization: Bearer \udcff"))) == [401]


@pytest.mark.parametrize(
    "query",
    [
        "site_key=sk_live_a&url=%00",
        "site_key=sk_live_a&url=https%3A%2F%2Fe.org%2F%ff%fe%00",
        "site_key=sk_live_a&url=https://e.org&props={",
        "site_key=sk_live_a&url=https://e.org&props=[1]",
        "site_key=sk_live_a&url=https://e.org&screen_width=99999999999999999999",
        "site_key=sk_live_a&url=https://e.org&screen_width=١",  # noqa: RUF001 - a digit elsewhere
        "site_key=%ed%a0%80&url=https://e.org",
        "&".join(f"a{n}=1" for n in range(100)),
        "",
    ],
)
async def test_a_bad_image_query_is_a_400(door: Door, query: str) -> None:
    assert (await door.request("GET", f"/v1/pixel.gif?{query}")).status == 400


async def test_refusals_of_bad_bodies_are_counted_where_the_header_names_the_site(door: Door) -> None:
    assert (await door.post(b"{", {"X-Site-Key": KEY})).status == 400
    assert (await door.post(b"{")).status == 400
    assert await door.log.wait({0: 0}, PATIENCE)
    assert await door.read_counts() == {(1, HOUR, ""): 1, (1, HOUR, "malformed"): 1}
