"""The closed list of reasons for which a record is refused: counted once per record, told to the sender.

A reason belongs to one record of a request that was looked at. A request that is turned away as a whole (401, 403, 408,
413, 415, 429, 500, 503) was not received: nothing of it is counted per site, its sender still has it.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Self


class Reason(StrEnum):
    """A code (the value) that never changes once published, and `text`, the sentence for the sender."""

    text: str

    def __new__(cls, code: str, text: str) -> Self:
        """Make the member `code` that carries its sentence."""
        member = str.__new__(cls, code)
        member._value_ = code
        member.text = text
        return member

    @property
    def field(self) -> str | None:
        """The field of the event that it is about, None for the whole record."""
        return FIELDS.get(self, self.removeprefix("bad_") if self.startswith("bad_") else None)

    MALFORMED = "malformed", "The record is not a JSON object in UTF-8."
    TOO_LARGE = "too_large", "One event may take 64 KiB."
    NO_SITE_KEY = "no_site_key", "Send the site key as site_key in the event or in the header X-Site-Key."
    UNKNOWN_SITE = "unknown_site", "No site has this site key."
    FOREIGN_SITE = "foreign_site", "The site belongs to another project, or to the other data set, than the API key."
    PAUSED = "paused", "The site is paused."
    HOSTNAME = "hostname", "The host of url is not among the site's allowed hostnames."
    EXCLUDED_ADDRESS = "excluded_address", "The site excludes the client's address."
    TOO_OLD = "too_old", "The event is more than 48 hours old."
    IN_FUTURE = "in_future", "The event lies more than one hour in the future."
    BAD_NAME = "bad_name", "name must be a string of 1 to 120 characters."
    BAD_URL = "bad_url", "url must be an absolute URL with a host, of at most 2048 characters."
    BAD_EVENT_ID = "bad_event_id", "event_id must be a UUID in its 36 character form."
    BAD_REFERRER = "bad_referrer", "referrer must be a string."
    BAD_TITLE = "bad_title", "title must be a string."
    BAD_PROPS = (
        "bad_props",
        "props must be an object of at most 30 keys with scalar values of at most 2000 characters.",
    )
    BAD_REVENUE = (
        "bad_revenue",
        "revenue must be {amount, currency}: a decimal number below 10^14 and a currency code of three letters.",
    )
    BAD_USER_ID = "bad_user_id", "user_id must be a string of at most 128 characters."
    BAD_SCREEN_WIDTH = "bad_screen_width", "screen_width must be a whole number from 0 to 100000."
    BAD_LANGUAGE = "bad_language", "language must be a string."
    BAD_TIMEZONE = "bad_timezone", "timezone must be a string."
    BAD_TIMESTAMP = (
        "bad_timestamp",
        "timestamp and sent_at must be ISO 8601 or epoch milliseconds, from 1970-01-02 to 2105-12-31.",
    )
    BAD_INTERACTIVE = "bad_interactive", "interactive must be true or false."
    BAD_ENGAGEMENT = "bad_engagement", "engaged_ms must be a whole number from 0 to 1800000."
    BAD_SCROLL_DEPTH = "bad_scroll_depth", "scroll_depth must be a whole number from 0 to 100."
    BAD_ATTEMPT = "bad_attempt", "attempt must be a whole number from 1 to 1000000."
    BAD_IP = "bad_ip", "ip must be an IPv4 or IPv6 address."
    BAD_USER_AGENT = "bad_user_agent", "user_agent must be a string."
    NUL = "nul", "Text must not hold the character NUL."


FIELDS = {
    Reason.NO_SITE_KEY: "site_key",
    Reason.UNKNOWN_SITE: "site_key",
    Reason.FOREIGN_SITE: "site_key",
    Reason.HOSTNAME: "url",
    Reason.TOO_OLD: "timestamp",
    Reason.IN_FUTURE: "timestamp",
    Reason.BAD_ENGAGEMENT: "engaged_ms",
}


class RefusedError(Exception):
    """A record is refused for `reason`; never leaves `admit`."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        self.reason = reason
