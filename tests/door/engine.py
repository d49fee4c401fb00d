"""Runs one statement on chDB as a server would: its own handle with its own settings, database and body of data."""

from __future__ import annotations

import re
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import chdb
from clickhouse_connect.driver._chdbclient import build_connection_string

from schemas.warehouse.address import EMBEDDED
from schemas.warehouse.embedded import CACHES, FAILED_WRITES, KEEP_FREE, connect, memory_limit, reload_tables
from schemas.warehouse.room import KEPT_FREE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from chdb.state.sqlitelike import Connection

CODE = re.compile(r"Code: (\d+)\.")
INSERT = re.compile(r"\s*INSERT\s+INTO\b.*?\bFORMAT\s+(\w+)[ \t\r]*(?:\n|;|$)", re.IGNORECASE | re.DOTALL)
INPUT = re.compile(r"\binput\s*\(\s*('(?:[^'\\]|\\.)*')\s*\)", re.IGNORECASE)
VERSION = "26.9.2.1"
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*")
UNKNOWN_SETTING, NOT_ENOUGH_SPACE = 115, 243


class EngineError(Exception):
    """An exception of the engine: its code and the text that a server would answer."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(frozen=True, slots=True)
class Statement:
    """SQL with bound parameters; `data` are the bytes behind an INSERT … FORMAT, None where there are none."""

    sql: str
    data: bytes | None
    parameters: Mapping[str, str]
    settings: Mapping[str, str]
    database: str = "default"
    format: str = "TabSeparated"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a statement gave: the bytes in its format, and figures as in X-ClickHouse-Summary."""

    body: bytes
    format: str
    summary: Mapping[str, str] = field(default_factory=dict)


def split_body(query: str, body: bytes) -> tuple[str, bytes | None]:
    """The SQL and the data of a request: an INSERT … FORMAT, wherever it stands, is followed by data."""
    if INSERT.fullmatch(query):
        return query, body
    whole = f"{query}\n".encode() + body if query else body
    found = INSERT.match(whole[: 1 << 16].decode(errors="replace"))
    if found is None:
        return whole.decode(), None
    size = len(found.group().encode())
    return found.group(), whole[size:]


class Engine:
    """chDB in this process, on one folder; statements run in threads, any number at once."""

    def __init__(self, folder: Path, cluster: str, *, is_fenced: bool = True) -> None:
        self._folder = folder
        self._is_fenced = is_fenced
        self._cluster = cluster
        self._failed_writes = 0
        options = {"max_server_memory_usage": memory_limit(), **CACHES, KEEP_FREE: KEPT_FREE}
        self._place = build_connection_string(str(folder), options)
        self._first = chdb.connect(self._place)  # the engine lives as long as one handle does

    def run(self, statement: Statement, slow: float = 0.0) -> Answer:
        """Run it; raise EngineError. An insert with data takes `slow` seconds longer and can be killed in them."""
        with self._handle(statement) as handle:
            if statement.data is None:
                sql = to_one_server(statement.sql) if self._cluster else statement.sql
                answer = self._ask(handle, sql, statement)
            else:
                sql = statement.sql if self._is_fenced else overlook_fences(statement.sql)
                with spooled(statement.data) as path:
                    answer = self._ask(handle, to_read_file(sql, path, slow), statement)
            self._refuse_failed_writes(handle, statement.database)
        return answer

    def close(self) -> None:
        """Let go of the folder."""
        self._first.close()

    @contextmanager
    def _handle(self, statement: Statement) -> Iterator[Connection]:
        """A handle of its own costs 0.3 ms and has no settings but those of this statement."""
        handle = chdb.connect(self._place)
        try:
            # The most that `slow` may sleep; a server has it by itself in no statement.
            given = {"function_sleep_max_microseconds_per_block": "600000000", **statement.settings}
            refuse_strange_names(given)
            pairs = ", ".join(f"{name} = {quote(value)}" for name, value in given.items())
            refused_as_error(handle, f"SET {pairs}")
            refused_as_error(handle, f"USE `{statement.database}`")
            yield handle
        finally:
            handle.close()

    def _refuse_failed_writes(self, handle: Connection, database: str) -> None:
        """Say what chDB keeps for itself and a server would say: the disk did not take what was written."""
        found = int(handle.query(FAILED_WRITES, "TabSeparated").bytes() or 0)
        if found == self._failed_writes:
            return
        self._failed_writes = found
        mender = connect(f"{EMBEDDED}{self._folder}", database)
        reload_tables(mender)
        mender.close()
        raise EngineError(NOT_ENOUGH_SPACE, "Code: 243. DB::Exception: the disk is full. (NOT_ENOUGH_SPACE)")

    def _ask(self, handle: Connection, sql: str, statement: Statement) -> Answer:
        try:
            result = handle.query(sql, statement.format, params=dict(statement.parameters))
        except Exception as error:  # whatever the engine raises is an exception of the server
            raise to_engine_error(error) from error
        body = bytes(result.bytes() or b"")
        summary = {
            "read_rows": result.rows_read(),
            "read_bytes": result.bytes_read(),
            "written_rows": result.rows_written(),
            "written_bytes": result.bytes_written(),
            "elapsed_ns": int(result.elapsed() * 1e9),
        }
        return Answer(body, statement.format, {name: str(value) for name, value in summary.items()})


