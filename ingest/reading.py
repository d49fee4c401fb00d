"""Reads the body of a request within bounds of size, time and, for all requests together, memory."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from aiohttp import ClientError, web

from ingest.answers import TurnedAwayError
from ingest.decode import MAX_BODY

if TYPE_CHECKING:
    from aiohttp import StreamReader

BODY_SECONDS = 10.0
MAX_UNFINISHED = 32 * 1024 * 1024  # bytes of bodies that are still coming


class BodyReader:
    """Knows how much is held of bodies that are not complete yet."""

    def __init__(self) -> None:
        self.held = 0

    async def read(self, request: web.BaseRequest) -> bytes:
        """Give the whole body as it was sent; raise TurnedAwayError (400, 408, 413, 503)."""
        content = request.content
        if content.is_eof() and content.total_bytes <= MAX_BODY:
            return content.read_nowait()
        if (request.content_length or 0) > MAX_BODY:
            raise too_large()
        if request.headers.get("Expect", "").lower() == "100-continue":
            await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        try:
            async with asyncio.timeout(BODY_SECONDS):
                return await self._read_on(content)
        except TimeoutError as error:
            raise TurnedAwayError(408, "The body took too long to arrive.", ends=True) from error
        except (ClientError, ConnectionError, web.RequestPayloadError) as error:
            raise TurnedAwayError(400, "The body ended early or is not framed as HTTP says.", ends=True) from error

    async def _read_on(self, content: StreamReader) -> bytes:
        body = bytearray()
        try:
            while chunk := await content.readany():
                body += chunk
                self.held += len(chunk)
                if len(body) > MAX_BODY:
                    raise too_large()
                if self.held > MAX_UNFINISHED:
                    raise TurnedAwayError(503, "Too many requests are arriving slowly.", 1, ends=True)
            return bytes(body)
        finally:
            self.held -= len(body)


def too_large() -> TurnedAwayError:
    """Make the error for a body over the cap."""
    return TurnedAwayError(413, f"A body may have {MAX_BODY} bytes.", ends=True)
