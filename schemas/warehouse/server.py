"""A connection to one ClickHouse server over HTTP: how it is opened, and what is asked before it is used.

clickhouse-connect 1.12 sends a request again by itself when the server closes the connection (also `raw_insert`, which
it takes for repeatable), and waits on 429, 503 and 504. Here only a SELECT may be sent twice; what writes never is:
`command` sends only what reads twice, and inserts go through our own request (server_insert.py).
"""

from __future__ import annotations

import logging
import math
import re
import time
from typing import TYPE_CHECKING

import clickhouse_connect
from clickhouse_connect.driver.exceptions import ClickHouseError
from clickhouse_connect.driver.httputil import get_pool_manager
from urllib3 import Timeout
from urllib3.exceptions import ConnectTimeoutError, HTTPError, MaxRetryError, NewConnectionError

from schemas.warehouse.address import refuse
from schemas.warehouse.cluster import PINNED_ON_CLUSTERS
from schemas.warehouse.errors import WarehouseError, WarehouseUnknownError
from schemas.warehouse.settings import NEWER, PINNED, PINNED_ON_SERVERS, SELECT_NAMES, refuse_other_settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from clickhouse_connect.driver.client import Client
    from urllib3 import PoolManager

    from schemas.warehouse.address import Address, Host

OLDEST = (25, 8)
OLDEST_REASON = "25.8 is the oldest long-term version that is still mended"
AUTHENTICATION = frozenset({192, 193, 194, 516})  # UNKNOWN_USER, WRONG_PASSWORD, REQUIRED_PASSWORD, …_FAILED
UNKNOWN_DATABASE, ACCESS_DENIED = 81, 497
# Exceptions that are thrown before the first row is written.
BEFORE_WRITING = frozenset(
    {
        *(192, 193, 194, 497, 516),  # who asks: unknown user, wrong password, required password, access, authentication
        *(
            16,
            46,
            47,
            48,
            50,
            53,
            60,
            62,
            81,
            115,
            164,
            202,
        ),  # what is asked: no such column, table, database, setting…
        *(
            6,
            8,
            10,
            25,
            26,
            27,
            32,
            33,
            36,
            38,
            41,
            43,
            44,
            69,
            70,
            72,
            117,
            128,
            131,
        ),  # the body cannot be read as rows
        *(321, 349, 407, 636),  # out of range, NULL in a column without, decimal overflow, no structure
        252,  # too many parts: looked at before the part is begun
    }
)
# The answer begins when the statement has ended, so that its status and its summary are those of the end.
WHOLE_ANSWER = {"wait_end_of_query": "1", "send_progress_in_http_headers": "0"}
TALKATIVE = ("clickhouse_connect.driver._backend.http_sync", "urllib3.connectionpool")
IDLE_SECONDS = 2.0  # servers close idle connections after 3 seconds (old ones) to 30


class Server:
    """One server and one database, asked by one thread at a time over a connection that is kept."""

    def __init__(self, address: Address, host: Host, database: str) -> None:
        """Connect, pin the settings and read them back; raise WarehouseError in one line."""
        self.host = host
        self.address = address
        self.pool = make_pool(address)
        self._used = time.monotonic()
        try:
            self.client = connect(address, host, self.pool, database)
            pin(self.client, PINNED_ON_CLUSTERS if address.cluster else {})
        except WarehouseError:
            self.pool.clear()
            raise

    def wait_at_most(self, seconds: float) -> Timeout:
        """Let the next request be answered in so many seconds; a connection that may be stale is not used for it.

        The server that closes an idle connection just as a request begins leaves it open whether it was received.
        """
        if time.monotonic() - self._used > IDLE_SECONDS:
            self.pool.clear()
        self._used = time.monotonic()
        timeout = Timeout(connect=self.address.connect_seconds, read=seconds)
        self.client.timeout = timeout  # type: ignore[attr-defined]  # of the HTTP client; the base class has none
        return timeout

    def close(self) -> None:
        """Close the connection."""
        self.client.close()
        self.pool.clear()


def make_pool(address: Address) -> PoolManager:
    """The connections of one handle: not shared, since urllib3's own pools know no proxies of the environment."""
    pool: PoolManager = get_pool_manager(ca_cert=address.ca_file or None, maxsize=1, retries=False)
    return pool


