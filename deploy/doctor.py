"""What `pulse doctor` looks at: configuration, disk, memory limits in force, parts, versions."""

from __future__ import annotations

import platform
import shutil
import time
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Literal, NamedTuple

from ingest.enrich.geo_status import geo_status

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence

    from deploy.parts import Parts

GIB = 1024**3
LITTLE_DISK = 2 * GIB
LATE_SECONDS = 60.0
LIBRARIES = ("aiohttp", "chdb", "clickhouse-connect", "pyarrow", "orjson", "uvloop", "tzdata")
MEMORY = """
SELECT name, value FROM system.server_settings WHERE name = 'max_server_memory_usage'
UNION ALL SELECT name, value FROM system.settings WHERE name = 'max_memory_usage'
"""
STORED = """
SELECT sum(bytes_on_disk) AS bytes, sum(rows) AS rows FROM system.parts
WHERE active AND database = currentDatabase() AND table = 'events'
"""
SET_ASIDE = """
SELECT count() AS parts, sum(bytes_on_disk) AS bytes, arrayStringConcat(groupUniqArray(table), ', ') AS tables
FROM system.detached_parts WHERE database = currentDatabase()
"""


class Finding(NamedTuple):
    """One thing looked at: well, worth attention, or broken, and a sentence that says what to do."""

    check: str
    state: Literal["ok", "warning", "broken"]
    text: str


async def read_findings(parts: Parts) -> Sequence[dict[str, str]]:
    """Look at everything; a part that fails is a finding, never an exception."""
    findings = [
        Finding("version", "ok", f"Pulse {version('pulse-analytics')} on Python {platform.python_version()}"),
        look_at_libraries(),
        look_at_disk(parts),
        look_at_places(parts),
        look_at_forwarding(parts),
        look_at_consumer(parts),
        await look_at("control plane", parts.base.ping_control(), "answers"),
        await look_at("log", parts.base.log.ping(), "can take events"),
        await look_at("warehouse", parts.warehouse.ping(), "answers"),
        await look_at_warehouse(parts),
        await look_at_set_aside(parts),
        await look_at_lag(parts),
    ]
    return [finding._asdict() for finding in findings]


def look_at_libraries() -> Finding:
    """Their versions."""
    return Finding("libraries", "ok", ", ".join(f"{name} {read_version(name)}" for name in LIBRARIES))


def read_version(library: str) -> str:
    """The version; an image for servers is made without the embedded engine."""
    try:
        return version(library)
    except PackageNotFoundError:
        return "is not installed"


async def look_at(check: str, ping: Awaitable[None], well: str) -> Finding:
    """Whether a part answers, and how fast."""
    began = time.perf_counter()
    try:
        await ping
    except Exception as error:  # noqa: BLE001 - whatever it is, it is what the operator must read
        return Finding(check, "broken", f"does not answer: {error or type(error).__name__}")
    return Finding(check, "ok", f"{well}, {(time.perf_counter() - began) * 1000:.1f} ms")


def look_at_disk(parts: Parts) -> Finding:
    """Room on the disk of the data folder."""
    settings = parts.base.settings
    usage = shutil.disk_usage(settings.data)
    text = f"{usage.free / GIB:.1f} GiB free at {settings.data}, log budget {settings.log_budget / GIB:.1f}"
    if usage.free < LITTLE_DISK:
        return Finding("disk", "warning", f"{text} GiB: below 1 GiB the consumer stops, so make room")
    return Finding("disk", "ok", f"{text} GiB")


def look_at_places(parts: Parts) -> Finding:
    """The MMDB in use."""
    status = geo_status(parts.base.settings.geo_path)
    if status.state == "damaged":
        return Finding("places", "broken", f"{status.problem}: run `pulse geo install`")
    if status.state == "none":
        return Finding("places", "warning", "no database: countries stay empty until `pulse geo install`")
    names = ", ".join(file.name for file in status.files)
    return Finding("places", "ok", names or "switched off")


def look_at_forwarding(parts: Parts) -> Finding:
    """Whether a proxy stands in front that is not trusted."""
    peer = parts.base.untrusted_forwarder()
    if peer is None:
        return Finding("proxies", "ok", "nobody forwards without being trusted")
    advice = f"set PULSE_TRUSTED_PROXIES={peer} so that visitors are told apart"
    return Finding("proxies", "warning", f"{peer} forwards for others but is not trusted: {advice}")


def look_at_consumer(parts: Parts) -> Finding:
    """What the consumer does or waits for."""
    state = parts.consumer.state
    if state in {"running", "starting"}:
        return Finding("consumer", "ok", state if parts.consumer.consumed else "not running in this process")
    return Finding("consumer", "warning", f"waits: {state}")


async def look_at_warehouse(parts: Parts) -> Finding:
    """Memory limits in force and what is stored."""
    try:
        limits = {row["name"]: int(row["value"]) for row in (await parts.warehouse.query(MEMORY)).to_pylist()}
        stored = (await parts.warehouse.query(STORED)).to_pylist()[0]
    except Exception as error:  # noqa: BLE001 - as above
        return Finding("memory limits", "broken", str(error) or type(error).__name__)
    shown = ", ".join(f"{name} {value / GIB:.1f} GiB" for name, value in limits.items())
    return Finding("memory limits", "ok", f"{shown}; {stored['rows']:,} events in {stored['bytes'] / 2**20:.1f} MiB")


async def look_at_set_aside(parts: Parts) -> Finding:
    """Parts that the engine could not read: harmless where a full disk cut them short, else rows are missing."""
    try:
        found = (await parts.warehouse.query(SET_ASIDE)).to_pylist()[0]
    except Exception as error:  # noqa: BLE001 - as above
        return Finding("broken parts", "broken", str(error) or type(error).__name__)
    if not found["parts"]:
        return Finding("broken parts", "ok", "none")
    text = f"{found['parts']} set aside ({found['tables']}; {found['bytes'] / 2**20:.1f} MiB)"
    advice = "after a full disk or a power cut others stand in for them; otherwise rows are missing: restore a backup"
    return Finding("broken parts", "warning", f"{text}: {advice}")


async def look_at_lag(parts: Parts) -> Finding:
    """How far the warehouse is behind the log."""
    if parts.following is None and not parts.consumer.consumed:
        return Finding("lag", "ok", "no consumer runs in this process")
    try:
        completeness = await parts.read_completeness()
    except Exception as error:  # noqa: BLE001 - as above
        return Finding("lag", "broken", str(error) or type(error).__name__)
    state: Literal["ok", "warning"] = "warning" if completeness.lag > LATE_SECONDS else "ok"
    return Finding("lag", state, f"{completeness.lag:.1f} s between receipt and the numbers")
