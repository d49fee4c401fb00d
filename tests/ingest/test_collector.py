"""What a sender is told, and what of it is in the log."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

import orjson
import pytest

from ingest.blocks import FLUSH_SECONDS
from ingest.refused import Reason
from tests.ingest.collecting import HOUR, KEY, NOW, SCRIPT, URL, collecting, make_event

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from sqlalchemy.ext.asyncio import AsyncEngine

    from tests.ingest.collecting import Door


@pytest.fixture
async def door(tmp_path: Path, control: AsyncEngine) -> AsyncIterator[Door]:
    async with collecting(tmp_path, control) as door:
        yield door


async def test_an_accepted_event_is_durable_when_the_answer_comes(door: Door) -> None:
    reply = await door.post(make_event(title="Blog"), {"User-Agent": "Agent/1"})
    assert (reply.status, reply.json) == (202, {"accepted": 1, "refused": []})
    assert await door.read_lines() == [
        {
            "site_id": 1,
            "url": URL,
            "title": "Blog",
            "user_agent": "Agent/1",
            "ts": NOW,
            "received": NOW,
            "address": "127.0.0.1",
        }
    ]
    assert await door.read_counts() == {(1, HOUR, ""): 1}


async def test_every_record_is_accepted_or_refused_with_its_index(door: Door) -> None:
    records = [make_event(), {"site_key": "sk_live_nobody", "url": URL}, 5, make_event(url="/blog"), {"url": URL}]
    reply = await door.post(records)
    assert (reply.status, reply.json["accepted"]) == (202, 1)
    assert reply.codes == [(1, "unknown_site"), (2, "malformed"), (3, "bad_url"), (4, "no_site_key")]
    assert len(await door.read_lines()) == 1
    # What belongs to no site is counted in the metrics only.
    assert await door.read_counts() == {(1, HOUR, ""): 2, (1, HOUR, "bad_url"): 1}
    assert door.metrics.refused[Reason.UNKNOWN_SITE] == 1


async def test_nothing_accepted_is_a_400_in_the_shape_of_an_error(door: Door) -> None:
    reply = await door.post(make_event(url="about:blank"), {"X-Site-Key": KEY})
    assert reply.status == 400
    assert reply.json["code"] == "BAD_REQUEST"
    assert reply.json["field"] == "url"
    assert reply.json["accepted"] == 0
    assert reply.codes == [(0, "bad_url")]
    assert reply.json["request_id"] == reply.headers["X-Request-Id"]


@pytest.mark.parametrize("body", [b"", b"  \n", b"[]", b"\xef\xbb\xbf"])
async def test_a_request_without_an_event_is_a_400(door: Door, body: bytes) -> None:
    reply = await door.post(body)
    assert (reply.status, reply.json["code"]) == (400, "BAD_REQUEST")


async def test_refusals_without_a_block_are_in_the_log_within_a_second(door: Door) -> None:
    await door.post(make_event(name=""))
    assert FLUSH_SECONDS < 1
    assert await door.log.wait({0: 0}, 60.0)  # the machine may halt; the limit is what stands above
    [(_, headers)] = await door.log.read_headers(0, 0)
    assert (headers.lines, headers.first_received) == (0, NOW)
    assert await door.read_counts() == {(1, HOUR, ""): 1, (1, HOUR, "bad_name"): 1}


async def test_lines_may_come_as_ndjson_and_packed(door: Door) -> None:
    lines = b"\n".join(orjson.dumps(make_event(title=str(number))) for number in range(3))
    assert (await door.post(gzip.compress(lines), {"Content-Encoding": "gzip"})).json["accepted"] == 3
    reply = await door.post(lines + b"\nbroken\n" + lines, {"Content-Type": "text/plain;charset=UTF-8"})
    assert (reply.json["accepted"], reply.codes) == (6, [(3, "malformed")])


async def test_the_key_of_the_header_holds_where_an_event_has_none(door: Door) -> None:
    reply = await door.post([{"url": URL}, {"url": URL, "site_key": "other"}, b"x".decode()], {"X-Site-Key": KEY})
    assert (reply.json["accepted"], reply.codes) == (1, [(1, "unknown_site"), (2, "malformed")])
    assert await door.read_counts() == {(1, HOUR, ""): 2, (1, HOUR, "malformed"): 1}


async def test_any_page_may_post_and_read_the_answer(door: Door) -> None:
    preflight = await door.request("OPTIONS", "/v1/events", {"Origin": "https://a.example"})
    assert preflight.status == 204
    assert preflight.headers["Access-Control-Allow-Origin"] == "*"
    assert "POST" in preflight.headers["Access-Control-Allow-Methods"]
    assert int(preflight.headers["Access-Control-Max-Age"]) > 0
    for reply in (await door.post(make_event()), await door.post(b"{"), await door.post({}, {"Content-Type": "a/b"})):
        assert reply.headers["Access-Control-Allow-Origin"] == "*"
        assert reply.headers["X-Request-Id"].startswith("req_")


async def test_the_script_is_served_with_an_etag(door: Door) -> None:
    reply = await door.request("GET", "/script.js", {"Accept-Encoding": "identity"})
    assert (reply.status, reply.body) == (200, SCRIPT)
    assert reply.headers["Content-Type"] == "text/javascript; charset=utf-8"
    assert "max-age" in reply.headers["Cache-Control"]
    packed = await door.request("GET", "/script.js", {"Accept-Encoding": "gzip"})
    assert gzip.decompress(packed.body) == SCRIPT
    again = await door.request("GET", "/script.js", {"If-None-Match": reply.headers["ETag"]})
    assert (again.status, again.body) == (304, b"")
    head = await door.request("HEAD", "/script.js", {"Accept-Encoding": "identity"})
    assert (head.status, head.body, head.headers["Content-Length"]) == (200, b"", str(len(SCRIPT)))


async def test_an_image_is_an_event_too(door: Door) -> None:
    reply = await door.request(
        "GET", f"/v1/pixel.gif?site_key={KEY}&url=https%3A%2F%2Fa.example%2F%C3%BC&screen_width=800"
    )
    assert (reply.status, len(reply.body), reply.headers["Content-Type"]) == (200, 43, "image/gif")
    assert "no-store" in reply.headers["Cache-Control"]
    [line] = await door.read_lines()
    assert (line["url"], line["screen_width"]) == ("https://a.example/ü", 800)


async def test_an_image_without_url_counts_the_page_it_is_in(door: Door) -> None:
    await door.request("GET", f"/v1/pixel.gif?site_key={KEY}", {"Referer": URL})
    [line] = await door.read_lines()
    assert line["url"] == URL


async def test_a_refused_image_says_so_in_its_status(door: Door) -> None:
    reply = await door.request("GET", "/v1/pixel.gif?site_key=nobody&url=https://a.example/")
    assert (reply.status, len(reply.body)) == (400, 43)


async def test_other_paths_are_not_here(door: Door) -> None:
    assert (await door.request("GET", "/v1/stats")).status == 404
    assert (await door.request("GET", "/v1/events")).status == 404
