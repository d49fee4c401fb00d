"""Workers without processes: how figures are added up, how limits and cores are shared out."""

from __future__ import annotations

import asyncio
import os
import sys
from datetime import UTC, datetime
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from deploy.jobs import write_key_uses
from deploy.role import Role
from deploy.settings import Settings
from deploy.workers import WrongWorkersError, refuse_other_roles, to_count
from deploy.workers_channel import Kind, Message, to_line, to_message
from deploy.workers_figures import add_to_past, add_up
from deploy.workers_member import to_figures, to_text
from deploy.workers_place import Place
from deploy.workers_post import Post
from ingest.collector_metrics import CollectorMetrics
from schemas.control.tables import keys
from tests.ingest.collecting import add_key, add_project

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy.ext.asyncio import AsyncEngine

    from deploy.base import Base
    from deploy.workers_figures import Figures


def make_figures(count: int, lag: float, memory: int) -> Figures:
    """What a worker may tell."""
    return to_figures(make_registry(count, lag, memory))


def make_registry(count: int, lag: float, memory: int) -> CollectorRegistry:
    """What a worker may have counted."""
    registry = CollectorRegistry()
    Counter("answers", "Answers", ["status"], registry=registry).labels("202").inc(count)
    histogram = Histogram("append_seconds", "Appending", buckets=(1, 5), registry=registry)
    histogram.observe(count)
    Gauge("waiting_bytes", "Waiting", registry=registry).set(count)
    Gauge("lag_seconds", "Behind", registry=registry).set(lag)
    Gauge("process_resident_memory_bytes", "Memory", registry=registry).set(memory)
    return registry


def find(figures: Figures, name: str) -> dict[tuple[tuple[str, str], ...], float]:
    """The samples of a name by their labels."""
    return {one.labels: one.value for family in figures for one in family.samples if one.name == name}


def test_counts_and_states_are_added_ages_are_the_highest_and_processes_are_told_apart() -> None:
    whole = add_up((), {0: make_figures(3, 7.0, 100), 1: make_figures(4, 2.0, 200)})
    assert find(whole, "answers_total") == {(("status", "202"),): 7}
    assert find(whole, "append_seconds_count") == {(): 2}
    assert find(whole, "append_seconds_sum") == {(): 7}
    assert list(find(whole, "append_seconds_bucket").values()) == [0, 2, 2]
    assert find(whole, "waiting_bytes") == {(): 7}
    assert find(whole, "lag_seconds") == {(): 7.0}
    assert find(whole, "process_resident_memory_bytes") == {(("worker", "0"),): 100, (("worker", "1"),): 200}


def test_what_waits_is_told_of_each_worker_since_each_has_the_limit() -> None:
    figures: dict[int, Figures] = {}
    for worker, waiting in enumerate((3, 4)):
        registry = CollectorRegistry()
        CollectorMetrics(registry).waiting = partial(int, waiting)
        figures[worker] = to_figures(registry)
    assert find(add_up((), figures), "pulse_collector_waiting_bytes") == {(("worker", "0"),): 3, (("worker", "1"),): 4}


def test_of_those_that_are_gone_the_counts_stay_and_the_states_do_not() -> None:
    born = next(iter(find(make_figures(1, 1, 1), "append_seconds_created").values()))
    past = add_to_past(add_to_past((), make_figures(3, 7.0, 100)), make_figures(2, 1.0, 1))
    whole = add_up(past, {0: make_figures(4, 2.0, 200), 1: ()})
    assert find(whole, "answers_total") == {(("status", "202"),): 9}
    assert find(whole, "append_seconds_count") == {(): 3}
    assert find(whole, "append_seconds_created")[()] >= born
    assert find(whole, "waiting_bytes") == {(): 4}
    assert find(whole, "lag_seconds") == {(): 2.0}
    assert list(find(whole, "process_resident_memory_bytes")) == [(("worker", "0"),)]
    assert find(past, "lag_seconds") == {}


def test_figures_arrive_as_they_were_told_and_are_written_as_one_process_writes_them() -> None:
    registry = make_registry(3, float("inf"), 100)
    said = Message(Kind.ANSWER, 7, to_figures(registry), 2)
    assert to_message(to_line(said)) == said
    assert to_text(said.figures) == generate_latest(registry)
    with pytest.raises(ValueError, match="nonsense"):
        to_message(b'["nonsense", 0, [], 0]')


async def test_a_worker_that_dies_in_the_middle_of_a_line_has_said_all_before_it(tmp_path: Path) -> None:
    lines = to_line(Message(Kind.FIGURES, 1, make_figures(3, 7.0, 100))), to_line(Message(Kind.FIGURES, 2))[:-9]
    program = tmp_path / "worker.py"
    program.write_text(f"import os, sys; os.write(int(sys.argv[1].split(',')[2]), {b''.join(lines)!r}); os._exit(9)")
    post = Post(Place(0, 1, -1, ()), (sys.executable, "-I", str(program)), (), answer_nothing)
    await post.start()
    assert await post.stay() == 9
    assert find(post.figures, "answers_total") == {(("status", "202"),): 3}


async def answer_nothing(_message: Message) -> Message:
    raise AssertionError


def test_cores_and_limits_are_shared_out() -> None:
    assert to_count("auto") == to_count("0") == len(os.sched_getaffinity(0))
    assert to_count("8") == 8
    for text in ("", "-1", "1.5", "257", "²"):
        with pytest.raises(WrongWorkersError):
            to_count(text)
    settings = Settings(collect_limit=1000, collect_address_limit=0)
    place = Place.parse(Place(2, 3, 9, (4, 5)).to_text())
    assert place == Place(2, 3, 9, (4, 5))
    own = place.share(settings)
    assert (own.collect_limit, own.collect_address_limit) == (334, 0)
    refuse_other_roles(frozenset({Role.COLLECTOR}))
    for roles in ({Role.ALL}, {Role.COLLECTOR, Role.JOBS}, {Role.CONSUMER}):
        with pytest.raises(WrongWorkersError):
            refuse_other_roles(frozenset(roles))


async def test_the_last_use_of_a_key_is_the_latest_that_any_worker_saw(control: AsyncEngine) -> None:
    await add_project(control)
    await add_key(control, "ak_live_a")
    for used in (60_000, 90_000, 30_000):
        collector = SimpleNamespace(key_uses={1: used})
        worker = cast("Base", SimpleNamespace(collectors=[collector], control=control))
        stopping = asyncio.Event()
        asyncio.get_running_loop().call_soon(stopping.set)
        await write_key_uses(worker, stopping)
    async with control.connect() as connection:
        found = (await connection.execute(keys.select())).one().last_used_at
    assert found == datetime.fromtimestamp(90, UTC)
