"""An embedded installation becomes one on servers while events come: nothing is lost, doubled or changed."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import subprocess
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

import pytest

from schemas.warehouse.client import Warehouse
from schemas.warehouse.errors import WarehouseError
from tests.deploy.moving import (
    RANGE,
    Traffic,
    add_up,
    count_events,
    make_event,
    make_key,
    make_site,
    post,
    read_reports,
    send_old,
    wait_for,
)
from tests.door.faults import Kind
from tests.product import PULSE, Product
from tests.servers.postgres import PostgresServer

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tests.deploy.moving import Rows
    from tests.door.process import Door
    from tests.servers.kafka import KafkaServer

OLD_EVENTS = 500
SECONDS = 240.0
GRACE = "20"  # longer than the old server takes to start again on a busy machine


@dataclass(slots=True)
class Move:
    """An installation on its way: the old server, and the URLs of the new one."""

    old: Product
    door: Door
    options: Mapping[str, str]
    key: str = ""
    site_key: str = ""
    acknowledged: list[str] = field(default_factory=list)
    reports: dict[str, Rows] = field(default_factory=dict)

    @property
    def arguments(self) -> list[str]:
        """The options of `pulse promote`."""
        return [word for name, value in self.options.items() for word in (f"--{name}", value)]

    def begin(self, *more: str) -> subprocess.Popen[str]:
        """Begin a promotion in a process of its own."""
        command = [str(PULSE), "promote", *self.arguments, *more, "--json"]
        environment = self.old.environment()
        return subprocess.Popen(  # noqa: S603 - our own program
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def new(self, folder: Path) -> Product:
        """The new installation, not started."""
        return Product(folder, {f"{name.upper()}_URL": value for name, value in self.options.items()})


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """A server for control planes."""
    with PostgresServer(tmp_path_factory.mktemp("postgres")) as server:
        yield server


@pytest.fixture(scope="module")
def move(
    tmp_path_factory: pytest.TempPathFactory, door: Door, postgres: PostgresServer, kafka_server: KafkaServer
) -> Iterator[Move]:
    """An installation with some months, whose servers are ready for it."""
    postgres.run_sql("CREATE DATABASE promoted")
    options = {
        "warehouse": f"{door.url}/promoted",
        "control": postgres.url("promoted"),
        "log": f"kafka://{kafka_server.address}/promoted?partitions=2&replication=1",
    }
    with Product(tmp_path_factory.mktemp("old")) as old:
        move = Move(old, door, options, make_key(old, "read", "ingest"))
        send_old(old, move.key, make_site(old, "old.example"), OLD_EVENTS)
        move.site_key = make_site(old, "new.example")
        assert count_events(old, move.key) == OLD_EVENTS
        move.reports = read_reports(old, move.key, "old.example")
        yield move
        door.clear()


def run_on_door(move: Move, sql: str) -> Rows:
    """Run SQL on the new warehouse."""

    async def run() -> Rows:
        warehouse = await asyncio.to_thread(Warehouse, move.options["warehouse"], 1)
        try:
            if sql.startswith("SELECT"):
                return cast("Rows", (await warehouse.query(sql)).to_pylist())
            await warehouse.command(sql)
        finally:
            await warehouse.close()
        return []

    return asyncio.run(run())


def count_copied(move: Move) -> int:
    """Events in the new warehouse; 0 while it has no table of them."""
    try:
        return cast("int", run_on_door(move, "SELECT count() AS found FROM events")[0]["found"])
    except WarehouseError:
        return 0


def test_a_difference_is_named_and_the_old_installation_goes_on(move: Move) -> None:
    move.door.fault(Kind.AFTER, "INSERT INTO events", seconds=SECONDS)
    with Traffic(move.old, move.key, move.site_key) as traffic:
        with move.begin() as killed:
            wait_for(lambda: count_copied(move) > 0, 0.5)
            killed.kill()
        run_on_door(move, "ALTER TABLE events UPDATE title = 'damaged' WHERE 1 SETTINGS mutations_sync = 2")
        damaged = count_copied(move)
        move.door.clear()
        move.door.fault(Kind.LOSE_ANSWER, "INSERT INTO events", times=2)
        done = move.old.run("promote", *move.arguments, "--json", check=False)
        traffic.wait_for_more(5)
    move.acknowledged += traffic.acknowledged
    assert done.returncode == 1
    assert "NOT handed over, the two sides differ: events of site" in done.stderr
    assert done.stderr.count("(other rows)") == 1
    assert 0 < damaged < OLD_EVENTS
    assert not (move.old.folder / "data" / "promoted.json").exists()
    assert count_events(move.old, move.key) == OLD_EVENTS + len(move.acknowledged)


def test_collecting_goes_on_until_the_old_server_stops(move: Move) -> None:
    old, note = move.old, move.old.folder / "data" / "promoted.json"
    with Traffic(old, move.key, move.site_key) as traffic:
        with move.begin("--mend", "--grace", GRACE) as process:
            wait_for(note.exists)
            stored = add_up(old, move.key)["stored"]
            late = make_site(old, "late.example")
            traffic.wait_for_more(20)
            post(old.base, move.key, make_event(late, "/late"))
            assert add_up(old, move.key)["stored"] == stored
            process.kill()
        process = move.begin("--mend", "--grace", GRACE)
        traffic.wait_for_more(20)
    move.acknowledged += [*traffic.acknowledged, "late"]
    old.kill()
    old.start()  # a restart, while the log is still being read
    with Traffic(old, move.key, move.site_key) as traffic:
        traffic.wait_for_more(10)
    move.acknowledged += traffic.acknowledged
    assert old.stop() == 0
    told, problems = process.communicate(timeout=SECONDS)
    assert process.returncode == 0, problems
    result = json.loads(told)
    assert result["proved"]["stored"] >= OLD_EVENTS
    assert "***" in result["settings"]["PULSE_WAREHOUSE_URL"]
    assert sorted(path.name for path in note.parent.glob("promote*")) == ["promote.lock", "promoted.json"]


def test_the_old_installation_cannot_be_started_any_more(move: Move) -> None:
    done = move.old.run("serve", check=False)
    assert done.returncode == 1
    assert "this installation was promoted to clickhouse://***@" in done.stderr
    with sqlite3.connect(move.old.folder / "data" / "control.db") as connection:
        assert connection.execute("SELECT count(*) FROM salts").fetchone() == (0,)
    with (
        sqlite3.connect(move.old.folder / "data" / "log.db") as connection,
        pytest.raises(sqlite3.IntegrityError, match="promoted"),
    ):
        connection.execute("INSERT INTO records VALUES (1, 1, '', '')")


def test_the_new_installation_has_it_all_and_goes_on(move: Move, tmp_path: Path) -> None:
    with move.new(tmp_path) as new:
        expected = OLD_EVENTS + len(move.acknowledged)
        assert cast("dict[str, str]", new.get_json("/readyz")["parts"])["jobs"] == "ok"
        assert count_events(new, move.key) == expected
        assert read_reports(new, move.key, "old.example") == move.reports
        assert cast("Rows", new.get_json(f"/v1/stats?{RANGE}&site=late.example", move.key)["data"])[0]["pageviews"] == 1
        make_site(new, "later.example")
        with Traffic(new, move.key, move.site_key) as traffic:
            traffic.wait_for_more(60)
        assert count_events(new, move.key) == expected + len(traffic.acknowledged)
        days = cast("Rows", new.get_json(f"/v1/timeseries?{RANGE}&interval=1+day&site=new.example", move.key)["data"])
        assert max(cast("int", day["visitors"]) for day in days) == 50  # the same salts: the same visitors
        assert [row["_log"] for row in run_on_door(move, "SELECT DISTINCT _log FROM events ORDER BY _log")] == [1, 2]


def test_a_stopped_installation_moves_at_once_and_may_keep_its_log(
    door: Door, postgres: PostgresServer, tmp_path: Path
) -> None:
    postgres.run_sql("CREATE DATABASE cold")
    options = {"warehouse": f"{door.url}/cold", "control": postgres.url("cold")}
    with Product(tmp_path / "old") as old:
        key = make_key(old, "read", "ingest")
        send_old(old, key, make_site(old, "old.example"), 100)
        assert count_events(old, key) == 100
        reports = read_reports(old, key, "old.example")
    move = Move(old, door, options)
    assert old.run_json("promote", *move.arguments, "--grace", "1")["done"]
    with move.new(old.folder) as new:  # the same folder: the log is in it
        assert count_events(new, key) == 100
        assert read_reports(new, key, "old.example") == reports
