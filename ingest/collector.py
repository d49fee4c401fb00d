"""HTTP in: decode, admit, append, answer. Nothing here knows the warehouse or the query API.

`handle` is the hot path and takes the requests of a low-level aiohttp server; there is no router, middleware or access
log before it. A 202 is written only when every accepted event is durable.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from ingest.address import Addresses
from ingest.admit import Sender, admit
from ingest.answers import Answers, TurnedAwayError
from ingest.blocks import BlockWriter, OverloadedError
from ingest.decode import TooLargeError, UnknownEncodingError, UnreadableError, to_records, unpack
from ingest.fields import MAX_USER_AGENT
from ingest.pixel import GIF, PIXEL, to_record
from ingest.rates import Rates
from ingest.reading import BodyReader
from ingest.refused import Reason
from ingest.script import Script
from ingest.sites import to_digest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from aiohttp import web
    from multidict import CIMultiDictProxy

    from ingest.address import Client, Network
    from ingest.admit import Admission
    from ingest.answers import Answer
    from ingest.collector_metrics import CollectorMetrics
    from ingest.front import Handler
    from ingest.log import EventLog
    from ingest.sites import ProjectKey, Sites

EVENTS = "/v1/events"
PIXEL_GIF = "/v1/pixel.gif"
SCRIPT = "/script.js"
PREFLIGHT = (
    "Access-Control-Allow-Methods: POST, GET, OPTIONS\r\nAccess-Control-Max-Age: 86400\r\n"
    "Access-Control-Allow-Headers: Content-Type, Content-Encoding, X-Site-Key, Authorization, X-API-Key\r\n"
)
# The usual ones as they are sent; others are taken apart.
PLAIN_TYPES = frozenset({"application/json", "text/plain;charset=UTF-8", "text/plain"})
MEDIA_TYPES = frozenset({"application/json", "text/plain"})
CHARSETS = frozenset({"", "utf-8", "utf8", "us-ascii"})
INGEST = "ingest"
ACCEPTED = 202
RETRY_SECONDS = 1  # of a 503: by then a full log has answered, a busy one is empty
NOT_DURABLE = "The events could not be made durable. Send them again, with the same event ids."

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class CollectorSettings:
    """Events a second per site and records a second per client address (0 is no limit), and the rest.

    `trusted_proxies` are the networks whose forwarding is believed, `script` is the tracker.
    """

    per_site: int = 0
    per_address: int = 100
    trusted_proxies: Sequence[Network] = ()
    script: bytes = b""


class Collector:
    """Takes events over HTTP and answers when they are durable.

    `key_uses` tells when a project key was last used here (epoch milliseconds by key id); whoever stores that takes
    the entries out.
    """

    def __init__(
        self,
        log: EventLog,
        sites: Sites,
        settings: CollectorSettings,
        clock: Callable[[], int],
        metrics: CollectorMetrics,
    ) -> None:
        """Must be made in the running loop; `clock` gives epoch milliseconds."""
        self.key_uses: dict[int, int] = {}
        self.answers = Answers(clock)
        self._blocks = BlockWriter(log, metrics.note_block)
        self._sites = sites
        self._clock = clock
        self._metrics = metrics
        self._addresses = Addresses(settings.trusted_proxies)
        self._site_rates = Rates[int](settings.per_site)
        self._address_rates = Rates[str](settings.per_address)
        self._has_site_limit = settings.per_site > 0
        self._reader = BodyReader()
        self._script = Script(settings.script, self.answers)
        metrics.waiting = lambda: self._blocks.waiting

    @property
    def untrusted_forwarder(self) -> str | None:
        """The private peer that forwards without being trusted, None while there was none."""
        return self._addresses.untrusted_forwarder

    @property
    def routes(self) -> Mapping[tuple[str, str], Handler]:
        """What this takes, by (method, path)."""
        return {
            ("POST", EVENTS): self.handle,
            ("GET", PIXEL_GIF): self.handle_pixel,
            ("GET", SCRIPT): self._script.handle,
            ("HEAD", SCRIPT): self._script.handle,
            ("OPTIONS", EVENTS): self.handle_preflight,
            ("OPTIONS", PIXEL_GIF): self.handle_preflight,
            ("OPTIONS", SCRIPT): self.handle_preflight,
        }

    async def stop(self) -> None:
        """Take nothing more; return when everything that was taken is durable or answered with an error."""
        await self._blocks.stop()

    async def handle(self, request: web.BaseRequest) -> Answer:
        """POST /v1/events."""
        try:
            answer = await self._collect(request)
        except TurnedAwayError as turned:
            answer = self.answers.turned_away(turned)
        except Exception:
            log.exception("collect_failed")
            answer = self.answers.turned_away(TurnedAwayError(500, "Something went wrong here, not with your events."))
        self._metrics.answers[answer.status] += 1
        return answer

    async def handle_pixel(self, request: web.BaseRequest) -> Answer:
        """GET /v1/pixel.gif: the same by an image. It is a picture whatever the status says of the event."""
        try:
            sender = await self._find_sender(request, self._clock())
            answer = await self._take([to_record(request)], sender)
        except TurnedAwayError as turned:
            answer = self.answers.turned_away(turned)
        return self.answers.make(200 if answer.status == ACCEPTED else answer.status, PIXEL, GIF)

    async def handle_preflight(self, request: web.BaseRequest) -> Answer:
        """OPTIONS: any page may post, with any of our headers."""
        del request
        return self.answers.make(204, PREFLIGHT, b"")

    async def _collect(self, request: web.BaseRequest) -> Answer:
        headers = request.headers
        refuse_media_type(headers.get("Content-Type", ""))
        body = await self._reader.read(request)
        sender = await self._find_sender(request, self._clock())
        encoding = headers.get("Content-Encoding")
        return await self._take(decode(body, encoding), sender)

    async def _find_sender(self, request: web.BaseRequest, now: int) -> Sender:
        """Raise TurnedAwayError for a key that opens nothing, or too many requests of one address."""
        if self._sites.is_stale(now):
            await self._sites.look_again()
        headers = request.headers
        client = self._addresses.find(request.remote or "", ",".join(headers.getall("X-Forwarded-For", ())))
        key = await self._find_key(headers, now)
        if key is None:
            self._refuse_rate(client, 1, now)
        return Sender(now, client, to_text(headers.get("User-Agent", "")), headers.get("X-Site-Key", ""), key)

    async def _find_key(self, headers: CIMultiDictProxy[str], now: int) -> ProjectKey | None:
        secret = to_secret(headers)
        if secret is None:
            return None
        digest = to_digest(secret)
        key = self._sites.keys_by_digest.get(digest)
        if key is None:
            await self._sites.look_again()
            key = self._sites.keys_by_digest.get(digest)
        if key is None or not key.is_valid(now):
            raise TurnedAwayError(401, "The API key is unknown, expired or revoked.")
        if INGEST not in key.scopes:
            raise TurnedAwayError(403, "The API key has not the scope ingest.")
        self.key_uses[key.id] = now
        return key

    async def _take(self, records: Sequence[object], sender: Sender) -> Answer:
        """Admit, write, answer."""
        if sender.key is None and len(records) > 1:
            self._refuse_rate(sender.client, len(records) - 1, sender.received)
        if not records:
            raise TurnedAwayError(400, "The request holds no event.")
        admission = await self._admit(records, sender)
        if self._has_site_limit:
            self._refuse_site_rate(admission, sender.received)
        await self._write(admission, sender.received)
        if admission.lines:
            return self.answers.accepted(len(admission.lines), admission.refusals)
        return self.answers.refused(admission.refusals)

    async def _admit(self, records: Sequence[object], sender: Sender) -> Admission:
        view = self._sites.by_key
        admission = admit(records, sender, view)
        if any(refusal.reason is Reason.UNKNOWN_SITE for refusal in admission.refusals):
            await self._sites.look_again()
            if self._sites.by_key is not view:
                admission = admit(records, sender, self._sites.by_key)
        if any(refusal.reason is Reason.FOREIGN_SITE for refusal in admission.refusals):
            raise TurnedAwayError(403, Reason.FOREIGN_SITE.text)
        return admission

    async def _write(self, admission: Admission, received: int) -> None:
        """Return when every line is durable and all is counted."""
        try:
            waiters = self._blocks.add(admission, received)
        except OverloadedError as error:
            raise TurnedAwayError(503, "More events are waiting than can be held.", RETRY_SECONDS) from error
        for waiter in waiters:
            if await waiter is not None:
                raise TurnedAwayError(503, NOT_DURABLE, RETRY_SECONDS)
        self._metrics.accepted += len(admission.lines)
        for refusal in admission.refusals:
            self._metrics.refused[refusal.reason] += 1

    def _refuse_rate(self, client: Client, records: int, now: int) -> None:
        wait = self._address_rates.wait_for(client.group, records, now)
        if wait:
            raise TurnedAwayError(429, "Too many events from this address.", wait // 1000 + 1)

    def _refuse_site_rate(self, admission: Admission, now: int) -> None:
        for site_id, lines in Counter(line.site_id for line in admission.lines).items():
            wait = self._site_rates.wait_for(site_id, lines, now)
            if wait:
                raise TurnedAwayError(429, "Too many events for this site.", wait // 1000 + 1)


def decode(body: bytes, encoding: str | None) -> Sequence[object]:
    """Give the records of a body; raise TurnedAwayError."""
    try:
        return to_records(body if encoding is None else unpack(body, encoding))
    except TooLargeError as error:
        raise TurnedAwayError(413, str(error)) from error
    except UnknownEncodingError as error:
        raise TurnedAwayError(415, "Content-Encoding may be gzip or zstd.") from error
    except UnreadableError as error:
        raise TurnedAwayError(400, str(error)) from error


def refuse_media_type(content_type: str) -> None:
    """Raise TurnedAwayError unless it is JSON or plain text in UTF-8."""
    if content_type in PLAIN_TYPES:
        return
    media_type, _, parameters = content_type.lower().partition(";")
    charset = parameters.partition("charset=")[2].split(";")[0].strip(' "')
    if media_type.strip() not in MEDIA_TYPES or charset not in CHARSETS:
        raise TurnedAwayError(415, "Content-Type must be application/json or text/plain, in UTF-8.")


def to_secret(headers: CIMultiDictProxy[str]) -> str | None:
    """Give the project key that came along, or None. Other schemes (a proxy's Basic) are not for us."""
    authorization = headers.get("Authorization")
    if authorization is not None and authorization[:7].lower() == "bearer ":
        return authorization[7:].strip()
    return headers.get("X-API-Key")


def to_text(header: str) -> str:
    """Give a header as valid Unicode, cut; bytes that are not UTF-8 come as lone surrogates."""
    header = header[:MAX_USER_AGENT]
    return header if header.isascii() else header.encode("utf-8", "replace").decode()
