"""The control plane on PostgreSQL. Loaded only where it is used: driver and dialect take long to load.

What the driver raises besides its own errors (a refused or lost connection, a timeout) comes out as SQLAlchemyError
here, as everywhere else: who goes on without the control plane catches that one class.
"""

from __future__ import annotations

import functools
import ssl
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Protocol, cast

import asyncpg  # type: ignore[import-untyped]
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError, InterfaceError, InvalidatePoolError
from sqlalchemy.ext.asyncio import create_async_engine

from schemas.control.errors import ControlUnusableError
from schemas.passwords import ESCAPES, PasswordFileError, read_password_file

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

    from sqlalchemy import URL
    from sqlalchemy.engine import ExceptionContext
    from sqlalchemy.engine.interfaces import DBAPIConnection
    from sqlalchemy.ext.asyncio import AsyncEngine
    from sqlalchemy.pool import ConnectionPoolEntry, PoolProxiedConnection

EXAMPLE = "postgresql://user:password@host:5432/database"
POOL = {"pool_size": 4, "max_overflow": 4, "pool_timeout": 10, "pool_recycle": 1800}
CONNECT_SECONDS = 5
STATEMENT_SECONDS = 5
ANSWER_SECONDS = 6  # for a server that has stopped answering; one that works ends the statement itself before
MODES = ("disable", "prefer", "require", "verify-ca", "verify-full")
OPTIONS = ("password_file", "sslmode", "sslrootcert", "sslcert", "sslkey")
SERVER_SETTINGS = {
    "application_name": "pulse",
    "statement_timeout": f"{STATEMENT_SECONDS}s",
    "idle_in_transaction_session_timeout": "60s",
    "tcp_keepalives_idle": "10",  # the server lets go of a process whose machine went away after 25 s
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
}
WRONG_PASSWORD, WRONG_USER, NO_DATABASE, NO_RIGHT, READ_ONLY = "28P01", "28000", "3D000", "42501", "25006"


class Driver(Protocol):
    """What is used of asyncpg's connection."""

    async def execute(self, query: str) -> str:
        """Run a statement."""

    async def fetchval(self, query: str, *values: object) -> object:
        """The one value of a statement."""

    async def add_listener(self, channel: str, callback: Callable[..., None]) -> None:
        """Call back for each notification."""

    def add_termination_listener(self, callback: Callable[..., None]) -> None:
        """Call back when the connection has ended, however it did."""

    def is_closed(self) -> bool:
        """Whether it has ended."""

    def terminate(self) -> None:
        """End it at once."""


def open_postgres(url: URL) -> AsyncEngine:
    """Make the engine of a URL like `EXAMPLE`; nothing is connected yet. ControlUnusableError for a wrong one.

    Options: `password_file`, read at each connection, so that it may change; `sslmode` as PostgreSQL's own programs
    know it (default `prefer`), where verify-ca and verify-full believe `sslrootcert` or else what the system believes;
    `sslcert` and `sslkey` for a certificate of ours.
    """
    if url.drivername != "postgresql":
        message = f"{url.drivername}:// is not known, write {EXAMPLE}"
        raise ControlUnusableError(message)
    missing = [name for name in ("host", "username", "database") if not getattr(url, name)]
    if missing:
        message = f"it names no {missing[0].replace('username', 'user')}, write {EXAMPLE}; {ESCAPES}"
        raise ControlUnusableError(message)
    options = _read_options(url)
    connect = functools.partial(
        asyncpg.connect,
        host=url.host,
        port=url.port or 5432,
        user=url.username,
        database=url.database,
        password=_read_password(url, options.get("password_file")),
        ssl=_to_ssl(options),
        timeout=CONNECT_SECONDS,
        command_timeout=ANSWER_SECONDS,
        server_settings=SERVER_SETTINGS,
    )
    plain = url.set(drivername="postgresql+asyncpg", query={})
    engine = create_async_engine(
        plain, hide_parameters=True, async_creator=functools.partial(_connect, connect), **POOL
    )
    event.listen(engine.sync_engine, "checkout", functools.partial(_refuse_dead, engine))
    event.listen(engine.sync_engine, "handle_error", _to_sqlalchemy)
    return engine


@asynccontextmanager
async def connecting_alone(engine: AsyncEngine) -> AsyncIterator[Driver]:
    """A connection of its own, in no pool and in no transaction, ended at the end. Raise SQLAlchemyError."""
    async with engine.connect() as connection:
        pooled = await connection.get_raw_connection()
        driver = cast("Driver", pooled.driver_connection)
        pooled.detach()
        try:
            yield driver
        finally:
            driver.terminate()  # not closed: that would wait for a server that may be gone


