"""`pulse ledger --verify` and `pulse ledger repair`: right is right, wrong is named, what is doubled is mended."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest
from typer.testing import CliRunner

from deploy.admin_ledger import LEDGER_COMMANDS
from deploy.cli_ledger import WrongOptionError, app, show_recount
from deploy.recounting import Recount, read_plan, recount_days, recount_log
from deploy.terminal import CommandError
from ingest.progress import read_progress
from ingest.retention import Retention
from schemas.event import SiteId
from schemas.in_flight import InFlight
from tests.deploy.sending import add_up, send, wait_for
from tests.ingest.consumer.rivers import (
    HOUR,
    NOW,
    OTHER_SITE,
    SITE,
    Crash,
    crash_at,
    make_enricher,
    make_line,
    open_river,
)
from tests.product import Product

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from sqlalchemy.ext.asyncio import AsyncEngine

    from deploy.asking import Arguments, Ask, Result
    from deploy.parts import Parts
    from schemas.warehouse.client import Warehouse
    from tests.ingest.consumer.rivers import River

THIS_HOUR = "2026-11-21T12:00:00Z"


@pytest.fixture
async def river(control: AsyncEngine, warehouse: Warehouse, tmp_path: Path) -> AsyncIterator[River]:
    """Three hours of two sites, consumed."""
    river = await open_river(control, warehouse, tmp_path, make_enricher())
    await river.append([make_line(), make_line(site_id=OTHER_SITE), make_line(received=NOW - 30 * HOUR), b"{"])
    await river.append([make_line(received=NOW - 2 * HOUR) for _ in range(3)], 1)
    await river.consume()
    yield river
    await river.log.close()


def make_ask(river: River) -> Ask:
    """The server's side on a river."""

    async def read_positions() -> dict[int, int]:
        return dict((await read_progress(river.warehouse, river.log, river.number, [0, 1])).begins)

    async def read_in_flight() -> Sequence[InFlight]:
        return [InFlight(river.number, *place, ()) for place in (await read_positions()).items()]

    parts = SimpleNamespace(
        base=SimpleNamespace(control=river.control, log=river.log, clock=river.clock),
        number=river.number,
        warehouse=river.warehouse,
        versions=river.versions,
        consumer=SimpleNamespace(between_batches=asyncio.Lock()),
        read_positions=read_positions,
        read_in_flight=read_in_flight,
    )

    async def ask(command: str, arguments: Arguments) -> Result:
        return await LEDGER_COMMANDS[command](cast("Parts", parts), arguments)

    return ask


async def recount(river: River, start: str = "", end: str = "") -> Recount:
    found, seen = Recount(), list[str]()
    ask = make_ask(river)
    plan = await read_plan(ask, start, end)
    await recount_days(ask, plan, found, lambda what, _done, _total: seen.append(what))
    await recount_log(ask, plan, found, lambda what, _done, _total: seen.append(what))
    assert len(set(seen)) == 2
    return found


async def test_what_is_right_closes(river: River, capsys: pytest.CaptureFixture[str]) -> None:
    found = await recount(river)
    assert (found.closes, found.days, found.blocks, found.lines) == (True, 2, 2, 7)
    assert show_recount(found, as_json=False)
    assert "every record is where it belongs" in capsys.readouterr().out
    assert show_recount(found, as_json=True)
    assert '"closed":true' in capsys.readouterr().out


async def test_a_range_counts_what_was_received_in_it(river: River) -> None:
    found = await recount(river, "2026-11-21T10:00Z", "2026-11-21T10:30Z")
    assert (found.closes, found.days, found.lines) == (True, 1, 7)


async def test_every_hour_that_does_not_close_is_named(river: River, capsys: pytest.CaptureFixture[str]) -> None:
    await river.warehouse.command("DELETE FROM events WHERE site_id = {site:UInt32}", {"site": OTHER_SITE})
    found = await recount(river)
    assert [(row["site_id"], row["hour"], row["received"]) for row in found.open] == [(OTHER_SITE, THIS_HOUR, 1)]
    assert [(one.kind, one.records, one.site_id) for one in found.problems] == [("missing", 1, OTHER_SITE)]
    assert not show_recount(found, as_json=False)
    told = capsys.readouterr().out
    assert "neither stored, duplicate, dead nor erased" in told
    assert "0:0:1" in told


async def test_doubled_rows_are_named_and_repaired(river: River) -> None:
    ask = make_ask(river)
    await river.warehouse.command("INSERT INTO events SELECT * FROM events WHERE _offset = 0 AND _partition = 0")
    await river.warehouse.command(
        "INSERT INTO duplicates SELECT site_id, toStartOfHour(received), _log, _partition, _offset, _place"
        " FROM events WHERE _partition = 1 AND _place = 0"
    )
    found = await recount(river)
    assert found.doubled == [{"hour": "2026-11-20T06:00:00Z", "rows": 1}, {"hour": THIS_HOUR, "rows": 2}]
    assert found.torn == [{"hour": "2026-11-21T10:00:00Z", "rows": 1}]
    assert not found.closes
    version = river.versions.of(SiteId(SITE))
    assert await ask("ledger-repair", {"hour": THIS_HOUR}) == {"copies": 2, "moves": 0}
    assert await ask("ledger-repair", {"hour": "2026-11-20T06:00:00Z"}) == {"copies": 1, "moves": 0}
    assert await ask("ledger-repair", {"hour": "2026-11-21T10:00:00Z"}) == {"copies": 0, "moves": 1}
    assert river.versions.of(SiteId(SITE)) > version
    assert (await recount(river)).to_result()["closed"] is True


async def test_nothing_is_repaired_beside_an_erasure(river: River) -> None:
    retention = Retention(river.warehouse, river.control, river.versions, river.clock, crash_at("counted"))
    with pytest.raises(Crash):
        await retention.erase(SiteId(SITE), 202611)
    with pytest.raises(CommandError, match="an erasure is under way"):
        await make_ask(river)("ledger-repair", {"hour": THIS_HOUR})


def test_both_commands_work_with_a_server_and_without(tmp_path: Path) -> None:
    product = Product(tmp_path)
    product.run("site", "create", "--domain", "a.example")
    site = cast("list[dict[str, str]]", product.run_json("site", "list")["sites"])[0]
    key = str(product.run_json("key", "create", "--scope", "ingest")["key"])
    with product:
        events = [{"site_key": site["site_key"], "url": f"https://a.example/{number}"} for number in range(9)]
        send(product, key, *cast("list[dict[str, object]]", events))
        wait_for(lambda: add_up(product)["stored"] == len(events))
        assert product.run_json("ledger", "--verify")["lines"] == len(events)
        assert product.run_json("ledger", "repair", "--yes") == {"hours": [], "copies": 0, "moves": 0}
    found = product.run_json("ledger", "--verify")
    assert (found["closed"], found["lines"]) == (True, len(events))
    assert "every record is where it belongs" in product.run("ledger", "--verify").stdout
    assert "nothing to repair" in product.run("ledger", "repair").stdout
    assert product.run("ledger", "--verify", "--site", "a.example", check=False).returncode == 2


@pytest.mark.parametrize("words", ["--start soon", "--verify --end soon", "repair --start soon", "repair --end soon"])
def test_an_instant_that_is_none_is_wrong_usage(words: str) -> None:
    error = CliRunner().invoke(app, words.split()).exception
    assert isinstance(error, WrongOptionError)
    assert error.exit_code == 2
    assert str(error).startswith(f"--{words.rpartition('--')[2]}: write an instant as ISO 8601 has it")
