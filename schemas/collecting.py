"""What the collecting endpoints take and answer, for the OpenAPI document; the collector itself checks by hand."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID  # noqa: TC003 - pydantic reads the annotations

from pydantic import BaseModel, ConfigDict, Field

from schemas.api import ApiModel, ErrorBody

Instant = Annotated[datetime | int, Field(description="ISO 8601 or epoch milliseconds")]


class Revenue(BaseModel):
    """An amount of money."""

    amount: float | str = Field(description="Decimal number")
    currency: str = Field(min_length=3, max_length=3, description="ISO 4217 code")


class EventInput(BaseModel):
    """One event as it is sent."""

    model_config = ConfigDict(extra="allow")

    site_key: str | None = Field(None, description="Key of the site; once for all in the header X-Site-Key instead")
    name: str = Field("pageview", max_length=120, description="pageview, engagement, or the name of a custom event")
    url: str = Field(max_length=2048, description="Address of the page")
    event_id: UUID | None = Field(None, description="UUID, version 7 preferred; makes a retry harmless")
    referrer: str | None = Field(None, description="Where the visitor came from, cut at 2048 characters")
    title: str | None = Field(None, description="Title of the page, cut at 512 characters")
    props: dict[str, str | float | bool | None] | None = Field(
        None, description="At most 30 keys with scalar values of at most 2000 characters"
    )
    revenue: Revenue | None = Field(None, description="What the event earned")
    user_id: str | None = Field(None, max_length=128, description="Your own name for the visitor")
    screen_width: int | None = Field(None, ge=0, le=100_000, description="CSS pixels")
    language: str | None = Field(None, description="BCP 47 tag")
    timezone: str | None = Field(None, description="The browser's IANA zone")
    timestamp: Instant | None = Field(None, description="When it happened, by the sender's clock; default now")
    sent_at: Instant | None = Field(None, description="When it was sent, by the same clock, to correct that clock")
    interactive: bool = Field(default=True, description="False: this custom event does not end a bounce")
    engaged_ms: int | None = Field(None, ge=0, le=1_800_000, description="Of engagement: since its last record")
    scroll_depth: int | None = Field(None, ge=0, le=100, description="Of engagement: how far down, percent")
    attempt: int = Field(1, ge=1, le=1_000_000, description="Which send of this event id this is")
    ip: str | None = Field(None, description="Client address; only with a key of scope ingest")
    user_agent: str | None = Field(None, description="Client's user agent; only with a key of scope ingest")


class RefusedEvent(ApiModel):
    """An event of a batch that was not taken."""

    index: int = Field(ge=0, description="Its place in the batch, from 0")
    code: str = Field(description="Reason from the closed list")
    reason: str = Field(description="The same for people")


class CollectAnswer(ApiModel):
    """What became of a batch; every accepted event is durable."""

    accepted: int = Field(ge=1, description="Events that are safe now")
    refused: list[RefusedEvent] = Field(description="Events that were not taken")


class CollectErrorBody(ErrorBody):
    """Nothing could be accepted: the error, and the verdict on every event where they could be told apart."""

    accepted: Literal[0] = Field(0, description="None")
    refused: list[RefusedEvent] | None = Field(None, description="Every event and why")
