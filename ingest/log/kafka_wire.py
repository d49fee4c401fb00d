# mypy: disable-error-code="import-untyped"
"""Connections to brokers and what they say of the cluster: which brokers there are, who leads a partition.

A connection answers in order, so a request that a broker holds back (a long poll, a join) would hold up what comes
behind it: each kind of request has a lane, which is a connection of its own to each broker.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiokafka.conn import AIOKafkaConnection, create_conn
from aiokafka.errors import (
    AuthenticationFailedError,
    AuthenticationMethodNotSupported,
    IncompatibleBrokerVersion,
    KafkaConnectionError,
    KafkaError,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
)
from aiokafka.protocol.coordination import FindCoordinatorRequest

from ingest.log.kafka_errors import NotReachedError, RefusedForGoodError, check
from ingest.log.kafka_messages import NO_ID, MetadataRequest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from aiokafka.protocol.api import Request, Response

    from ingest.log.kafka_url import Access, KafkaPlace

ASK = "ask"
CONNECT_SECONDS = 5.0
CLOSE_SECONDS = 1.0
FRESH = 0.1
TRIED_IN_TIME = 3  # brokers that may be silent before the deadline of whoever asks is over
IDLE_MS = 9 * 60_000  # a broker closes after 10 minutes
HELD_MS = 600_000  # the library's own limit; `ask` has a shorter one for every request
REFUSED_FOR_GOOD = (
    AuthenticationFailedError,
    AuthenticationMethodNotSupported,
    IncompatibleBrokerVersion,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
)


@dataclass(frozen=True, slots=True)
class PartitionState:
    """Who leads (-1: nobody) and on how many brokers a partition is, and is up to date."""

    leader: int
    replicas: int
    in_sync: int


@dataclass(frozen=True, slots=True)
class TopicState:
    """What the brokers say of a topic. `error` is 0 or why they say nothing."""

    error: int
    topic_id: bytes
    partitions: Mapping[int, PartitionState]


class Wire:
    """Asks brokers. Close it at the end; everything may be asked by several at once."""

    def __init__(self, place: KafkaPlace) -> None:
        """Raise ValueError when the certificates cannot be used."""
        # Its errors are said by whoever asked; its debug lines would show how we sign in.
        logging.getLogger("aiokafka").setLevel(logging.CRITICAL + 1)
        self._place = place
        self._tls = make_tls(place.access)
        self._brokers: dict[int, tuple[str, int]] = {}
        self._lanes: dict[tuple[str, int, str], AIOKafkaConnection] = {}
        self._locks: dict[tuple[str, int, str], asyncio.Lock] = {}
        self._leaders: dict[str, dict[int, int]] = {}
        self._answered: tuple[str, int] | None = None  # who did last, and is asked first
        self._refreshing = asyncio.Lock()
        self._refreshed = float("-inf")
        self._is_closed = False

    @property
    def brokers(self) -> int:
        """How many brokers there are, as far as was said."""
        return len(self._brokers)

    async def ask(self, node: int, request: Request, lane: str = ASK, seconds: float | None = None) -> Response:
        """Give one broker's answer.

        Raise KafkaError, OSError (TimeoutError after `seconds`, which is the log's deadline unless said: then the
        connection is given up, so that no late answer stands in the way of the next), NotReachedError for a broker
        that nobody knows.
        """
        if node not in self._brokers:
            await self.look()
        if node not in self._brokers:
            message = f"broker {node} is not known"
            raise NotReachedError(message)
        return await self._ask(self._brokers[node], request, lane, seconds or self._place.deadline)

    async def ask_any(self, request: Request) -> Response:
        """Give the answer of the first broker that has one; raise NotReachedError or RefusedForGoodError."""
        reasons: list[str] = []
        refused: Exception | None = None
        first = () if self._answered is None else (self._answered,)
        addresses = dict.fromkeys((*first, *self._brokers.values(), *self._place.hosts))
        seconds = self._place.deadline / min(len(addresses), TRIED_IN_TIME)
        for address in addresses:
            try:
                answer = await self._ask(address, request, ASK, seconds)
            except (KafkaError, OSError) as error:
                reasons.append(f"{address[0]}:{address[1]}: {explain(error, self._place.access)}")
                if isinstance(error, (*REFUSED_FOR_GOOD, ssl.SSLError)):
                    refused = error
            else:
                self._answered = address
                return answer
        if refused is not None:
            raise RefusedForGoodError("; ".join(reasons)) from refused
        raise NotReachedError("; ".join(reasons))

    async def look(self, topics: Sequence[str] = ()) -> Mapping[str, TopicState]:
        """Ask anew who is there and who leads `topics`, or every topic that was asked about before."""
        answer = await self.ask_any(MetadataRequest(topics or sorted(self._leaders)))
        self._brokers = {node: (host, port) for node, host, port, *_ in answer.brokers} or self._brokers
        states = {
            name: TopicState(error, topic_id, {number: to_state(rest) for _, number, *rest in partitions})
            for error, name, topic_id, _, partitions, *_ in answer.topics
        }
        for name, state in states.items():
            self._leaders[name] = {number: partition.leader for number, partition in state.partitions.items()}
        return states

    async def refresh(self) -> None:
        """Look again at what was asked about before, unless somebody else has just done so."""
        async with self._refreshing:
            if asyncio.get_running_loop().time() >= self._refreshed + FRESH:
                try:
                    await self.look()
                finally:
                    self._refreshed = asyncio.get_running_loop().time()

    def leader(self, topic: str, partition: int) -> int:
        """Which broker leads the partition, -1 when nobody is known to."""
        return self._leaders.get(topic, {}).get(partition, -1)

    async def find_coordinator(self, group: str) -> int:
        """Which broker coordinates the group; raise BrokerRefusedError too."""
        answer = await self.ask_any(FindCoordinatorRequest(group, 0))
        check(answer.error_code, answer.error_message)
        self._brokers.setdefault(answer.coordinator_id, (answer.host, answer.port))
        return int(answer.coordinator_id)

    async def close(self) -> None:
        """Close every connection; those who still wait for an answer are told."""
        self._is_closed = True
        lanes, self._lanes = list(self._lanes.values()), {}
        closed = [future for future in (lane.close() for lane in lanes) if future is not None]
        if closed:  # a broker that hangs never takes what is still to be sent
            await asyncio.wait(closed, timeout=CLOSE_SECONDS)

    async def _ask(self, address: tuple[str, int], request: Request, lane: str, seconds: float) -> Response:
        connection: AIOKafkaConnection | None = None
        try:
            async with asyncio.timeout(seconds):
                connection = await self._connect((*address, lane))
                return await connection.send(request)
        except NotImplementedError as error:  # aiokafka's: the broker speaks no version of the request
            message = f"{address[0]}:{address[1]} is too old (Kafka 2.8 or newer is needed): {error}"
            raise RefusedForGoodError(message) from error
        except KafkaError:  # a RuntimeError, too
            raise
        except RuntimeError as error:  # uvloop's answer to writing to a connection that has just been reset
            if connection is not None:
                connection.close()
            message = f"{address[0]}:{address[1]} has closed the connection"
            raise ConnectionError(message) from error
        except TimeoutError as error:
            if connection is not None:
                connection.close()
            message = f"no answer from {address[0]}:{address[1]} within {seconds:.1f} s"
            raise TimeoutError(message) from error

    async def _connect(self, key: tuple[str, int, str]) -> AIOKafkaConnection:
        async with self._locks.setdefault(key, asyncio.Lock()):
            connection = self._lanes.get(key)
            if connection is not None:
                if connection.connected():
                    return connection
                connection.close()  # it has ended, but may not have been let go of
            connection = await self._open(key[0], key[1])
            if self._is_closed:
                connection.close()
                message = "closed"
                raise NotReachedError(message)
            self._lanes[key] = connection
            return connection

    async def _open(self, host: str, port: int) -> AIOKafkaConnection:
        access = self._place.access
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                return await create_conn(
                    host,
                    port,
                    client_id="pulse",
                    request_timeout_ms=HELD_MS,
                    max_idle_ms=IDLE_MS,
                    ssl_context=self._tls,
                    security_protocol=access.protocol,
                    sasl_mechanism=access.mechanism or None,
                    sasl_plain_username=access.user,
                    sasl_plain_password=access.password,
                )
        except (KafkaConnectionError, ConnectionResetError) as error:
            message = "it closed the connection at once: do security= and sasl= fit this port?"
            raise ConnectionError(message) from error


def to_state(fields: Sequence[object]) -> PartitionState:
    """Leader, leader epoch, replicas, in sync, as they come in an answer."""
    leader, _, replicas, in_sync, *_ = fields
    assert isinstance(leader, int)  # noqa: S101 - for the type
    assert isinstance(replicas, list)  # noqa: S101 - for the type
    assert isinstance(in_sync, list)  # noqa: S101 - for the type
    return PartitionState(leader, len(replicas), len(in_sync))


def make_tls(access: Access) -> ssl.SSLContext | None:
    """What TLS needs, None without it; raise ValueError when the files do not fit."""
    if not access.tls:
        return None
    try:
        context = ssl.create_default_context(cafile=access.ca or None)
        if access.cert:
            context.load_cert_chain(access.cert, access.key or None)
    except (OSError, ssl.SSLError) as error:
        message = f"the URL of the log: ca, cert and key cannot be used for TLS: {error}"
        raise ValueError(message) from error
    return context


def explain(error: Exception, access: Access) -> str:
    """Say in one line why a broker could not be asked, and what may be wrong with the URL."""
    if isinstance(error, SaslAuthenticationFailed | AuthenticationFailedError):
        return f"the broker does not accept the user {access.user!r} with this password"
    if isinstance(error, UnsupportedSaslMechanismError):
        return f"the broker does not know sasl={access.mechanism.lower()}"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({error.verify_message}): name the authority that signed it with ca="
    if isinstance(error, ssl.SSLError):
        return f"TLS failed ({error.reason}): is security=tls right for this port, and cert= where it asks for one?"
    return str(error) or type(error).__name__


def has_id(state: TopicState) -> bool:
    """Whether the topic says who it is (brokers before 2.8 do not)."""
    return state.topic_id != NO_ID