def explain(engine: AsyncEngine, error: DBAPIError) -> ControlUnusableError | None:
    """What is wrong with the setting, of an error at the first use; None when it is not the setting's fault."""
    url = engine.url
    at = f"{url.host}:{url.port or 5432}"
    causes = list(_causes(error))
    state = next((cause.sqlstate for cause in causes if isinstance(cause, asyncpg.PostgresError)), None)
    if state in {WRONG_PASSWORD, WRONG_USER}:
        return ControlUnusableError(f"PostgreSQL at {at} refuses the user {url.username!r} or its password")
    if state == NO_DATABASE:
        return ControlUnusableError(f"PostgreSQL at {at} has no database {url.database!r}: create it")
    if state == NO_RIGHT:
        problem = f"the user {url.username!r} may not make tables in {url.database!r}: make it the database's owner"
        return ControlUnusableError(problem)
    if state == READ_ONLY:
        return ControlUnusableError(f"PostgreSQL at {at} is read-only: name the primary server")
    if error.connection_invalidated or any(isinstance(cause, OSError) for cause in causes):
        return ControlUnusableError(f"PostgreSQL at {at} cannot be reached: {_to_reason(causes[-1])}")
    return None


async def _connect(connect: Callable[[], Awaitable[Driver]]) -> Driver:
    """Connect; what is no error of the driver becomes one."""
    try:
        return await connect()
    except (OSError, ValueError) as error:  # ValueError: what TLS or the password's file is at fault of
        raise asyncpg.InterfaceError(_to_reason(error)) from error


def _refuse_dead(
    engine: AsyncEngine, connection: DBAPIConnection, _entry: ConnectionPoolEntry, _pooled: PoolProxiedConnection
) -> None:
    """Ask a pooled connection whether it still works, so that a restarted server is not noticed (0.2 ms).

    SQLAlchemy's own `pool_pre_ping` lets through what is no error of the driver.
    """
    dialect = engine.dialect
    try:
        dialect.do_ping(connection)
    except (dialect.loaded_dbapi.Error, OSError) as error:
        raise InvalidatePoolError from error


def _to_sqlalchemy(context: ExceptionContext) -> InterfaceError | None:
    """The error to raise in place of one that SQLAlchemy would let through; such a connection is not used again."""
    error = context.original_exception
    if not isinstance(error, OSError):
        return None
    context.is_disconnect = True
    return InterfaceError(context.statement, None, ConnectionError(_to_reason(error)), connection_invalidated=True)


def _read_options(url: URL) -> Mapping[str, str]:
    options = {name: value for name, value in url.query.items() if isinstance(value, str)}
    unknown = url.query.keys() - OPTIONS
    if unknown or len(options) < len(url.query):
        name = min(unknown, default="the same option twice")
        message = f"{name!r} is not known, the options are {', '.join(OPTIONS)}"
        raise ControlUnusableError(message)
    if options.get("sslmode", MODES[0]) not in MODES:
        message = f"sslmode={options['sslmode']!r} is not known, write one of {', '.join(MODES)}"
        raise ControlUnusableError(message)
    return options


def _read_password(url: URL, file: str | None) -> str | Callable[[], str] | None:
    """The password, or what reads it."""
    if file is None:
        return url.password
    read = functools.partial(read_password_file, file, url.password)
    try:
        read()
    except PasswordFileError as error:
        raise ControlUnusableError(str(error)) from error
    return read


def _to_ssl(options: Mapping[str, str]) -> str | ssl.SSLContext:
    """What the driver takes: it reads the words below `verify-ca` as PostgreSQL's own programs do."""
    mode = options.get("sslmode", "prefer")
    if not mode.startswith("verify") and not options.keys() & {"sslrootcert", "sslcert", "sslkey"}:
        return mode
    try:
        context = ssl.create_default_context(cafile=options.get("sslrootcert"))
        if "sslcert" in options:
            context.load_cert_chain(options["sslcert"], options.get("sslkey"))
    except OSError as error:
        message = f"its certificates cannot be read: {_to_reason(error)}"
        raise ControlUnusableError(message) from error
    context.check_hostname = mode == "verify-full"
    if not mode.startswith("verify"):
        context.verify_mode = ssl.CERT_NONE
    return context


def _causes(error: BaseException) -> list[BaseException]:
    found = [error]
    while (cause := found[-1].__cause__) is not None:
        found.append(cause)
    return found


def _to_reason(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return " ".join(str(error).split()) or type(error).__name__