def refuse_strange_names(settings: Mapping[str, str]) -> None:
    """Raise EngineError for a name that no setting can have."""
    for name in settings:
        if not NAME.fullmatch(name):
            message = f"Code: {UNKNOWN_SETTING}. DB::Exception: Unknown setting '{name}'. (UNKNOWN_SETTING)"
            raise EngineError(UNKNOWN_SETTING, message)


def refused_as_error(handle: Connection, sql: str) -> None:
    """Run what answers nothing; raise EngineError."""
    try:
        handle.query(sql)
    except Exception as error:  # as above
        raise to_engine_error(error) from error


def to_engine_error(error: Exception) -> EngineError:
    """The engine's exception with its code, as a server words it."""
    text = str(error)
    start = text.find("Code: ")
    text = text[max(start, 0) :].strip()
    found = CODE.match(text)
    return EngineError(int(found[1]) if found else 1002, f"{text} (version {VERSION} (official build))")


@contextmanager
def spooled(data: bytes) -> Iterator[str]:
    """The data as a file, in memory where the system has such a folder."""
    memory = Path("/dev/shm")  # noqa: S108 - the kernel's, and the file's name is random
    with tempfile.NamedTemporaryFile(dir=memory if memory.is_dir() else None, suffix=".body") as file:
        file.write(data)
        file.flush()
        yield file.name


def to_read_file(sql: str, path: str, slow: float) -> str:
    """The INSERT with its data in a file: chDB's own `input()` stores nothing and says that all is well."""
    head, data_format = split_format(sql)
    wait = f" AND NOT sleep({slow})" if slow else ""
    if INPUT.search(head):
        return INPUT.sub(lambda found: f"file('{path}', '{data_format}', {found[1]})", head) + wait
    if slow:
        return f"{head} SELECT * FROM file('{path}', '{data_format}') WHERE 1{wait}"  # noqa: S608 - names of ours
    return f"{head} FROM INFILE '{path}' FORMAT {data_format}"


def split_format(sql: str) -> tuple[str, str]:
    """The INSERT before its FORMAT, and that format."""
    found = re.fullmatch(r"(.*)\bFORMAT\s+(\w+)[\s;]*", sql, re.IGNORECASE | re.DOTALL)
    if found is None:
        raise EngineError(62, f"Code: 62. DB::Exception: no FORMAT at the end of {sql[:100]!r}. (SYNTAX_ERROR)")
    return found[1].rstrip(), found[2]


def overlook_fences(sql: str) -> str:
    """The INSERT as if nobody had ever taken over: a fence is broken, on purpose."""
    return sql.replace(") > 0, 'fenced')", ") < 0, 'fenced')")


def to_one_server(sql: str) -> str:
    """A statement for a cluster of one shard with one replica, as the shard runs it: there is no Keeper here."""
    plain = re.sub(r"\bON CLUSTER \w+", "", sql)
    plain = re.sub(r"\bReplicated(\w*MergeTree)\('[^']*', '[^']*',? ?", r"\1(", plain)
    return re.sub(r"\breplicated_deduplication_window = 0,", "", plain)


def write_cluster(folder: Path, name: str) -> None:
    """Let the engine that is started in this folder know a cluster whose only shard is it: chDB reads ./config.xml."""
    replica = "<replica><host>127.0.0.1</host><port>9000</port></replica>"
    cluster = f"<{name}><shard><internal_replication>true</internal_replication>{replica}</shard></{name}>"
    text = f"<clickhouse><tcp_port>9000</tcp_port><remote_servers>{cluster}</remote_servers></clickhouse>"
    (folder / "config.xml").write_text(text)


def quote(text: str) -> str:
    """A literal of SQL."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
