"""One event on its way: the canonical line that the collector writes and the consumer reads.

A line is a JSON object of the fields in `LINE_FIELDS`; a field that is absent has its default. Lines travel in blocks
(newline-delimited, at most `BLOCK_BYTES`), one block is one record of the event log, and what the ledger must know of
a block stands in its headers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NewType

import orjson

SiteId = NewType("SiteId", int)
VisitorId = NewType("VisitorId", int)

LINE_VERSION = 1
BLOCK_BYTES = 256 * 1024

PAGEVIEW = "pageview"
ENGAGEMENT = "engagement"

Kind = Literal["string", "int64", "bool"]


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a line: its name, its JSON type, what an absent field means, and what it holds."""

    name: str
    kind: Kind
    default: str | int | bool | None
    meaning: str


LINE_FIELDS: tuple[Field, ...] = (
    Field("site_id", "int64", None, "the site of the site key; always present"),
    Field("event_id", "string", "", "UUID as 36 lower-case characters, or empty: the sender gave none"),
    Field("name", "string", PAGEVIEW, "pageview, engagement or the custom event's name"),
    Field("url", "string", "", "as it was sent; always present"),
    Field("referrer", "string", "", "as it was sent, cut at 2048 characters"),
    Field("title", "string", "", "cut at 512 characters"),
    Field("props", "string", "", "the props object as JSON text (keys and scalar values), or empty"),
    Field("revenue_amount", "string", "", "decimal number as text, or empty"),
    Field("revenue_currency", "string", "", "ISO 4217 code in upper case, or empty"),
    Field("user_id", "string", "", "the site's own name for the visitor, or empty"),
    Field("screen_width", "int64", 0, "CSS pixels, 0 is unknown"),
    Field("language", "string", "", "BCP 47 tag as it was sent"),
    Field("timezone", "string", "", "the browser's IANA zone as it was sent"),
    Field("ts", "int64", None, "event time, epoch milliseconds, skew-corrected; always present"),
    Field("received", "int64", None, "receipt time, epoch milliseconds; always present"),
    Field("address", "string", "", "client address in canonical text; never leaves the log"),
    Field("user_agent", "string", "", "cut at 1024 characters; never leaves the log"),
    Field("interactive", "bool", default=True, meaning="false: this custom event does not end a bounce"),
    Field("engaged_ms", "int64", 0, "of engagement: milliseconds since the last engagement record of the view"),
    Field("scroll_depth", "int64", None, "of engagement: 0..100; absent is unknown"),
    Field("attempt", "int64", 1, "which send of this event id this is, 1 is the first"),
    Field("ingest", "bool", default=False, meaning="sent with a project key of scope ingest"),
    Field("site_timezone", "string", "UTC", "the site's IANA zone when the event was received; decides the local day"),
)


@dataclass(frozen=True, slots=True)
class ReceiptCount:
    """Records of one site received in one UTC hour (epoch seconds of its start).

    `reason` is empty for all that were received (accepted and refused alike), else the refusal reason of `count` of
    them.
    """

    site_id: SiteId
    hour: int
    reason: str
    count: int


@dataclass(frozen=True, slots=True)
class BlockHeaders:
    """What a block says of itself without being opened: version, lines, receipt times (epoch ms), receipt counts.

    A block of zero lines only carries refusals. A block with `retry_of` holds the one line of the dead letter that
    stands at that (partition, offset, place); it counts nothing, since its receipt was counted the first time.
    """

    lines: int
    first_received: int
    last_received: int
    counts: tuple[ReceiptCount, ...]
    version: int = LINE_VERSION
    retry_of: tuple[int, int, int] | None = None

    def to_bytes(self) -> bytes:
        """JSON, one object."""
        counts = [(count.site_id, count.hour, count.reason, count.count) for count in self.counts]
        fields = {"v": self.version, "n": self.lines, "a": self.first_received, "z": self.last_received, "c": counts}
        return orjson.dumps(fields if self.retry_of is None else fields | {"r": self.retry_of})

    @classmethod
    def from_bytes(cls, data: bytes) -> BlockHeaders:
        """Raise ValueError (orjson.JSONDecodeError) or KeyError for anything that `to_bytes` did not write."""
        fields = orjson.loads(data)
        counts = tuple(ReceiptCount(SiteId(site), hour, reason, count) for site, hour, reason, count in fields["c"])
        partition, offset, place = fields.get("r", (0, 0, 0))
        retry_of = (partition, offset, place) if "r" in fields else None
        return cls(fields["n"], fields["a"], fields["z"], counts, fields["v"], retry_of)
