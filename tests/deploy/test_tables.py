"""Tables that a person can read on a terminal of 80 columns."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING

from deploy.cli_ledger import show_ledger
from deploy.tables import to_lines

if TYPE_CHECKING:
    import pytest

HOUR = {
    "hour": "2026-11-21T10:00:00.000Z",
    "received": 1_234_567,
    "stored": 1_200_000,
    "bots": 1_234,
    "duplicate": 12,
    "refused": 33_321,
    "dead_lettered": 0,
    "in_flight": 0,
    "erased": 0,
}


def test_a_ledger_fits_eighty_columns_and_keeps_its_hours() -> None:
    lines = to_lines([HOUR, HOUR | {"hour": "2026-11-21T11:00:00.000Z"}], 80)
    assert lines == [
        " " * 62 + "dead     in",
        "hour              received  stored bots duplicate refused lettered flight erased",
        "2026-11-21 10:00Z  1234567 1200000 1234        12   33321        0      0      0",
        "2026-11-21 11:00Z  1234567 1200000 1234        12   33321        0      0      0",
    ]


def test_the_ledger_names_its_refusals_below(capsys: pytest.CaptureFixture[str]) -> None:
    show_ledger([HOUR | {"refused": {"hostname": 3, "bad_url": 1}}, HOUR | {"refused": {}}])
    shown = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [line[6] for line in shown[1:3]] == ["4", "0"]
    assert shown[3:] == [[], ["hour", "refused"], ["2026-11-21", "10:00Z", "hostname:", "3"], ["bad_url:", "1"]]


def test_what_was_counted_by_name_takes_a_line_a_name() -> None:
    rows = [{"hour": "a", "refused": {"hostname": 3, "bad_url": 1}}, {"hour": "b", "refused": {"paused": 2}}]
    assert to_lines(rows, 80) == ["hour refused", "a    hostname: 3", "     bad_url: 1", "b    paused: 2"]


def test_what_does_not_fit_becomes_a_line_a_field_and_nothing_is_cut() -> None:
    made = datetime(2026, 11, 21, 12, 0, 30, tzinfo=timezone(timedelta(hours=2)))
    rows = [{"name": "x" * 40, "site_key": "k" * 60, "created_at": made, "ended": None}] * 2
    block = [f"name: {'x' * 40}", f"site_key: {'k' * 60}", "created_at: 2026-11-21 10:00Z"]
    assert to_lines(rows, 80) == [*block, "", *block]
    assert len(to_lines(rows, None)) == 3


def test_signs_of_double_width_and_of_markup_keep_the_columns() -> None:
    rows = [{"name": "数える", "on": True}, {"name": "[red]\n", "on": False}]
    assert to_lines(rows, 80) == ["name   on", "数える True", "[red]  False"]
    assert to_lines([{"at": datetime(2026, 1, 2, tzinfo=UTC)}], 80)[1] == "2026-01-02 00:00Z"