def connect(address: Address, host: Host, pool: PoolManager, database: str) -> Client:
    """A client; raise WarehouseError that says in one line what is wrong with the URL."""
    for name in TALKATIVE:  # they warn of each connection that fails, whose error says it to those who asked
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        client = clickhouse_connect.get_client(
            interface="https" if address.secure else "http",
            host=host.name.strip("[]"),
            port=host.port,
            username=address.user,
            password=address.password,
            database=database or "__default__",
            compress="lz4",
            connect_timeout=math.ceil(address.connect_seconds),  # it cuts what is less than a second to nothing
            send_receive_timeout=math.ceil(address.connect_seconds * 6),
            query_retries=1,
            autogenerate_session_id=False,
            client_name="pulse",
            pool_mgr=pool,
        )
    except ClickHouseError as error:
        refuse(to_reason(error, address, host), error)
    client.http_retries = False  # type: ignore[attr-defined]  # urllib3: raise, send nothing again, follow nothing
    refuse_old(client.server_version or "", host)
    return client


def to_reason(error: ClickHouseError, address: Address, host: Host) -> str:
    """What an operator can do about a connection that did not come up."""
    code = getattr(error, "code", None)
    if code in AUTHENTICATION:
        return f"the server at {host} refuses the user {address.user!r} or the password"
    if code == UNKNOWN_DATABASE:
        return f"the server at {host} has no database {address.database!r}, and the user may not make it"
    cause = find_cause(error)
    if cause is not None:
        kind = "HTTPS" if address.secure else "HTTP"
        return f"no ClickHouse server answers at {host} over {kind}: {to_line(cause)}"
    return f"the server at {host} says: {to_line(error)}"


def find_cause(error: BaseException) -> HTTPError | None:
    """What went wrong with the connection; None where the server did answer."""
    cause: BaseException | None = error.__cause__
    if isinstance(cause, MaxRetryError):  # a client that is being made still tries twice
        cause = cause.reason or cause
    return cause if isinstance(cause, HTTPError) else None


def never_sent(cause: HTTPError | None) -> bool:
    """Whether there was no connection, so that the server has seen nothing of the request."""
    return isinstance(cause, NewConnectionError | ConnectTimeoutError)


def to_line(error: Exception) -> str:
    """Its text in one line, without the object's address that urllib3 puts in front."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>:? ?|HTTPS?Connection(Pool)?\([^)]*\):? ?", "", str(error)))


def refuse_old(version: str, host: Host) -> None:
    """Raise WarehouseError for a server older than what the tables and the settings need."""
    numbers = tuple(int(number) for number in re.findall(r"\d+", version)[:2])
    if numbers < OLDEST:
        needed = ".".join(str(number) for number in OLDEST)
        refuse(f"the server at {host} is ClickHouse {version}; {needed} is needed ({OLDEST_REASON})")


def pin(client: Client, more: Mapping[str, int | str]) -> None:
    """Let every request carry our settings, and read them back; raise WarehouseError when one does not hold."""
    wanted = {
        name: value
        for name, value in {**PINNED, **PINNED_ON_SERVERS, **more}.items()
        if name in client.server_settings or name not in NEWER
    }
    try:
        for name, value in wanted.items():
            client.set_client_setting(name, value)
        found = client.query(SELECT_NAMES, {"names": list(wanted)}).result_rows
    except ClickHouseError as error:
        message = f"settings cannot be pinned, the user's profile must allow them: {to_line(error)}"
        refuse(message, error)
    refuse_other_settings(wanted, found)


def make_database(address: Address, host: Host, database: str) -> None:
    """Make the database if it is not there; raise WarehouseError when it is neither there nor to be made."""
    pool = make_pool(address)
    client = connect(address, host, pool, "")
    everywhere = f" ON CLUSTER {address.cluster}" if address.cluster else ""
    try:
        client.command(f"CREATE DATABASE IF NOT EXISTS {database}{everywhere}")
    except ClickHouseError as error:
        if getattr(error, "code", None) != ACCESS_DENIED:
            refuse(f"the database {database} cannot be made: {to_line(error)}", error)
        connect(address, host, pool, database)  # the user may not make it, but it may be there
    finally:
        pool.clear()


def to_write_error(error: ClickHouseError, host: Host) -> WarehouseError:
    """What the failure of a statement that writes means (server_insert.py has the same for inserts)."""
    cause = find_cause(error)
    message = f"{host}: {to_line(cause or error)}"
    if never_sent(cause) or getattr(error, "code", None) in BEFORE_WRITING:
        return WarehouseError(message)
    return WarehouseUnknownError(message)
