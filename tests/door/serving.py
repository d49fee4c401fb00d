"""The door itself: ClickHouse's HTTP interface over chDB, as much of it as clickhouse-connect and Pulse use."""

from __future__ import annotations

import asyncio
import base64
import hmac
import uuid
from collections import ChainMap
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiohttp import web

from tests.door.answers import UNPACKERS, to_failure, to_response
from tests.door.engine import EngineError, Statement, split_body
from tests.door.faults import Faults, Kind

if TYPE_CHECKING:
    from tests.door.engine import Engine

THREADS = 32  # a statement each; more of them wait
BODY_LIMIT = 1 << 30
# Parameters of a request that are no settings.
RESERVED = frozenset(
    {
        *("query", "database", "user", "password", "quota_key", "role", "query_id", "default_format", "stacktrace"),
        *("session_id", "session_timeout", "session_check", "close_session", "client_protocol_version"),
        *("wait_end_of_query", "buffer_size", "compress", "decompress"),
    }
)
FIELD_LIMIT = 128 * 1024 + 1  # http_max_field_value_size, and the one byte that gets past it
AUTHENTICATION_FAILED, NOT_IMPLEMENTED = 516, 48


@dataclass(frozen=True, slots=True)
class Entry:
    """Who may come in."""

    user: str
    password: str


class Serving:
    """Answers requests; `faults` says which of them badly."""

    def __init__(self, engine: Engine, entry: Entry) -> None:
        """Close it at the end, which closes the engine, too."""
        self._engine = engine
        self._entry = entry
        self._threads = ThreadPoolExecutor(THREADS)
        self._faults = Faults()

    def make_app(self) -> web.Application:
        """The application: ClickHouse's paths, and the controls of the faults."""
        app = web.Application(client_max_size=BODY_LIMIT)
        app.router.add_get("/ping", self._ping)
        app.router.add_route("*", "/", self._answer)
        app.router.add_post("/_door/faults", self._add_fault)
        app.router.add_post("/_door/release", self._release)
        app.router.add_post("/_door/clear", self._clear)
        app.router.add_get("/_door/held", self._count_held)
        app.router.add_get("/_door/waiting", self._count_waiting)
        return app

    def close(self) -> None:
        """Wait for what runs and let go of the folder."""
        self._threads.shutdown(wait=True)
        self._engine.close()

    async def _ping(self, _request: web.Request) -> web.Response:
        return web.Response(text="Ok.\n")

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        query_id = request.query.get("query_id") or str(uuid.uuid4())
        if request.method == "GET" and not request.query_string:
            return await self._ping(request)
        try:
            self._refuse_strangers(request)
            statement = await read_statement(request)
            return await self._run(request, statement, query_id)
        except EngineError as error:
            return to_failure(error, query_id)

    async def _run(self, request: web.Request, statement: Statement, query_id: str) -> web.StreamResponse:
        strikes = self._faults.strike(f"{statement.sql}\nlog_comment={statement.settings.get('log_comment', '')}")
        if strikes.find(Kind.HOLD):
            await self._faults.hold()
        if refused := strikes.find(Kind.REFUSE):
            return web.Response(status=refused.status, text="<html>a proxy says no</html>")
        if failed := strikes.find(Kind.FAIL):
            message = f"Code: {failed.code}. DB::Exception: as asked for at the door. (DOOR)"
            raise EngineError(failed.code, message)
        await asyncio.sleep(strikes.seconds(Kind.BEFORE))
        loop, slow = asyncio.get_running_loop(), strikes.seconds(Kind.RUNNING)
        answer = await loop.run_in_executor(self._threads, self._engine.run, statement, slow)
        await asyncio.sleep(strikes.seconds(Kind.AFTER))
        if strikes.find(Kind.LOSE_ANSWER) and request.transport is not None:
            request.transport.abort()
        return to_response(answer, query_id, statement.settings, request.headers.get("Accept-Encoding", ""))

    def _refuse_strangers(self, request: web.Request) -> None:
        """Raise EngineError unless the user and the password are ours, wherever in the request they are."""
        user, password = read_credentials(request)
        known = hmac.compare_digest(password.encode(), self._entry.password.encode())
        if user != self._entry.user or not known:
            text = (
                f"Code: {AUTHENTICATION_FAILED}. DB::Exception: {user}: Authentication failed: password is incorrect, "
                "or there is no user with such name. (AUTHENTICATION_FAILED)"
            )
            raise EngineError(AUTHENTICATION_FAILED, text)

    async def _add_fault(self, request: web.Request) -> web.Response:
        try:
            self._faults.add(await request.json())
        except (TypeError, ValueError) as error:
            raise web.HTTPBadRequest(text=str(error)) from error
        return web.Response()

    async def _release(self, _request: web.Request) -> web.Response:
        self._faults.release()
        return web.Response()

    async def _clear(self, _request: web.Request) -> web.Response:
        self._faults.clear()
        return web.Response()

    async def _count_held(self, _request: web.Request) -> web.Response:
        return web.Response(text=str(self._faults.held))

    async def _count_waiting(self, _request: web.Request) -> web.Response:
        return web.Response(text=str(len(self._faults.waiting)))


def read_credentials(request: web.Request) -> tuple[str, str]:
    """User and password from the headers X-ClickHouse-User and -Key, Basic, or the URL."""
    if "X-ClickHouse-User" in request.headers:
        return request.headers["X-ClickHouse-User"], request.headers.get("X-ClickHouse-Key", "")
    kind, _, text = request.headers.get("Authorization", "").partition(" ")
    if kind == "Basic":
        user, _, password = base64.b64decode(text).decode().partition(":")
        return user, password
    return request.query.get("user", "default"), request.query.get("password", "")


async def read_statement(request: web.Request) -> Statement:
    """What a request asks for; raise EngineError for what the door cannot do."""
    form = await read_form(request)
    query, body = "".join((request.query.get("query", ""), form.get("query", ""))), b""
    if not form:
        body = UNPACKERS.get(request.headers.get("Content-Encoding", ""), bytes)(await request.read())
    sql, data = split_body(query, body)
    values = ChainMap(form, dict(request.query))
    settings = {name: value for name, value in request.query.items() if is_setting(name)}
    if "session_id" in request.query:
        text = f"Code: {NOT_IMPLEMENTED}. DB::Exception: the door knows no sessions. (NOT_IMPLEMENTED)"
        raise EngineError(NOT_IMPLEMENTED, text)
    if request.method == "GET":
        settings["readonly"] = "2"
    return Statement(
        sql,
        data,
        {name.removeprefix("param_"): value for name, value in values.items() if name.startswith("param_")},
        settings,
        request.query.get("database") or "default",
        request.query.get("default_format") or "TabSeparated",
    )


async def read_form(request: web.Request) -> dict[str, str]:
    """The fields of a multipart form; a server takes 128 KiB in each, and no files here."""
    if not request.content_type.startswith("multipart/"):
        return {}
    form = await request.post()
    fields = {}
    for name, value in form.items():
        if not isinstance(value, str):
            text = f"Code: {NOT_IMPLEMENTED}. DB::Exception: the door knows no external data. (NOT_IMPLEMENTED)"
            raise EngineError(NOT_IMPLEMENTED, text)
        if len(value.encode()) > FIELD_LIMIT:
            raise EngineError(1000, "Code: 1000. DB::Exception: HTML Form Exception: Field value too long. (POCO)")
        fields[name] = value
    return fields


def is_setting(name: str) -> bool:
    """Whether a parameter of the URL is a setting of the engine."""
    return name not in RESERVED and not name.startswith("param_")
