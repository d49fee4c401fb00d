"""The event log on Kafka: an acknowledged block is on every replica that counts."""

from __future__ import annotations

import asyncio
import re
from base64 import urlsafe_b64encode
from typing import TYPE_CHECKING

import structlog

from ingest.log import DEAD, LogDamagedError, LogUnavailableError
from ingest.log.kafka_append import Appender
from ingest.log.kafka_errors import UNKNOWN_TOPIC, BrokerRefusedError, as_log_error, check
from ingest.log.kafka_fetch import Fetcher
from ingest.log.kafka_group import KafkaGroup
from ingest.log.kafka_headers import MAX_KEPT, HeaderCache
from ingest.log.kafka_member import Member
from ingest.log.kafka_offsets import NOBODY, Coordinator
from ingest.log.kafka_prepare import as_open_error, check_topics, read_settings
from ingest.log.kafka_stream import Stream
from ingest.log.kafka_url import parse_kafka_url
from ingest.log.kafka_watch import Watch
from ingest.log.kafka_wire import Wire

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ingest.log import Bounds, Record
    from ingest.log.kafka_url import KafkaPlace
    from ingest.log.kafka_wire import TopicState
    from schemas.event import BlockHeaders

LOOK_SECONDS = 30.0  # how long another topic of the same name may go unnoticed
SURE_SECONDS = 0.5
NAME = re.compile(r"[A-Za-z0-9._-]{1,200}")
log = structlog.get_logger()


