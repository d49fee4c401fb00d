"""Answers of the collector as bytes: one write each, no header objects on the way.

Every answer has a request id and may be read from any origin.
"""

from __future__ import annotations

import itertools
import secrets
from email.utils import formatdate
from http import HTTPStatus
from typing import TYPE_CHECKING, NamedTuple

import orjson
from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from aiohttp.abc import AbstractStreamWriter

    from ingest.admit import Refusal

CODES: Mapping[int, str] = {
    400: "BAD_REQUEST",
    401: "UNAUTHORIZED",
    403: "FORBIDDEN",
    404: "NOT_FOUND",
    405: "METHOD_NOT_ALLOWED",
    408: "REQUEST_TIMEOUT",
    413: "PAYLOAD_TOO_LARGE",
    415: "UNSUPPORTED_MEDIA_TYPE",
    429: "RATE_LIMITED",
    431: "HEADERS_TOO_LARGE",
    500: "INTERNAL_ERROR",
    503: "UNAVAILABLE",
}
NO_CONTENT = 204
NOT_MODIFIED = 304
ACCEPTED_ONE = b'{"accepted":1,"refused":[]}'
JSON = "Content-Type: application/json\r\nCache-Control: no-store\r\n"


class TurnedAwayError(Exception):
    """The request as a whole is not received: nothing of it is counted or kept. `retry_after` is in seconds.

    `ends` closes the connection, because what is left of the request will not be read.
    """

    def __init__(self, status: int, message: str, retry_after: int = 0, *, ends: bool = False) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.retry_after = retry_after
        self.ends = ends


class Answer(NamedTuple):
    """A whole answer in bytes, as HTTP/1.1 has it on a connection that stays open; `ends` closes it."""

    status: int
    content: bytes
    ends: bool = False


class Sent(web.StreamResponse):
    """An answer as aiohttp wants it: `prepare` writes it in one piece and nothing is left to do."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(status=answer.status)
        self._answer = answer
        self._stays = not answer.ends

    @property
    def keep_alive(self) -> bool:
        """Whether the connection stays open afterwards."""
        return self._stays

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter:
        """Write everything."""
        content = self._answer.content
        self._stays = self._stays and bool(request.keep_alive)
        if not self._stays:
            content = content.replace(b"\r\n", b"\r\nConnection: close\r\n", 1)
        elif request.version.minor == 0:
            content = content.replace(b"\r\n", b"\r\nConnection: keep-alive\r\n", 1)
        if request.method == "HEAD":
            content = content.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
        await request.writer.write(content)
        return request.writer

    async def write_eof(self, data: bytes = b"") -> None:
        """Everything is written."""


class Answers:
    """Makes answers; `clock` gives epoch milliseconds."""

    def __init__(self, clock: Callable[[], int]) -> None:
        self._clock = clock
        self._numbers = itertools.count(secrets.randbits(36))
        self._second = -1
        self._date = ""
        self._accepted = b""

    def accepted(self, count: int, refusals: Sequence[Refusal]) -> Answer:
        """202, for at least one accepted record."""
        if count == 1 and not refusals:
            body = ACCEPTED_ONE
        else:
            body = orjson.dumps({"accepted": count, "refused": [to_item(refusal) for refusal in refusals]})
        self._turn_second()
        return Answer(202, self._accepted % (next(self._numbers), len(body), body))

    def refused(self, refusals: Sequence[Refusal]) -> Answer:
        """400, for nothing accepted: the shape of an error with the verdict on every record."""
        reasons = dict.fromkeys(refusal.reason for refusal in refusals)
        request_id = self.make_id()
        body: dict[str, object] = {
            "error": " ".join(["No event was accepted.", *(reason.text for reason in reasons)]),
            "code": CODES[400],
            "field": next((reason.field for reason in reasons if reason.field), None),
            "details": [{"field": reason.field, "message": reason.text} for reason in reasons],
            "accepted": 0,
            "refused": [to_item(refusal) for refusal in refusals],
            "request_id": request_id,
        }
        return Answer(400, self.to_bytes(400, JSON, orjson.dumps(body), request_id))

    def turned_away(self, turned: TurnedAwayError) -> Answer:
        """An error for the whole request."""
        request_id = self.make_id()
        body = {"error": turned.message, "code": CODES[turned.status], "request_id": request_id}
        headers = f"{JSON}Retry-After: {turned.retry_after}\r\n" if turned.retry_after else JSON
        content = self.to_bytes(turned.status, headers, orjson.dumps(body), request_id)
        return Answer(turned.status, content, turned.ends)

    def make(self, status: int, headers: str, body: bytes) -> Answer:
        """Any other answer; `headers` are whole lines."""
        return Answer(status, self.to_bytes(status, headers, body, self.make_id()))

    def make_id(self) -> str:
        """An id that no other request of this process has, and hardly one of another."""
        return f"req_{next(self._numbers):010x}"

    def to_bytes(self, status: int, headers: str, body: bytes, request_id: str) -> bytes:
        """Give an answer as it goes out; a 204 and a 304 have no body."""
        self._turn_second()
        length = "" if status in (NO_CONTENT, NOT_MODIFIED) else f"Content-Length: {len(body)}\r\n"
        head = f"{to_head(status, self._date)}{headers}X-Request-Id: {request_id}\r\n{length}\r\n"
        return head.encode() + body

    def _turn_second(self) -> None:
        second = self._clock() // 1000
        if second != self._second:
            self._second = second
            self._date = formatdate(second, usegmt=True)
            head = to_head(202, self._date) + JSON
            self._accepted = head.encode() + b"X-Request-Id: req_%010x\r\nContent-Length: %d\r\n\r\n%s"


def to_head(status: int, date: str) -> str:
    """Give the lines that every answer begins with."""
    return (
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\nDate: {date}\r\n"
        "Access-Control-Allow-Origin: *\r\nAccess-Control-Expose-Headers: X-Request-Id, Retry-After\r\n"
    )


def to_item(refusal: Refusal) -> dict[str, int | str]:
    """Give one entry of `refused`."""
    return {"index": refusal.place, "code": refusal.reason, "reason": refusal.reason.text}
