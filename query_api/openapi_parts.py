"""Parts of the OpenAPI document that many operations share: parameters, headers, errors, ways to show a key."""

from __future__ import annotations

from typing import TypeAlias

from query_api.parameters import PARAMETERS, Parameter
from query_api.site_pages import LAST_PAGE, MOST_PER_PAGE, PER_PAGE

# object: the checkers do not follow recursive types through dict, which is invariant.
Json: TypeAlias = dict[str, object]

SECURITY_SCHEMES: Json = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "API key: `Authorization: Bearer ak_live_…`"},
    "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "The same in a header of its own"},
    "streamToken": {
        "type": "apiKey",
        "in": "query",
        "name": "token",
        "description": "One-use token of POST /v1/stream-tokens; a key never stands in a URL",
    },
    "ingestKey": {"type": "http", "scheme": "bearer", "description": "Key of scope `ingest`, for servers that send"},
}
BY_KEY: list[object] = [{"bearer": []}, {"apiKey": []}]
SECURITY: dict[str, list[object]] = {
    "key": BY_KEY,
    "token": [*BY_KEY, {"streamToken": []}],
    "anybody": [],
}

QUOTA = ("X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset")
PAGING = ("X-Total-Count", "Link")
HEADERS: Json = {
    "X-Request-Id": {"description": "Finds the request in the server's log", "schema": {"type": "string"}},
    QUOTA[0]: {"description": "Requests of the key's tightest window", "schema": {"type": "integer"}},
    QUOTA[1]: {"description": "Requests that are left in it", "schema": {"type": "integer"}},
    QUOTA[2]: {"description": "When there is more, epoch seconds", "schema": {"type": "integer"}},
    PAGING[0]: {"description": "Of a file: rows there are, on all pages", "schema": {"type": "integer"}},
    PAGING[1]: {
        "description": 'Of a file that goes on: the next page as `<?…>; rel="next"`, to be resolved against the URL '
        "that was asked. Missing where it would have more than 3000 characters: then the JSON answer has `meta.cursor`",
        "schema": {"type": "string"},
    },
    "Retry-After": {"description": "Seconds until it is worth trying again", "schema": {"type": "integer"}},
}
ERRORS = {
    "400": "BAD_REQUEST: a parameter is missing or invalid; every problem is named",
    "401": "UNAUTHORIZED: no key, or one that is unknown, expired or revoked",
    "403": "FORBIDDEN: the key lacks the scope or plan, or the project has no site",
    "404": "NOT_FOUND: no such thing, or it belongs to somebody else",
    "408": "REQUEST_TIMEOUT: the body took too long to arrive",
    "413": "PAYLOAD_TOO_LARGE: more than 1 MiB or 1000 events",
    "415": "UNSUPPORTED_MEDIA_TYPE: neither JSON nor text, or an encoding that is not known",
    "429": "RATE_LIMITED: come back after Retry-After",
    "431": "HEADERS_TOO_LARGE: the request line or a header is too long",
    "500": "INTERNAL_ERROR: a fault of ours, the request_id finds it",
    "503": "UNAVAILABLE: try again later, or ask for less",
}
WITH_RETRY = ("429", "503")

# Parameters that are no part of a report's question.
OWN_PARAMETERS = (
    Parameter("page", {"type": "integer", "minimum": 1, "maximum": LAST_PAGE}, "page of the list, default 1"),
    Parameter(
        "per_page",
        {"type": "integer", "minimum": 1, "maximum": MOST_PER_PAGE},
        f"sites on a page, default {PER_PAGE}",
    ),
    Parameter("token", {"type": "string"}, "one-use token in place of a key's header"),
    Parameter(
        "last_event_id",
        {"type": "string"},
        "in place of the header Last-Event-ID, for a browser that connects again with a new token",
    ),
)


def refer(kind: str, name: str) -> Json:
    """A reference to a component."""
    return {"$ref": f"#/components/{kind}/{name}"}


def make_error_responses() -> Json:
    """Every error by its status, in the shape of API.md."""
    return {
        status: {
            "description": text,
            "headers": {
                name: refer("headers", name)
                for name in ("X-Request-Id", *(("Retry-After",) if status in WITH_RETRY else ()))
            },
            "content": {"application/json": {"schema": refer("schemas", "ErrorBody")}},
        }
        for status, text in ERRORS.items()
    }


def make_parameters() -> Json:
    """Every parameter by its name."""
    return {parameter.name: to_parameter(parameter) for parameter in (*PARAMETERS.values(), *OWN_PARAMETERS)}


def to_parameter(parameter: Parameter) -> Json:
    """A parameter as a component.

    Only a range is an `example`: tools fill those in, and a filter that nobody chose answers with nothing.
    """
    one: Json = dict(parameter.schema)
    many: Json = {"type": "array", "items": one}
    is_filled_in = parameter.name in {"start", "end"}
    hint = f", for example `{parameter.example}`" if parameter.example and not is_filled_in else ""
    described: Json = {
        "name": parameter.name,
        "in": "query",
        "description": parameter.meaning + hint,
        "schema": one if parameter.multiple == "once" else many,
    }
    return described | ({"example": parameter.example} if is_filled_in else {})