class KafkaLog:
    """`EventLog` on a topic. Any number of processes may append; those who joined share its partitions."""

    def __init__(self, wire: Wire, place: KafkaPlace, state: TopicState, min_insync: int) -> None:
        """Use `open_kafka_log`."""
        self._wire = wire
        self._place = place
        self._topic_id = state.topic_id
        self._partitions = len(state.partitions)
        self._min_insync = min_insync
        self._appender = Appender(wire, place)
        self._fetcher = Fetcher(wire, place)
        self._watch = Watch(wire, self._fetcher)
        self._coordinator = Coordinator(wire, place)
        self._streams: dict[int, Stream] = {}
        self._headers: dict[int, HeaderCache] = {}
        self._groups: list[KafkaGroup] = []
        self._refusal: Exception | None = None  # why nothing is taken or given any more
        self._looking = asyncio.create_task(self._look_now_and_then(), name="look at the topic")

    @property
    def identity(self) -> str:
        """The topic's id, which a topic made anew does not have, and the number of partitions."""
        return f"kafka:{urlsafe_b64encode(self._topic_id).decode().rstrip('=')}/{self._partitions}"

    @property
    def partitions(self) -> int:
        """How many ordinary partitions the topic has."""
        return self._partitions

    @property
    def waiting_bytes(self) -> int:
        """How much is on its way to the brokers; never more than the URL's `buffer_bytes`."""
        return self._appender.waiting

    async def append(self, partition: int, headers: BlockHeaders, body: bytes) -> int:
        """Return the block's position once every replica that counts has it.

        Raise LogUnavailableError when that takes longer than the deadline (it may land nevertheless) or when too many
        bytes wait already.
        """
        self._refuse(partition)
        position = await self._appender.append(*self._fetcher.place_of(partition), headers, body)
        self._fetcher.learn_end(partition, position + 1)
        self._watch.see(partition, position + 1)
        return position

    async def read(self, partition: int, position: int, max_bytes: int) -> Sequence[Record]:
        """Give the records from `position` on, up to `max_bytes` of bodies but at least one if there is one.

        Whatever of the topic is not a block of ours is a record of version 0.
        """
        self._refuse(partition)
        stream = self._streams.setdefault(partition, Stream(self._fetcher, partition, self._partitions))
        found = await stream.read(position, max_bytes)
        self._watch.see(partition, found.end)
        if not found.records and found.end > position:
            self._watch.see_nothing(partition, position, found.end)
        return found.records

    async def read_headers(self, partition: int, position: int) -> Sequence[tuple[int, BlockHeaders]]:
        """Give (position, headers) of every record from `position` on; ask again from a little later, that is cheap."""
        self._refuse(partition)
        if partition not in self._headers:
            self._headers[partition] = HeaderCache(self._fetcher, partition, MAX_KEPT // self._partitions)
        return await self._headers[partition].read(position)

    async def wait(self, positions: Mapping[int, int], seconds: float) -> bool:
        """Return True as soon as a partition holds a record at or after its position, False after `seconds`."""
        for partition in positions:
            self._refuse(partition)
        return await self._watch.wait(positions, seconds)

    async def bounds(self, partition: int) -> Bounds:
        """Where the partition begins and ends now."""
        self._refuse(partition)
        return await self._fetcher.bounds(partition)

    async def join(self, member: str) -> KafkaGroup:
        """Join those who consume the log; raise ValueError for a name that Kafka does not take."""
        self._refuse()
        if not NAME.fullmatch(member):
            message = f"a consumer's name has 1 to 200 of the characters a-z A-Z 0-9 . _ -, unlike {member!r}"
            raise ValueError(message)
        speaker = Member(self._coordinator, self._place, self._partitions, member)
        self._groups.append(KafkaGroup(speaker, self._coordinator, self._place))
        return self._groups[-1]

    async def commit(self, positions: Mapping[int, int]) -> None:
        """Remember how far each partition has been consumed; LogUnavailableError while consumers are members."""
        for partition in positions:
            self._refuse(partition)
        self._refuse()
        offsets = [(*self._fetcher.place_of(partition), position) for partition, position in positions.items()]
        try:
            if offsets:
                await self._coordinator.commit(NOBODY, offsets)
        except BrokerRefusedError as error:
            message = f"positions are not committed: the group {self._place.group} has members; stop the consumers"
            raise LogUnavailableError(message) from error

    async def committed(self) -> Mapping[int, int]:
        """What `commit` last remembered, for every partition (`DEAD` too); 0 where it never did."""
        self._refuse()
        found = await self._coordinator.committed({self._place.topic: self._partitions, self._place.dead_topic: 1})
        numbers = (*range(self._partitions), DEAD)
        return {number: found.get(self._fetcher.place_of(number), 0) for number in numbers}

    async def trim(self, partition: int, position: int) -> None:
        """Do nothing: Kafka deletes by age alone, and others may read what one consumer is done with."""
        del position
        self._refuse(partition)

    async def ping(self) -> None:
        """Return if every partition could take a block now, else raise LogUnavailableError with the reason."""
        self._refuse()
        with as_log_error("Kafka cannot be asked"):
            await self._look()
            self._refuse()

    async def close(self) -> None:
        """Finish the appends under way, within their deadline; members go without a word. May be called twice."""
        if self._refusal is None or isinstance(self._refusal, LogDamagedError):
            self._refusal = LogUnavailableError(f"the log {self._place} is closed")
        self._looking.cancel()
        await asyncio.gather(self._looking, return_exceptions=True)
        await asyncio.gather(self._appender.close(), *(group.abandon() for group in self._groups))
        for stream in self._streams.values():
            stream.close()
        await self._watch.close()
        await self._wire.close()

    def _refuse(self, partition: int | None = None) -> None:
        if self._refusal is not None:
            raise self._refusal
        if partition not in {None, DEAD} and partition not in range(self._partitions):
            message = f"the log has partitions 0 to {self._partitions - 1} and {DEAD}, not {partition}"
            raise ValueError(message)

    async def _look_now_and_then(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                with as_log_error("Kafka cannot be asked"):
                    await self._look()
            except LogUnavailableError as error:
                log.info("log_not_well", problem=str(error))

    async def _look(self) -> None:
        """See whether the topic is the one that was opened and could take blocks; raise LogUnavailableError."""
        states = await self._wire.look([self._place.topic, self._place.dead_topic])
        if self._tell_difference(states[self._place.topic]):  # asked again: a broker that has just started knows little
            await asyncio.sleep(SURE_SECONDS)
            states = await self._wire.look([self._place.topic, self._place.dead_topic])
        for topic, state in states.items():
            if state.error != UNKNOWN_TOPIC:
                check(state.error)
            if topic == self._place.topic and (difference := self._tell_difference(state)):
                self._refusal = self._refusal or LogDamagedError(f"the topic {topic} {difference}")
            for number, partition in state.partitions.items():
                if partition.leader < 0 or partition.in_sync < self._min_insync:
                    message = (
                        f"partition {number} of {topic} takes nothing: "
                        f"{partition.in_sync} of {partition.replicas} replicas are up to date"
                    )
                    raise LogUnavailableError(message)

    def _tell_difference(self, state: TopicState) -> str:
        """Say in what the topic is not the one that was opened, if it is not."""
        if state.error == UNKNOWN_TOPIC or (not state.error and state.topic_id != self._topic_id):
            return "was deleted or made anew while it was open: restart; what was not consumed is lost"
        if not state.error and len(state.partitions) != self._partitions:
            return (
                f"has {len(state.partitions)} partitions now and had {self._partitions} when it was opened: "
                "a visitor would change partition; name a new topic in the URL of the log"
            )
        return ""


async def open_kafka_log(url: str) -> KafkaLog:
    """Open the log of a topic that is there.

    Raise ValueError for a URL, a user or a topic that is not right, LogUnavailableError when no broker can be asked.
    """
    place = parse_kafka_url(url)
    wire = Wire(place)
    try:
        with as_open_error(place):
            state = await check_topics(wire, place)
            settings = await read_settings(wire, place.topic)
    except BaseException:
        await wire.close()
        raise
    return KafkaLog(wire, place, state, int(settings["min.insync.replicas"]))
