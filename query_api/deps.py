"""What the application is made of, handed in by `deploy`, and where handlers find it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from aiohttp import web

from query_api.auth import Caller, KeyRing
from query_api.cache import AnswerCache
from query_api.health import HealthChecks
from query_api.limits import Admission, Quota, RequestLimits
from query_api.realtime import RealtimeHub

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from ipaddress import IPv4Network, IPv6Network

    from prometheus_client import CollectorRegistry
    from sqlalchemy.ext.asyncio import AsyncEngine

    from query_api.health import Ping
    from schemas.completeness import ReadCompleteness
    from schemas.in_flight import ReadInFlight
    from schemas.versions import SiteVersions
    from schemas.warehouse.client import Limits, Warehouse


@dataclass(frozen=True, slots=True)
class Deps:
    """The parts that the query API uses and does not own.

    `clock` gives epoch milliseconds. `versions` is None where the consumer runs in another process; then no answer is
    cached. `pings` says by name how to ask each part of the whole server whether it works. `metrics_from` are the
    networks that may read `/metrics`. At most `at_once` questions are in the warehouse, each within `limits`.
    `read_attribution` gives the words that must stand where places are shown, empty if none must.
    """

    warehouse: Warehouse
    control: AsyncEngine
    clock: Callable[[], int]
    read_completeness: ReadCompleteness
    read_in_flight: ReadInFlight
    versions: SiteVersions | None
    pings: Mapping[str, Ping]
    registry: CollectorRegistry
    limits: Limits
    version: str
    limits_url: str = "memory://"
    at_once: int = 4
    metrics_from: tuple[IPv4Network | IPv6Network, ...] = ()
    read_attribution: Callable[[], str] = lambda: ""

    def now(self) -> datetime:
        """The clock as an aware datetime."""
        return datetime.fromtimestamp(self.clock() / 1000, UTC)


DEPS = web.AppKey("deps", Deps)
RING = web.AppKey("ring", KeyRing)
LIMITS = web.AppKey("limits", RequestLimits)
ADMISSION = web.AppKey("admission", Admission)
CACHE = web.AppKey("cache", AnswerCache)
HUB = web.AppKey("hub", RealtimeHub)
HEALTH = web.AppKey("health", HealthChecks)

CALLER = web.RequestKey("caller", Caller)
QUOTA = web.RequestKey("quota", Quota)
