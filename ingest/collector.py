"""HTTP in: decode, admit, append, answer. Nothing here knows the warehouse or the query API.

`handle` is the hot path and takes the requests of a low-level aiohttp server; there is no router, middleware or access
log before it. A 202 is written only when every accepted event is durable.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import structlog
from aiohttp.hdrs import CONTENT_ENCODING, CONTENT_TYPE, USER_AGENT
from multidict import istr

from ingest.address import Addresses
from ingest.admit import Sender, admit
from ingest.answers import Answers, Sent, TurnedAwayError
from ingest.blocks import BlockWriter, OverloadedError
from ingest.collect_rates import CollectRates
from ingest.incoming import Incoming, decode, refuse_media_type, to_secret, to_text
from ingest.pixel import GIF, PIXEL, to_body
from ingest.reading import BodyReader
from ingest.refused import Reason
from ingest.script import Script
from ingest.sites import to_digest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from aiohttp import web
    from multidict import CIMultiDictProxy

    from ingest.address import Network
    from ingest.admit import Admission
    from ingest.answers import Answer
    from ingest.collector_metrics import CollectorMetrics
    from ingest.front import Handler
    from ingest.log import EventLog
    from ingest.sites import ProjectKey, Sites

Reply: TypeAlias = "Callable[[Answer], None]"
FORWARDED_FOR = istr("X-Forwarded-For")
SITE_KEY = istr("X-Site-Key")
EVENTS = "/v1/events"
PIXEL_GIF = "/v1/pixel.gif"
SCRIPT = "/script.js"
PREFLIGHT = (
    "Access-Control-Allow-Methods: POST, GET, OPTIONS\r\nAccess-Control-Max-Age: 86400\r\n"
    "Access-Control-Allow-Headers: Content-Type, Content-Encoding, X-Site-Key, Authorization, X-API-Key\r\n"
)
INGEST = "ingest"
ACCEPTED = 202
RETRY_SECONDS = 1  # of a 503: by then a full log has answered, a busy one is empty
OUR_FAULT = "Something went wrong here, not with your events."
CANNOT_LOOK = "The site key or API key cannot be looked up now."
OVERLOADED = "More events are waiting than can be held."
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


class LookNeededError(Exception):
    """The control plane has changed; look, and begin again."""


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
        self._rates = CollectRates(settings.per_site, settings.per_address)
        self._reader = BodyReader()
        self._script = Script(settings.script, self.answers)
        self._looks: set[asyncio.Task[None]] = set()
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
        while self._looks:
            log.info("waiting_for_looks", requests=len(self._looks))
            await asyncio.wait(self._looks)
        await self._blocks.stop()

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """POST /v1/events."""
        try:
            body = await self._reader.read(request)
        except TurnedAwayError as turned:
            return Sent(self.turn_away(turned))
        return Sent(await self._answer(Incoming(request.headers, request.remote or "", body)))

    async def handle_pixel(self, request: web.BaseRequest) -> web.StreamResponse:
        """GET /v1/pixel.gif: one event in the query. A picture comes back whatever the status says of the event."""
        answer = await self._answer(Incoming(request.headers, request.remote or "", to_body(request), is_pixel=True))
        return Sent(self.answers.make(200 if answer.status == ACCEPTED else answer.status, PIXEL, GIF))

    async def handle_preflight(self, request: web.BaseRequest) -> web.StreamResponse:
        """OPTIONS: any page may post, with any of our headers."""
        del request
        return Sent(self.answers.make(204, PREFLIGHT, b""))

    def collect(self, incoming: Incoming, reply: Reply) -> None:
        """Take a request whose body is there; `reply` is called once with the answer, now or later, never raises."""
        try:
            if self._sites.is_stale(self._clock()):
                raise LookNeededError  # noqa: TRY301
            self._take(incoming, reply, is_certain=False)
        except LookNeededError:
            look = asyncio.get_running_loop().create_task(self._collect_after_look(incoming, reply))
            self._looks.add(look)
            look.add_done_callback(self._looks.discard)
        except TurnedAwayError as turned:
            reply(self.turn_away(turned))
        except Exception:
            log.exception("collect_failed")
            reply(self.turn_away(TurnedAwayError(500, OUR_FAULT)))

    def turn_away(self, turned: TurnedAwayError) -> Answer:
        """Answer for a request that is not received."""
        self._metrics.answers[turned.status] += 1
        return self.answers.turned_away(turned)

    async def _answer(self, incoming: Incoming) -> Answer:
        answered: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self.collect(incoming, lambda answer: None if answered.done() else answered.set_result(answer))
        return await answered

    async def _collect_after_look(self, incoming: Incoming, reply: Reply) -> None:
        try:
            self._take(incoming, reply, is_certain=await self._sites.look_again())
        except LookNeededError:
            reply(self.turn_away(TurnedAwayError(503, CANNOT_LOOK, RETRY_SECONDS)))
        except TurnedAwayError as turned:
            reply(self.turn_away(turned))
        except Exception:
            log.exception("collect_failed")
            reply(self.turn_away(TurnedAwayError(500, OUR_FAULT)))

    def _take(self, incoming: Incoming, reply: Reply, *, is_certain: bool) -> None:
        """Decode, admit, write; raise LookNeededError or TurnedAwayError before anything is taken.

        `is_certain` says that whoever is unknown is not known anywhere.
        """
        headers = incoming.headers
        if not incoming.is_pixel:
            refuse_media_type(headers.get(CONTENT_TYPE, ""))
        received = self._clock()
        forwarded = ",".join(headers.getall(FORWARDED_FOR)) if FORWARDED_FOR in headers else ""
        client = self._addresses.find(incoming.peer, forwarded)
        key = self._find_key(headers, received, is_certain=is_certain)
        encoding = headers.get(CONTENT_ENCODING)
        taken = 0 if key else self._rates.take_work(client.group, len(incoming.body), encoding, received)
        agent = to_text(headers.get(USER_AGENT, ""))
        sender = Sender(received, client, agent, headers.get(SITE_KEY, ""), key)
        records = decode(incoming.body, encoding)
        admission = self._admit(records, sender, is_certain=is_certain)
        self._rates.take(sender, admission, taken)
        try:
            self._blocks.add(admission, received, Conclusion(self, admission, reply))
        except OverloadedError as error:
            raise TurnedAwayError(503, OVERLOADED, RETRY_SECONDS) from error

    def _find_key(self, headers: CIMultiDictProxy[str], now: int, *, is_certain: bool) -> ProjectKey | None:
        secret = to_secret(headers)
        if secret is None:
            return None
        key = self._sites.keys_by_digest.get(to_digest(secret))
        if key is None and not is_certain:
            raise LookNeededError
        if key is None or not key.is_valid(now):
            raise TurnedAwayError(401, "The API key is unknown, expired or revoked.")
        if INGEST not in key.scopes:
            raise TurnedAwayError(403, "The API key has not the scope ingest.")
        self.key_uses[key.id] = now
        return key

    def _admit(self, records: Sequence[object], sender: Sender, *, is_certain: bool) -> Admission:
        if not records:
            raise TurnedAwayError(400, "The request holds no event.")
        admission = admit(records, sender, self._sites.by_key)
        if admission.refusals:
            reasons = {refusal.reason for refusal in admission.refusals}
            if Reason.UNKNOWN_SITE in reasons and not is_certain:
                raise LookNeededError
            if Reason.FOREIGN_SITE in reasons:
                raise TurnedAwayError(403, Reason.FOREIGN_SITE.text)
        return admission

    def conclude(self, admission: Admission, error: Exception | None) -> Answer:
        """Count and answer what was written, or could not be."""
        if error is not None:
            return self.turn_away(TurnedAwayError(503, NOT_DURABLE, RETRY_SECONDS))
        self._metrics.accepted += admission.accepted
        for refusal in admission.refusals:
            self._metrics.refused[refusal.reason] += 1
        if admission.accepted:
            answer = self.answers.accepted(admission.accepted, admission.refusals)
        else:
            answer = self.answers.refused(admission.refusals)
        self._metrics.answers[answer.status] += 1
        return answer


class Conclusion:
    """What happens when the blocks of a request are done."""

    __slots__ = ("_admission", "_collector", "_reply")

    def __init__(self, collector: Collector, admission: Admission, reply: Reply) -> None:
        self._collector = collector
        self._admission = admission
        self._reply = reply

    def __call__(self, error: Exception | None) -> None:
        """They are durable, or not."""
        self._reply(self._collector.conclude(self._admission, error))
