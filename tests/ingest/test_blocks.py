"""How lines become blocks, and what the headers say of them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from ingest.admit import Admission, Refusal
from ingest.blocks import MAX_WAITING, BlockWriter, OverloadedError
from ingest.log import LogUnavailableError
from ingest.refused import Reason
from schemas.event import BLOCK_BYTES, ReceiptCount, SiteId

if TYPE_CHECKING:
    from schemas.event import BlockHeaders

NOW = 1_790_000_000_000
HOUR = NOW // 3_600_000 * 3600
SITE = SiteId(1)


class HeldLog:
    """A log of two partitions that takes a block only when it is let go, with or without success."""

    partitions = 2

    def __init__(self) -> None:
        self.blocks: list[tuple[int, BlockHeaders, bytes]] = []
        self.held: list[asyncio.Future[None]] = []

    async def append(self, partition: int, headers: BlockHeaders, body: bytes) -> int:
        """Hold the block."""
        held: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.held.append(held)
        await held
        self.blocks.append((partition, headers, body))
        return len(self.blocks)

    async def let_go(self, error: Exception | None = None) -> None:
        """Finish every block that is held now."""
        await turn()
        held, self.held = self.held, []
        for one in held:
            if error is None:
                one.set_result(None)
            else:
                one.set_exception(error)
        await turn()


async def turn() -> None:
    """Let everything run that can."""
    for _ in range(10):
        await asyncio.sleep(0)


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that halts for a moment cuts nothing short; tests of these limits set their own."""
    monkeypatch.setattr("ingest.blocks.GATHER_SECONDS", 60)
    monkeypatch.setattr("ingest.blocks.TOGETHER_SECONDS", 60)


@pytest.fixture
async def log() -> HeldLog:
    return HeldLog()


@pytest.fixture
async def blocks(log: HeldLog) -> BlockWriter:
    return BlockWriter(log, lambda lines, seconds: None)  # type: ignore[arg-type]  # noqa: ARG005


def make_lines(count: int, size: int = 10, visitor: int = 0) -> Admission:
    return Admission(count, {(SITE, visitor): [b"x" * (size - 1) + b"\n"] * count}, [])


def make_refusal(reason: Reason = Reason.BAD_URL, site: SiteId | None = SITE) -> Refusal:
    return Refusal(0, reason, site)


def add(blocks: BlockWriter, admission: Admission, received: int = NOW) -> list[Exception | None]:
    """Give the list that gets the outcome."""
    outcome: list[Exception | None] = []
    blocks.add(admission, received, outcome.append)
    return outcome


async def test_lines_gather_while_the_block_before_is_under_way(log: HeldLog, blocks: BlockWriter) -> None:
    first = [add(blocks, make_lines(1)), add(blocks, make_lines(2), NOW + 1)]
    await turn()
    second = [add(blocks, make_lines(1), NOW + 2), add(blocks, make_lines(1), NOW + 3)]
    await log.let_go()
    assert [len(body) for _, _, body in log.blocks] == [30]
    assert (first, second) == ([[None], [None]], [[], []])
    await log.let_go()
    assert second == [[None], [None]]
    assert [(h.lines, h.first_received, h.last_received) for _, h, _ in log.blocks] == [
        (3, NOW, NOW + 1),
        (2, NOW + 2, NOW + 3),
    ]
    assert blocks.waiting == 0


async def test_who_comes_before_the_loop_rests_shares_the_block(log: HeldLog, blocks: BlockWriter) -> None:
    add(blocks, make_lines(1))
    for _ in range(5):
        await asyncio.sleep(0)
        add(blocks, make_lines(1))
    await log.let_go()
    assert [header.lines for _, header, _ in log.blocks] == [6]


