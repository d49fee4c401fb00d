"""What the query API answers: one model a row, with units. The OpenAPI document is made of these."""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 - pydantic reads the annotations
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Visitors = Annotated[int, Field(ge=0, description="Distinct visitors with a page view or custom event")]
Pageviews = Annotated[int, Field(ge=0, description="Page views")]
Sessions = Annotated[int, Field(ge=0, description="Sessions that start in the range or bucket")]
BounceRate = Annotated[float, Field(ge=0, le=1, description="Bounces / sessions, 0 to 1, 4 decimals")]
Records = Annotated[int, Field(ge=0, description="Records")]
Country = Annotated[str, Field(description="ISO 3166-1 alpha-2 code, empty when unknown")]
Region = Annotated[str, Field(description="Region of the country, empty when unknown")]
DeviceType = Annotated[str, Field(description="Kind of device, empty when unknown")]
Source = Annotated[str, Field(description="Where the session came from; Direct when from nowhere known")]


class ApiModel(BaseModel):
    """Every field without a default is always there, and no other."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ComparedRow(ApiModel):
    """A row of figures over a range."""

    compare: dict[str, int | float | str] | None = Field(
        None, description="The same figures over the range of `compare=`; only when asked for"
    )


class ListedRow(ComparedRow):
    """A row of a list."""

    conversion_rate: float | None = Field(
        None, ge=0, le=1, description="Visitors / visitors without the `any.` filter; only with one"
    )


class StatsRow(ComparedRow):
    """The figures of the whole range."""

    visitors: Visitors
    pageviews: Pageviews
    sessions: Sessions
    avg_duration: float = Field(ge=0, description="Mean length of a session in seconds, 1 decimal")
    bounce_rate: BounceRate
    events: int = Field(ge=0, description="Page views and custom events")
    views_per_session: float = Field(ge=0, description="Page views / sessions")


class PageRow(ListedRow):
    """A page with at least one page view in the range."""

    pathname: str = Field(description="Path as it was sent, without query and fragment")
    visitors: Visitors
    pageviews: Pageviews
    avg_duration: float = Field(ge=0, description="Time on the page per session, in seconds, 1 decimal")
    bounce_rate: float = Field(ge=0, le=1, description="Bounces / sessions, over the sessions that entered here")
    entries: int = Field(ge=0, description="Sessions that entered here")
    exits: int = Field(ge=0, description="Sessions that left from here")
    scroll_depth: float = Field(ge=0, le=100, description="Mean of the sessions' deepest scroll, 0 to 100")


class ReferrerRow(ListedRow):
    """A source of sessions."""

    referrer_source: Source
    visitors: Visitors
    pageviews: Pageviews
    bounce_rate: BounceRate


class TimeseriesRow(ComparedRow):
    """A bucket; empty ones are there too."""

    t: str = Field(description="Local time at which the bucket begins, `2024-01-15T00:00:00`")
    start: datetime = Field(description="The instant at which it begins, UTC; unique")
    visitors: Visitors
    pageviews: Pageviews
    sessions: Sessions


class EventRow(ComparedRow):
    """A custom event."""

    event_name: str = Field(description="Its name")
    total: int = Field(ge=0, description="How often it happened")
    unique_visitors: int = Field(ge=0, description="Distinct visitors who had it")
    conversion_rate: float = Field(ge=0, le=1, description="Visitors with it / all visitors, 0 to 1, 4 decimals")


class GeoRow(ListedRow):
    """A place. City names are estimates."""

    country: Country
    region: Region
    city: str | None = Field(None, description="City, an estimate; only with `detail=city`")
    visitors: Visitors
    pageviews: Pageviews


class DeviceRow(ListedRow):
    """A kind of device with its browser and system."""

    device_type: DeviceType
    browser: str = Field(description="Browser, empty when unknown")
    os: str = Field(description="Operating system, empty when unknown")
    visitors: Visitors
    pageviews: Pageviews


class RealtimeRow(ApiModel):
    """Visitors with a page view in the last five minutes, each in the row of their latest one."""

    pathname: str = Field(description="Path of the latest page view")
    country: Country
    device_type: DeviceType
    referrer_source: Source
    current_visitors: int = Field(ge=0, description="Visitors here now")


class SiteRow(ApiModel):
    """A site of the project."""

    id: int = Field(description="Number of the site, for `site=`")
    domain: str = Field(description="Its domain, for `site=` too")
    name: str = Field(description="What people call it")
    site_key: str = Field(description="Public key with which its pages collect")
    is_active: bool = Field(description="False: paused, events are refused")
    created_at: datetime = Field(description="When it was made")
    timezone: str = Field(description="IANA zone of its local days")


class LedgerRow(ApiModel):
    """What became of the records received in one UTC hour.

    received = stored + bots + duplicate + refused + dead_lettered + in_flight + erased
    """

    hour: datetime = Field(description="Beginning of the hour of receipt, UTC")
    received: Records
    stored: Records
    bots: Records
    duplicate: Records
    refused: dict[str, int] = Field(description="Records refused, by reason")
    dead_lettered: Records
    in_flight: Records
    erased: Records


class StatusRow(ApiModel):
    """Whether the server runs well."""

    status: Literal["ok", "degraded"] = Field(description="degraded: a part does not answer, see /readyz")
    version: str = Field(description="Version of Pulse")
    timestamp: datetime = Field(description="The server's time")


class StreamToken(ApiModel):
    """Opens one stream."""

    token: str = Field(description="For `?token=`, once")
    expires_at: datetime = Field(description="Until when it opens a stream")


class Completeness(ApiModel):
    """How much of what was acknowledged is counted."""

    received_up_to: datetime = Field(description="All acknowledged events received before this are counted")
    lag: float = Field(ge=0, description="Seconds that this lies back")
    exact: bool = Field(description="False while a resend from another address may still be counted twice")


class ErrorDetail(ApiModel):
    """One problem of a request."""

    field: str = Field(description="The parameter")
    message: str = Field(description="What is wrong and what to write")


class ErrorBody(BaseModel):
    """How every failure is told."""

    model_config = ConfigDict(extra="forbid")

    error: str = Field(description="What is wrong and what to do, in a sentence")
    code: str = Field(description="The kind of failure, for programs")
    request_id: str = Field(description="Finds the request in the server's log")
    field: str | None = Field(None, description="The first parameter that is wrong")
    details: list[ErrorDetail] | None = Field(None, description="Every problem of the request")


class ComparedRange(ApiModel):
    """The range that figures are compared with."""

    model_config = ConfigDict(extra="allow")

    start: datetime = Field(description="Its first instant, UTC")
    end: datetime = Field(description="The instant after its last, UTC")


class ReportMeta(BaseModel):
    """What must be known of the rows."""

    model_config = ConfigDict(extra="allow")

    start: datetime = Field(description="First instant of the resolved range, UTC")
    end: datetime = Field(description="The instant after its last, UTC")
    timezone: str = Field(description="Zone of bare dates and buckets")
    total: int | None = Field(None, ge=0, description="Rows there are, before they are cut at `limit`")
    cursor: str | None = Field(None, description="For `cursor=`: the next page; null on the last one")
    as_of: datetime | None = Field(None, description="Which state of the data was read")
    compare: ComparedRange | None = Field(None, description="The range of `compare=`")
    completeness: Completeness


class GeoMeta(ReportMeta):
    """What must be known of places."""

    attribution: str | None = Field(
        None, description="Words that must stand where places are shown; only with a database whose maker asks for them"
    )


class LedgerMeta(BaseModel):
    """Which hours, and whether the two sides of the ledger are equal in all of them."""

    model_config = ConfigDict(extra="allow")

    start: datetime
    end: datetime
    total: int = Field(ge=0, description="Rows")
    closed: bool = Field(description="received equals the sum of what became of it, for every site and hour by itself")
    completeness: Completeness


class RealtimeMeta(BaseModel):
    """How many visitors are here."""

    model_config = ConfigDict(extra="allow")

    current_visitors: int = Field(ge=0, description="Sum of the rows, before they are cut at `limit`")
    completeness: Completeness


class SitesMeta(ApiModel):
    """Which page this is."""

    page: int = Field(ge=1)
    per_page: int = Field(ge=1)
    total: int = Field(ge=0, description="Sites there are")
    pages: int = Field(ge=0, description="Pages there are")


class EmptyMeta(ApiModel):
    """Nothing more to say."""
