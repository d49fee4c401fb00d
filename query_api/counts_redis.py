"""Counts in Redis, for all query servers together. Loaded only where it is used.

Times are the server's own wherever Redis can tell them, so clocks of machines that differ move no place's end.
"""

from __future__ import annotations

import asyncio
import re
import secrets
from contextlib import suppress
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qs, urlsplit, urlunsplit

import structlog
from limits.aio.storage import RedisStorage
from redis import exceptions
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from query_api.counts import Counts
from query_api.limits_errors import LimitsUnusableError
from schemas.passwords import ESCAPES, PasswordFileError, read_password_file, split_credentials

if TYPE_CHECKING:
    from collections.abc import Mapping

    from query_api.counts import Lane

EXAMPLE = "redis://:password@host:6379/0"
OPTIONS = ("password_file", "ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
AWAY: Final = (exceptions.RedisError, OSError)  # TimeoutError is an OSError
PREFIX = "pulse"
CONNECTIONS = 16
ANSWER_SECONDS = 0.25
LEASE_SECONDS = 30.0  # how long a process that vanished keeps its places

NOW = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
"""
ENTER = f"""{NOW}
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
if redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[2]) then return 0 end
redis.call('ZADD', KEYS[1], now + ARGV[3], ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1
"""
RENEW = f"""{NOW}
for place = 2, #ARGV do redis.call('ZADD', KEYS[1], now + ARGV[1], ARGV[place]) end
redis.call('PEXPIRE', KEYS[1], ARGV[1])
"""
COUNT = f"{NOW} return redis.call('ZCOUNT', KEYS[1], now, '+inf')"

log = structlog.get_logger()


class RedisCounts(Counts):
    """Windows and places in Redis; raises one of `away` when it does not answer in time."""

    away: Final = AWAY

    def __init__(self, url: str) -> None:
        """Connect to nothing yet; LimitsUnusableError for a URL that cannot be one."""
        pool = _make_pool(url)
        self._redis = Redis(connection_pool=pool)
        storage = RedisStorage(
            "async+redis://",
            implementation="redispy",
            key_prefix=PREFIX,
            connection_pool=pool,  # type: ignore[arg-type]
        )
        self._places = RedisPlaces(self._redis)
        super().__init__(storage, self._places)

    async def check(self) -> None:
        """LimitsUnusableError when the server cannot be reached or refuses us."""
        options = self._redis.connection_pool.connection_kwargs
        at = f"Redis at {options['host']}:{options.get('port', 6379)}"
        try:
            await self._redis.ping()
        except (exceptions.AuthenticationError, exceptions.ResponseError) as error:
            problem = f"{at} refuses the password, or what else the URL asks for: {to_reason(error)}"
            raise LimitsUnusableError(problem) from error
        except AWAY as error:
            problem = f"{at} cannot be reached: {to_reason(error)}"
            raise LimitsUnusableError(problem) from error

    def forget(self, ticket: str) -> None:
        """Renew this place no more, whether Redis can be told of it or not."""
        self._places.forget(ticket)

    async def close(self) -> None:
        """Let go of the connections; places that are held come back when their leases end."""
        await self._places.close()
        await self._redis.connection_pool.disconnect()


class RedisPlaces:
    """Each place is a lease that is renewed as long as it is held: a process that vanishes loses them."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._enter = redis.register_script(ENTER)
        self._renew = redis.register_script(RENEW)
        self._count = redis.register_script(COUNT)
        self._held: set[str] = set()  # a ticket is the key in Redis, a space, and what is unique
        self._renewing: asyncio.Task[None] | None = None

    async def enter(self, lane: Lane, key_id: int, limit: int) -> str | None:
        """See `Places`."""
        key = _to_key(lane, key_id)
        ticket = f"{key} {secrets.token_hex(8)}"
        if not await self._enter([key], [ticket, limit, round(LEASE_SECONDS * 1000)]):
            return None
        self._held.add(ticket)
        if self._renewing is None or self._renewing.done():
            self._renewing = asyncio.create_task(self._keep(), name="places in Redis")
        return ticket

    async def leave(self, ticket: str) -> None:
        """See `Places`. Should this fail, the place comes back when its lease ends."""
        await self._redis.zrem(ticket.partition(" ")[0], ticket)

    def forget(self, ticket: str) -> None:
        """Renew it no more."""
        self._held.discard(ticket)

    async def count(self, lane: Lane, key_id: int) -> int:
        """See `Places`."""
        return int(await self._count([_to_key(lane, key_id)]))

    async def close(self) -> None:
        """Renew no more."""
        if self._renewing is not None:
            self._renewing.cancel()
            with suppress(asyncio.CancelledError):
                await self._renewing

    async def _keep(self) -> None:
        """Renew every lease three times before it ends, while there are any; also one that a restart has lost."""
        while self._held:
            await asyncio.sleep(LEASE_SECONDS / 3)
            by_key: dict[str, list[str]] = {}
            for ticket in self._held:
                by_key.setdefault(ticket.partition(" ")[0], []).append(ticket)
            try:
                for key, tickets in by_key.items():
                    await self._renew([key], [round(LEASE_SECONDS * 1000), *tickets])
            except AWAY as error:
                log.warning("places_not_renewed", places=len(self._held), problem=to_reason(error))


def to_reason(error: Exception) -> str:
    """One line; a timeout says nothing by itself."""
    return " ".join(str(error).split()) or type(error).__name__


def _to_key(lane: Lane, key_id: int) -> str:
    return f"{PREFIX}:at_once:{lane}:{key_id}"


def _make_pool(url: str) -> BlockingConnectionPool:
    """The connections; a stale one is replaced once, nothing is tried longer than `ANSWER_SECONDS`."""
    try:
        split_credentials(url)
        parts = urlsplit(url)
        is_whole = parts.scheme in {"redis", "rediss"} and bool(parts.hostname) and parts.port != 0 and "#" not in url
    except ValueError:  # its text may hold a piece of the password
        is_whole = False
    if not is_whole or not re.fullmatch(r"(/\d*)?", parts.path):
        message = f"write memory:// or {EXAMPLE} (rediss:// with TLS); {ESCAPES}"
        raise LimitsUnusableError(message)
    options = _read_options(parts.query)
    credentials = {}
    if "password_file" in options:
        credentials["password"] = _read_password(options.pop("password_file"), parts.password)
    return BlockingConnectionPool.from_url(
        urlunsplit(parts._replace(query="")),
        max_connections=CONNECTIONS,
        timeout=ANSWER_SECONDS,
        socket_timeout=ANSWER_SECONDS,
        socket_connect_timeout=ANSWER_SECONDS,
        retry=Retry(NoBackoff(), 1),
        **credentials,
        **options,
    )


def _read_options(query: str) -> dict[str, str]:
    found: Mapping[str, list[str]] = parse_qs(query, keep_blank_values=True)
    unknown = [name for name in found if name not in OPTIONS]
    if unknown:
        message = f"{unknown[0]!r} is not known, the options are {', '.join(OPTIONS)}"
        raise LimitsUnusableError(message)
    return {name: values[-1] for name, values in found.items()}


def _read_password(file: str, given: str | None) -> str:
    try:
        return read_password_file(file, given)
    except PasswordFileError as error:
        raise LimitsUnusableError(str(error)) from error
