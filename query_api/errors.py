"""What a client is told when something goes wrong, and the one middleware that tells it.

    ApiError
    ├── BadRequestError        400 BAD_REQUEST          a parameter is missing or wrong; every problem is named
    ├── UnauthorizedError      401 UNAUTHORIZED         no key, or one that is unknown, expired or revoked
    ├── ForbiddenError         403 FORBIDDEN            the key lacks the scope or plan; the project has no site
    ├── NotFoundError          404 NOT_FOUND            no such thing, or it belongs to somebody else
    ├── MethodNotAllowedError  405 METHOD_NOT_ALLOWED   the path exists, not for this method
    ├── ConflictError          409 CONFLICT             it is there already
    ├── RateLimitedError       429 RATE_LIMITED         with Retry-After
    └── UnavailableError       503 UNAVAILABLE          try again later, or ask for less

Anything else is a fault of ours: logged with the request id, shown as 500 INTERNAL_ERROR and nothing more. aiohttp's
own answers (405, 413 …) are put into the same shape.
"""

from __future__ import annotations

import secrets
import string
from typing import TYPE_CHECKING, ClassVar, Self

import orjson
import structlog
from aiohttp import web
from sqlalchemy.exc import SQLAlchemyError

from query_api.question import InvalidQuestionError
from schemas.in_flight import InFlightUnknownError
from schemas.warehouse.errors import WarehouseError, WarehouseLimitError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from aiohttp.typedefs import Handler

    from query_api.question import Problem

log = structlog.get_logger()

REQUEST_ID = web.RequestKey("request_id", str)
REQUEST_ID_HEADER = "X-Request-Id"
ID_LETTERS = string.ascii_lowercase + string.digits
ID_LENGTH = 10
SERVER_FAULT = 500
LONGEST_REASON = 500  # the engine repeats the whole statement


