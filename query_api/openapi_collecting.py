"""The collecting endpoints as rows of the document; the collector answers them before this application is reached."""

from __future__ import annotations

from typing import TYPE_CHECKING

from query_api.openapi_parts import Json, refer
from schemas.collecting import CollectAnswer, CollectErrorBody, EventInput

if TYPE_CHECKING:
    from pydantic import BaseModel

COLLECTING_MODELS: tuple[type[BaseModel], ...] = (EventInput, CollectAnswer, CollectErrorBody)
ENCODING: Json = {
    "name": "Content-Encoding",
    "in": "header",
    "description": "How the body is packed",
    "schema": {"type": "string", "enum": ["gzip", "zstd", "identity"]},
}
SITE_KEY: Json = {
    "name": "X-Site-Key",
    "in": "header",
    "description": "Key of the site of every event that names none",
    "schema": {"type": "string"},
}
ONE_OR_MANY: Json = {
    "oneOf": [refer("schemas", "EventInput"), {"type": "array", "items": refer("schemas", "EventInput")}]
}
REQUEST_ID: Json = {"X-Request-Id": refer("headers", "X-Request-Id")}
REFUSED: Json = {
    "description": "Nothing could be accepted; every event with its reason",
    "headers": REQUEST_ID,
    "content": {"application/json": {"schema": refer("schemas", "CollectErrorBody")}},
}
PIXEL_ANSWERS = {
    "200": "Counted",
    "400": "Refused",
    "401": "The key beside it is not known",
    "403": "The key beside it is another project's, or has no scope `ingest`",
    "429": "Too many of this address or site",
    "500": "A fault of ours",
    "503": "Not durable",
}
COLLECTING: dict[str, Json] = {
    "/v1/events": {
        "post": {
            "operationId": "collect",
            "summary": "Collect events: one, an array, or one a line. 202 only when every accepted one is durable",
            "tags": ["collect"],
            "security": [{}, {"ingestKey": []}],
            "parameters": [SITE_KEY, ENCODING],
            "requestBody": {
                "required": True,
                "description": "At most 1 MiB unpacked and 1000 events of 64 KiB",
                "content": {
                    "application/json": {"schema": ONE_OR_MANY},
                    "text/plain": {"schema": {"type": "string", "description": "The same JSON, or one event a line"}},
                },
            },
            "responses": {
                "202": {
                    "description": "Every accepted event would survive a power cut",
                    "headers": REQUEST_ID,
                    "content": {"application/json": {"schema": refer("schemas", "CollectAnswer")}},
                },
                "400": REFUSED,
                **{
                    status: refer("responses", status)
                    for status in ("401", "403", "408", "413", "415", "429", "431", "500", "503")
                },
            },
        }
    },
    "/v1/pixel.gif": {
        "get": {
            "operationId": "pixel",
            "summary": "Collect a page view without scripts; answers a transparent image whatever became of it",
            "tags": ["collect"],
            "security": [],
            "parameters": [
                {
                    "name": "site_key",
                    "in": "query",
                    "required": True,
                    "description": "Key of the site",
                    "schema": {"type": "string"},
                },
                {
                    "name": "url",
                    "in": "query",
                    "description": "Address of the page; the Referer header when absent",
                    "schema": {"type": "string"},
                },
            ],
            "responses": {
                **{
                    status: {"description": text, "headers": REQUEST_ID, "content": {"image/gif": {}}}
                    for status, text in PIXEL_ANSWERS.items()
                },
                "431": refer("responses", "431"),
            },
        }
    },
    "/script.js": {
        "get": {
            "operationId": "script",
            "summary": "The tracker",
            "tags": ["collect"],
            "security": [],
            "responses": {
                "200": {
                    "description": "The script",
                    "headers": REQUEST_ID,
                    "content": {"text/javascript": {"schema": {"type": "string"}}},
                },
                "304": {"description": "The one that the client has", "headers": REQUEST_ID},
                "431": refer("responses", "431"),
            },
        }
    },
}
