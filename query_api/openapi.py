"""The OpenAPI 3.1 document, folded from the table of endpoints; the collecting endpoints stand here as rows too."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING

import orjson
from pydantic.json_schema import models_json_schema

from query_api.endpoints import ENDPOINTS
from query_api.openapi_collecting import COLLECTING, COLLECTING_MODELS
from query_api.openapi_parts import (
    HEADERS,
    PAGING,
    QUOTA,
    SECURITY,
    SECURITY_SCHEMES,
    Json,
    make_error_responses,
    make_parameters,
    refer,
)
from schemas.api import ErrorBody

if TYPE_CHECKING:
    from pydantic import BaseModel

    from query_api.endpoints import Endpoint

DISTRIBUTION = "pulse-analytics"
FILE_TYPES = ("text/csv", "application/x-ndjson", "application/vnd.apache.parquet")
ABOUT = """Numbers of your sites, and collecting them. Query endpoints need an API key of the project; collecting
endpoints take a site's public key. What every number means stands in schemas/METRICS.md of the source."""


def make_document() -> Json:
    """The whole document."""
    paths: dict[str, Json] = {}
    for endpoint in ENDPOINTS:
        operations = paths.setdefault(endpoint.path, {})
        operations[endpoint.method.lower()] = to_operation(endpoint)
    for path, operations in COLLECTING.items():
        paths.setdefault(path, {}).update(operations)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Pulse",
            "version": version(DISTRIBUTION),
            "description": ABOUT,
            "license": {"name": "Apache 2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": to_schemas(),
            "parameters": make_parameters(),
            "headers": HEADERS,
            "responses": make_error_responses(),
            "securitySchemes": SECURITY_SCHEMES,
        },
    }


def to_schemas() -> Json:
    """Every model by its name."""
    models: set[type[BaseModel]] = {ErrorBody, *COLLECTING_MODELS}
    for endpoint in ENDPOINTS:
        models |= {endpoint.row, endpoint.meta}
    ordered = sorted(models, key=lambda model: model.__name__)
    template = "#/components/schemas/{model}"
    _, schemas = models_json_schema([(model, "validation") for model in ordered], ref_template=template)
    return dict(sorted(schemas["$defs"].items()))


def to_operation(endpoint: Endpoint) -> Json:
    """One row of the table as an operation."""
    names = (*endpoint.report.parameters, *endpoint.own)
    refused = ["400", *(["401", "403", "429"] if endpoint.opens != "anybody" else []), "431", "500", "503"]
    if "site" in names:
        refused.insert(3, "404")
    success = "201" if endpoint.method == "POST" else "200"
    operation: Json = {
        "operationId": endpoint.path.removeprefix("/v1/").replace("/", "_").replace("-", "_"),
        "summary": endpoint.summary,
        "tags": ["query"],
        "security": SECURITY[endpoint.opens],
        "responses": {success: to_success(endpoint)} | {status: refer("responses", status) for status in refused},
    }
    if names:
        operation["parameters"] = [refer("parameters", name) for name in names]
    return operation


def to_success(endpoint: Endpoint) -> Json:
    """The answer when all is well, in every format."""
    names = ["X-Request-Id"]
    if endpoint.opens != "anybody":
        names += QUOTA
    if "format" in endpoint.report.parameters:
        names += PAGING
    headers = {name: refer("headers", name) for name in names}
    return {
        "description": endpoint.summary,
        "headers": headers,
        "content": to_content(endpoint),
    }


def to_content(endpoint: Endpoint) -> Json:
    """By content type."""
    if endpoint.shape == "stream":
        text = "Messages of `id:` and `data:`; data is JSON in the shape of /v1/realtime"
        return {"text/event-stream": {"schema": {"type": "string", "description": text}}}
    if endpoint.shape == "object":
        return {"application/json": {"schema": refer("schemas", endpoint.row.__name__)}}
    rows: Json = {"type": "array", "items": refer("schemas", endpoint.row.__name__)}
    body = {
        "type": "object",
        "required": ["data", "meta"],
        "properties": {"data": rows, "meta": refer("schemas", endpoint.meta.__name__)},
        "additionalProperties": False,
    }
    content: Json = {"application/json": {"schema": body}}
    if "format" in endpoint.report.parameters:
        content |= {kind: {"schema": {"type": "string", "description": "The same rows"}} for kind in FILE_TYPES}
    return content


DOCUMENT = orjson.dumps(make_document(), option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS)