class ApiError(Exception):
    """Something that the client is told. `message` is shown as it is: no key, nothing of the inside in it."""

    status: ClassVar[int] = SERVER_FAULT
    code: ClassVar[str] = "INTERNAL_ERROR"

    def __init__(
        self, message: str, problems: Sequence[Problem] = (), headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.problems = tuple(problems)
        self.headers = dict(headers or {})

    @classmethod
    def after(cls, message: str, seconds: int) -> Self:
        """Say also when to come back."""
        return cls(message, headers={"Retry-After": str(max(1, seconds))})


class BadRequestError(ApiError):
    """A parameter is missing or invalid."""

    status = 400
    code = "BAD_REQUEST"

    @classmethod
    def of(cls, problems: Sequence[Problem]) -> BadRequestError:
        """All problems in one sentence each, in the order in which they were found; there is at least one."""
        return cls("; ".join(problem.message for problem in problems), problems)


class UnauthorizedError(ApiError):
    """No key, or one that opens nothing."""

    status = 401
    code = "UNAUTHORIZED"


class ForbiddenError(ApiError):
    """A good key that may not do this."""

    status = 403
    code = "FORBIDDEN"


class NotFoundError(ApiError):
    """No such thing, or somebody else's: the two are never told apart."""

    status = 404
    code = "NOT_FOUND"


class MethodNotAllowedError(ApiError):
    """The path exists, not for this method."""

    status = 405
    code = "METHOD_NOT_ALLOWED"


class ConflictError(ApiError):
    """It is there already."""

    status = 409
    code = "CONFLICT"


class RateLimitedError(ApiError):
    """Too many requests of this key."""

    status = 429
    code = "RATE_LIMITED"


class UnavailableError(ApiError):
    """A part of the server cannot answer now."""

    status = 503
    code = "UNAVAILABLE"


CODES: Mapping[int, str] = {
    kind.status: kind.code
    for kind in (
        BadRequestError,
        UnauthorizedError,
        ForbiddenError,
        NotFoundError,
        MethodNotAllowedError,
        ConflictError,
        RateLimitedError,
        UnavailableError,
    )
} | {413: "PAYLOAD_TOO_LARGE", 415: "UNSUPPORTED_MEDIA_TYPE"}
TOO_MUCH = "This question needs more time or memory than one question may take: ask for a shorter range or fewer sites"
NOT_NOW = "The data cannot be read at the moment: try again in a few seconds"
OURS = "Something went wrong on our side: the request_id finds it in the server's log"


def to_error_body(message: str, code: str, request_id: str, problems: Sequence[Problem] = ()) -> bytes:
    """The error shape of API.md as JSON."""
    body: dict[str, object] = {"error": message, "code": code, "request_id": request_id}
    if problems:
        body["field"] = problems[0].field
        body["details"] = [{"field": problem.field, "message": problem.message} for problem in problems]
    return orjson.dumps(body)


# Parts of the server that do not answer now, and what the log calls it.
AWAY: dict[type[Exception], str] = {
    InFlightUnknownError: "log_not_read",
    SQLAlchemyError: "control_plane_failed",
    WarehouseError: "warehouse_failed",
}


@web.middleware
async def translate_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Give the request an id, run it, and turn whatever it raises into the error shape."""
    request[REQUEST_ID] = "req_" + "".join(secrets.choice(ID_LETTERS) for _ in range(ID_LENGTH))
    with structlog.contextvars.bound_contextvars(request_id=request[REQUEST_ID]):
        try:
            return await handler(request)
        except web.HTTPException as error:
            return _from_aiohttp(request, error)
        except Exception as error:  # noqa: BLE001 - whatever it is, the client gets the shape; to_api_error logs it
            return to_response(request, to_api_error(request, error))


def to_api_error(request: web.Request, error: Exception) -> ApiError:
    """What the client is told of an error; what it must not see is logged instead."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, InvalidQuestionError):
        return BadRequestError.of(error.problems)
    if isinstance(error, WarehouseLimitError):
        log.warning("query_over_limit", path=request.path, reason=str(error)[:LONGEST_REASON])
        return UnavailableError(TOO_MUCH)
    for kind, event in AWAY.items():
        if isinstance(error, kind):
            # What SQLAlchemy says may hold values of a statement.
            reason = type(error).__name__ if kind is SQLAlchemyError else str(error)[:LONGEST_REASON]
            log.error(event, path=request.path, reason=reason)
            return UnavailableError.after(NOT_NOW, 5)
    log.error("request_failed", path=request.path, method=request.method, exc_info=error)
    return ApiError(OURS)


async def add_request_id(request: web.Request, response: web.StreamResponse) -> None:
    """On every response, streams included (a signal: it runs before the headers leave)."""
    response.headers["Server"] = "Pulse"  # not which library of which version
    if REQUEST_ID in request:
        response.headers[REQUEST_ID_HEADER] = request[REQUEST_ID]


def to_response(request: web.Request, error: ApiError) -> web.Response:
    """The answer for an error; once a stream has begun nobody sees it and aiohttp closes the connection."""
    body = to_error_body(error.message, error.code, request[REQUEST_ID], error.problems)
    return web.Response(status=error.status, body=body, content_type="application/json", headers=error.headers)


def _from_aiohttp(request: web.Request, error: web.HTTPException) -> web.StreamResponse:
    """Put what aiohttp itself raised into the shape; a redirect passes."""
    if error.status < BadRequestError.status:
        return web.Response(status=error.status, headers=error.headers)
    message = {
        NotFoundError.status: f"There is nothing at {request.path}: /docs lists what there is",
        MethodNotAllowedError.status: f"{request.method} is not for {request.path}: see the Allow header",
    }.get(error.status, error.reason)
    code = CODES.get(error.status, CODES[BadRequestError.status] if error.status < SERVER_FAULT else ApiError.code)
    headers = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}
    body = to_error_body(message, code, request[REQUEST_ID])
    return web.Response(status=error.status, body=body, content_type="application/json", headers=headers)
