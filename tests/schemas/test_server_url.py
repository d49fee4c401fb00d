"""What an operator gets wrong about the server is told in one line that names the setting, without the password."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from schemas.warehouse import server as server_module
from schemas.warehouse.address import Address, Host, to_address
from schemas.warehouse.client import Warehouse
from schemas.warehouse.errors import WarehouseError, WarehouseUnusableError
from tests.servers.process import find_free_port

if TYPE_CHECKING:
    from pathlib import Path

    from tests.door.process import Door

SECRET = "s3cret"  # noqa: S105 - of nobody

GOOD = [
    ("clickhouse://localhost", Address([Host("localhost", 8123)], "pulse", "default", "")),
    ("clickhouse://u:p%40%2F@h:99/web", Address([Host("h", 99)], "web", "u", "p@/")),
    ("clickhouse://u:p@/#[℀x@h:99/web", Address([Host("h", 99)], "web", "u", "p@/#[℀x")),
    ("clickhouse://h/?secure=1", Address([Host("h", 8443)], "pulse", "default", "", secure=True)),
    ("clickhouse://[::1]:99/web", Address([Host("[::1]", 99)], "web", "default", "")),
    (
        "clickhouse://u@h1,h2:99/web?cluster=c&insert_seconds=5",
        Address([Host("h1", 8123), Host("h2", 99)], "web", "u", "", cluster="c", insert_seconds=5.0),
    ),
]
BAD = [
    ("clickhouse://u:s3cret@h/web?compression=1", "unknown option compression .known are secure: 1 for HTTPS"),
    ("clickhouse://u:s3cret@h/web?secure=1&secure=0", "given twice"),
    ("clickhouse://u:s3cret@h/web?secure=yes", "secure is 0 or 1"),
    ("clickhouse://u:s3cret@h/web?insert_seconds=0", "above 0"),
    ("clickhouse://u:s3cret@h/we-b", "the database is called 'we-b'"),
    ("clickhouse://u:s3cret@h/web?cluster=a'b", "the cluster is called"),
    ("clickhouse://u:s3cret@h1,h2/web", "several servers need .cluster=NAME"),
    ("clickhouse://u:s3cret@h:port/web", "is no host with a port"),
    ("clickhouse://u:s3cret@h:65536/web", "is no host with a port"),
    ("clickhouse://u:s3cret@[::1/web", "is no host with a port"),
    ("clickhouse://u:s3cret,h/web", "is no host with a port, .*in a password write %40 for @"),
    ("clickhouse://u:x?s3cret@h/web", r"in a password write .*%3F for \?"),
    ("clickhouse://", "no host is given"),
    ("clickhouse:///web", "no host is given"),
    ("clickhouse://u:s3cret@h/web?password_file=/etc/passwd", "a password and a password_file"),
    ("clickhouse://u@h/web?password_file=/no/such", "password_file=/no/such cannot be read"),
    ("clickhouse://u:s3cret@h/web?secure=1&ca_file=/no/such", "ca_file=/no/such cannot be used: No such file"),
    (f"clickhouse://u:s3cret@h/web?secure=1&ca_file={__file__}", "cannot be used: it holds no certificates"),
    ("chdb:///warehouse", "names no absolute path: write chdb:////"),
    ("http://u:s3cret@h:8123/web", "http://… is not understood, write chdb:////folder .* or clickhouse://"),
    ("clickhouses://u:s3cret@h/web", "clickhouses://… is not understood"),
    ("clickhouse:u:s3cret@h/web", "what stands there is not understood"),
]


@pytest.mark.parametrize(("url", "expected"), GOOD)
def test_a_url_says_where_and_who(url: str, expected: Address) -> None:
    assert to_address(url) == expected


@pytest.mark.parametrize(("url", "problem"), BAD)
def test_a_url_that_cannot_be_meant_is_refused(url: str, problem: str) -> None:
    with pytest.raises(WarehouseUnusableError) as caught:
        Warehouse(url, 1)
    assert re.search(problem, str(caught.value))
    assert str(caught.value).startswith("PULSE_WAREHOUSE_URL: ")
    assert SECRET not in str(caught.value)


def test_the_password_is_in_no_text_of_an_address() -> None:
    assert SECRET not in repr(to_address(f"clickhouse://u:{SECRET}@h/web"))


async def test_a_password_may_come_from_a_file(tmp_path: Path, door: Door) -> None:
    file = tmp_path / "password"
    file.write_text(f"{door.password}\n")
    place = f"{quote(door.user)}@127.0.0.1:{door.port}"
    await Warehouse(f"clickhouse://{place}/pulse?password_file={file}", 1).close()


def open_with(url: str) -> str:
    with pytest.raises(WarehouseError, match=r"^PULSE_WAREHOUSE_URL: ") as caught:
        Warehouse(url, 1)
    text = str(caught.value)
    assert "\n" not in text
    assert SECRET not in text
    return text


def test_a_wrong_password_is_told(door: Door) -> None:
    url = f"clickhouse://default:{SECRET}@127.0.0.1:{door.port}"
    assert open_with(url).endswith(f"127.0.0.1:{door.port} refuses the user 'default' or the password")


def test_a_server_that_is_not_there_is_told() -> None:
    port = find_free_port()
    said = open_with(f"clickhouse://u:{SECRET}@127.0.0.1:{port}?connect_seconds=0.5")
    assert f"no ClickHouse server answers at 127.0.0.1:{port} over HTTP: " in said
    assert said.endswith("Connection refused")


def test_a_host_that_is_not_known_is_told() -> None:
    said = open_with(f"clickhouse://u:{SECRET}@no.such.invalid")
    assert "no ClickHouse server answers at no.such.invalid:8123 over HTTP: Failed to resolve" in said


def test_https_to_a_server_that_speaks_http_is_told(door: Door) -> None:
    url = f"clickhouse://default:{SECRET}@127.0.0.1:{door.port}/pulse?secure=1"
    assert "over HTTPS: [SSL" in open_with(url)


def test_an_old_server_is_refused_with_the_reason(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "OLDEST", (99, 1))
    assert "is ClickHouse 26.9.2.1; 99.1 is needed" in open_with(door.url)


async def test_a_database_that_is_not_there_is_made(door: Door) -> None:
    for _ in range(2):
        warehouse = Warehouse(f"{door.url}/made_by_a_test", 1)
        await warehouse.ping()
        await warehouse.close()


def test_settings_that_do_not_hold_on_a_server_are_refused(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "PINNED", {"no_such_setting_of_ours": 1})
    assert "no_such_setting" in open_with(door.url)
