"""The document: valid, checked in, folded from the table, and what the server does is what it says."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import orjson
from openapi_spec_validator import OpenAPIV31SpecValidator

from query_api.endpoints import ENDPOINTS
from query_api.openapi import DOCUMENT, make_document
from tests.query_api.serving import Parts, insert_view, make_tenant, serve

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from schemas.warehouse.client import Warehouse

ROOT = Path(__file__).parents[2]
CHECKED_IN = ROOT / "schemas/openapi.json"
SCHEMATHESIS = Path(sys.executable).with_name("schemathesis")
CONFIG = ROOT / "tests" / "query_api" / "schemathesis.toml"
OPTIONS = (
    *("--exclude-path-regex", r"stream$|script\.js|pixel", "--exclude-operation-id", "collect"),
    *("--phases", "examples,coverage,fuzzing", "-n", "10", "--seed", "1", "--no-color"),
)


def test_the_document_is_valid() -> None:
    OpenAPIV31SpecValidator(make_document()).validate()


def test_the_document_is_the_one_that_is_checked_in() -> None:
    assert CHECKED_IN.read_bytes() == DOCUMENT + b"\n", "run: pulse openapi > schemas/openapi.json"


def test_every_endpoint_and_parameter_is_described() -> None:
    document = orjson.loads(DOCUMENT)
    for endpoint in ENDPOINTS:
        operation = document["paths"][endpoint.path][endpoint.method.lower()]
        described = {item["$ref"].rpartition("/")[2] for item in operation.get("parameters", [])}
        assert described == {*endpoint.report.parameters, *endpoint.own}
        assert {"500", "503", "400"} <= set(operation["responses"])
    assert {"/v1/events", "/v1/pixel.gif", "/script.js"} <= set(document["paths"])
    assert {"get", "post"} <= set(document["paths"]["/v1/events"])


def test_every_row_and_figure_says_what_it_is() -> None:
    schemas = orjson.loads(DOCUMENT)["components"]["schemas"]
    for endpoint in ENDPOINTS:
        row = schemas[endpoint.row.__name__]
        assert row["description"]
        assert set(endpoint.report.measures) <= set(row["properties"])
        for name, figure in row["properties"].items():
            assert figure.get("description"), (endpoint.path, name)


async def test_the_server_does_what_the_document_says(
    warehouse: Warehouse, control: AsyncEngine, tmp_path: Path
) -> None:
    """Schemathesis as a stranger runs it: no 5xx, no broken promise; collecting is the collector's own."""
    tenant = await make_tenant(control, "example.com", plan="enterprise")
    for visitor in range(3):
        await insert_view(warehouse, tenant.site.live.id, visitor, visitor, f"/{visitor}")
    async with serve(Parts(warehouse, control)) as api:
        url = str(api.client.make_url("/v1/openapi.json"))
        process = await asyncio.create_subprocess_exec(
            SCHEMATHESIS,
            *("--config-file", CONFIG, "run", url, "-H", f"Authorization: Bearer {tenant.live}", *OPTIONS),
            cwd=tmp_path,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said, _ = await process.communicate()
    assert process.returncode == 0, said.decode()[-5000:]
    assert b"12 selected" in said
