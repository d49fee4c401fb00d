"""One-use tokens for streams: a browser's EventSource sends no headers, and a key never stands in a URL."""

from __future__ import annotations

import secrets
from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import delete, insert

from query_api.control.keys import to_digest
from query_api.control.unavailable import telling_unavailable
from query_api.errors import UnauthorizedError
from schemas.api import StreamToken
from schemas.control.tables import stream_tokens

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncEngine

PREFIX = "st_"
BYTES = 24
LIFE = timedelta(seconds=60)


async def create_token(engine: AsyncEngine, key_id: int, now: datetime) -> StreamToken:
    """Make a token that stands for the key once within 60 s; those that nobody used are swept out."""
    token = PREFIX + secrets.token_urlsafe(BYTES)
    row = {"digest": to_digest(token), "key_id": key_id, "expires_at": now + LIFE}
    with telling_unavailable():
        async with engine.begin() as connection:
            await connection.execute(delete(stream_tokens).where(stream_tokens.c.expires_at <= now))
            await connection.execute(insert(stream_tokens).values(row))
    return StreamToken(token=token, expires_at=now + LIFE)


async def spend_token(engine: AsyncEngine, token: str, now: datetime) -> int:
    """The id of the key that it stands for; the token is gone afterwards. UnauthorizedError when it is no good."""
    used = delete(stream_tokens).where(stream_tokens.c.digest == to_digest(token)).returning(stream_tokens)
    with telling_unavailable():
        async with engine.begin() as connection:
            row = (await connection.execute(used)).one_or_none()
    if row is None or row.expires_at <= now:
        message = "This stream token was used or has expired: POST /v1/stream-tokens makes another one"
        raise UnauthorizedError(message)
    return int(row.key_id)