async def test_a_loop_that_never_rests_does_not_hold_a_block_up(
    log: HeldLog, blocks: BlockWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingest.blocks.GATHER_SECONDS", 0)
    add(blocks, make_lines(1))
    while not log.held:
        await asyncio.sleep(0)
        add(blocks, make_lines(1))


async def test_blocks_of_several_partitions_go_together(log: HeldLog, blocks: BlockWriter) -> None:
    add(blocks, make_lines(1, visitor=2))
    await turn()
    add(blocks, make_lines(1, visitor=5))
    add(blocks, make_lines(1, visitor=2))
    await turn()
    assert len(log.held) == 1
    await log.let_go()
    assert len(log.held) == 2
    await log.let_go()
    assert sorted(partition for partition, _, _ in log.blocks) == [0, 0, 1]


async def test_a_partition_that_is_slow_is_left_behind(
    log: HeldLog, blocks: BlockWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingest.blocks.TOGETHER_SECONDS", 0)
    slow = add(blocks, make_lines(1, visitor=0))
    await turn()
    held = log.held.pop()
    for _ in range(3):
        fast, late = add(blocks, make_lines(1, visitor=1)), add(blocks, make_lines(1, visitor=0))
        async with asyncio.timeout(10):
            while not fast:
                await log.let_go()
        assert (fast, slow, late) == ([None], [], [])
    held.set_result(None)
    await turn()
    assert (slow, late) == ([None], [])
    await log.let_go()
    assert late == [None]
    await blocks.stop()


async def test_a_block_holds_at_most_256_kib(log: HeldLog, blocks: BlockWriter) -> None:
    outcome = add(blocks, make_lines(20, size=60_000))
    for _ in range(4):
        await log.let_go()
        assert outcome == []
    await log.let_go()
    assert outcome == [None]
    assert [header.lines for _, header, _ in log.blocks] == [4, 4, 4, 4, 4]
    assert all(len(body) <= BLOCK_BYTES for _, _, body in log.blocks)


async def test_a_request_fails_when_any_of_its_blocks_fails(log: HeldLog, blocks: BlockWriter) -> None:
    outcome = add(blocks, Admission(2, {**make_lines(1).lines, **make_lines(1, visitor=1).lines}, []))
    await turn()
    one, two = log.held
    one.set_exception(LogUnavailableError("full"))
    two.set_result(None)
    await turn()
    [error] = outcome
    assert isinstance(error, LogUnavailableError)


async def test_a_failure_of_any_kind_is_not_durability(log: HeldLog, blocks: BlockWriter) -> None:
    outcome = add(blocks, make_lines(1))
    with capture_logs() as logs:
        await log.let_go(ZeroDivisionError("bug"))
    assert isinstance(outcome[0], ZeroDivisionError)
    assert [line["event"] for line in logs] == ["log_append_failed"]
    later = add(blocks, make_lines(1))
    await log.let_go()
    assert later == [None]


async def test_a_cancelled_write_is_not_durability(log: HeldLog, blocks: BlockWriter) -> None:
    outcome = add(blocks, make_lines(1))
    await turn()
    log.held[0].cancel()
    await turn()
    assert isinstance(outcome[0], LogUnavailableError)


async def test_headers_count_what_was_received_and_refused(log: HeldLog, blocks: BlockWriter) -> None:
    refusals = [make_refusal(), make_refusal(), make_refusal(Reason.PAUSED, SiteId(2)), make_refusal(site=None)]
    add(blocks, make_lines(2)._replace(refusals=refusals))
    add(blocks, make_lines(1), NOW + 3_600_000)
    await log.let_go()
    [(_, headers, _)] = log.blocks
    assert set(headers.counts) == {
        ReceiptCount(SITE, HOUR, "", 4),
        ReceiptCount(SITE, HOUR, "bad_url", 2),
        ReceiptCount(SiteId(2), HOUR, "", 1),
        ReceiptCount(SiteId(2), HOUR, "paused", 1),
        ReceiptCount(SITE, HOUR + 3600, "", 1),
    }


async def test_refusals_travel_with_the_next_block(log: HeldLog, blocks: BlockWriter) -> None:
    assert add(blocks, Admission(0, {}, [make_refusal()])) == [None]
    add(blocks, make_lines(1))
    await log.let_go()
    [(_, headers, _)] = log.blocks
    assert set(headers.counts) == {ReceiptCount(SITE, HOUR, "", 2), ReceiptCount(SITE, HOUR, "bad_url", 1)}
    blocks.flush_refusals()
    await log.let_go()
    assert len(log.blocks) == 1


async def test_refusals_alone_get_a_block_of_no_lines(log: HeldLog, blocks: BlockWriter) -> None:
    add(blocks, Admission(0, {}, [make_refusal()]))
    blocks.flush_refusals()
    await log.let_go()
    [(_, headers, body)] = log.blocks
    assert (headers.lines, headers.first_received, headers.last_received, body) == (0, NOW, NOW, b"")
    assert set(headers.counts) == {ReceiptCount(SITE, HOUR, "", 1), ReceiptCount(SITE, HOUR, "bad_url", 1)}


async def test_refusals_outlive_a_failed_block_and_lines_do_not(log: HeldLog, blocks: BlockWriter) -> None:
    add(blocks, Admission(0, {}, [make_refusal()]))
    mixed = add(blocks, make_lines(1)._replace(refusals=[make_refusal(Reason.PAUSED)]))
    await log.let_go(LogUnavailableError("full"))
    assert isinstance(mixed[0], LogUnavailableError)
    blocks.flush_refusals()
    await log.let_go()
    [(_, headers, _)] = log.blocks
    # The mixed request was answered 503: its sender has it still, so nothing of it counts.
    assert set(headers.counts) == {ReceiptCount(SITE, HOUR, "", 1), ReceiptCount(SITE, HOUR, "bad_url", 1)}


async def test_waiting_lines_are_bounded(log: HeldLog, blocks: BlockWriter) -> None:
    size = 100_000
    for _ in range(MAX_WAITING // size + 1):
        add(blocks, make_lines(1, size))
    with pytest.raises(OverloadedError):
        add(blocks, make_lines(1))
    while log.held or blocks.waiting:
        await log.let_go()
    assert add(blocks, make_lines(1)) == []


async def test_a_stop_finishes_what_waits_and_says_so(log: HeldLog, blocks: BlockWriter) -> None:
    outcome = add(blocks, make_lines(1))
    await turn()
    add(blocks, make_lines(3))
    add(blocks, Admission(0, {}, [make_refusal()]))
    with capture_logs() as logs:
        stop = asyncio.create_task(blocks.stop())
        while not stop.done():
            await log.let_go()
    assert outcome == [None]
    assert {"event": "waiting_for_blocks", "partitions": [0], "lines": 3, "log_level": "info"} in logs
    assert sum(header.lines for _, header, _ in log.blocks) == 4
    assert any(count.reason == "bad_url" for _, header, _ in log.blocks for count in header.counts)
    with pytest.raises(OverloadedError):
        add(blocks, make_lines(1))
