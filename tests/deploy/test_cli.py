"""The command line as a person and a machine use it, without a server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.product import Product

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def pulse(tmp_path: Path) -> Product:
    """A data folder that nobody serves."""
    return Product(tmp_path, port=1)


def test_a_site_is_made_listed_changed_paused_and_deleted(pulse: Product) -> None:
    made = pulse.run_json("site", "create", "--domain", "Example.com", "--timezone", "Europe/Berlin")
    assert made["domain"] == "example.com"
    assert str(made["site_key"]).startswith("sk_live_")
    assert str(made["test_site_key"]).startswith("sk_test_")
    changed = pulse.run_json("site", "update", "example.com", "--name", "Shop", "--exclude-address", "10.0.0.0/8")
    assert (changed["name"], changed["excluded_addresses"]) == ("Shop", ["10.0.0.0/8"])
    assert pulse.run_json("site", "pause", "example.com")["is_active"] is False
    assert pulse.run_json("site", "pause", "example.com", "--resume")["is_active"] is True
    assert [site["domain"] for site in rows(pulse.run_json("site", "list"), "sites")] == ["example.com"]
    pulse.run_json("site", "delete", "example.com", "--yes")
    assert rows(pulse.run_json("site", "list"), "sites") == []


def test_a_key_is_shown_once_rotated_and_revoked(pulse: Product) -> None:
    made = pulse.run_json("key", "create", "--scope", "read", "--scope", "ingest", "--expires", "30d")
    assert str(made["key"]).startswith("ak_live_")
    assert made["scopes"] == ["ingest", "read"]
    fresh = pulse.run_json("key", "rotate", str(made["id"]), "--overlap", "1h")
    assert fresh["key"] != made["key"]
    pulse.run_json("key", "revoke", str(fresh["id"]))
    listed = rows(pulse.run_json("key", "list"), "keys")
    assert [key["id"] for key in listed] == [made["id"], fresh["id"]]
    assert listed[1]["revoked_at"]
    assert "key" not in listed[0]
    assert "digest" not in listed[0]
    assert str(pulse.run_json("key", "create", "--test")["key"]).startswith("ak_test_")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("site", "create", "--domain", "https://a.example/x"), 1, "without https://"),
        (("site", "create", "--domain", "a.example", "--timezone", "Berlin"), 1, "Europe/Berlin"),
        (("site", "pause", "nowhere.example"), 1, "pulse site list"),
        (("key", "revoke", "99"), 1, "pulse key list"),
        (("key", "create", "--scope", "write"), 1, "read or ingest"),
        (("key", "create", "--expires", "soon"), 1, "30d"),
        (("import", "access-log", __file__, "--site", "a.example"), 1, "scripts/start"),
        (("import", "access-log", "/no/such/file", "--site", "a.example"), 2, "does not exist"),
        (("dead-letters", "show", "abc"), 1, "0:12:3"),
        (("site", "create"), 2, "--domain"),
        (("frobnicate",), 2, "frobnicate"),
    ],
)
def test_a_failure_is_one_clear_line(pulse: Product, arguments: tuple[str, ...], code: int, words: str) -> None:
    done = pulse.run(*arguments, check=False)
    assert done.returncode == code
    assert words in done.stderr
    assert done.stdout == ""
    if code == 1:
        assert len(done.stderr.strip().splitlines()) == 1


def test_wrong_settings_are_named_all_at_once(tmp_path: Path) -> None:
    wrong = {"PLAN": "gold", "COLLECT_LIMIT": "-1", "LISTEN": "8000", "TRUSTED_PROXIES": "10.0.0.1/8, ::1, proxy"}
    pulse = Product(tmp_path / "what?", wrong, port=1)
    done = pulse.run("site", "list", check=False)
    assert done.returncode == 2
    assert "PULSE_PLAN" in done.stderr
    assert "PULSE_COLLECT_LIMIT" in done.stderr
    assert "127.0.0.1:8000" in done.stderr
    assert "PULSE_TRUSTED_PROXIES: '10.0.0.1/8' is no network: write 10.0.0.0/8, or one address alone;" in done.stderr
    assert "PULSE_TRUSTED_PROXIES: 'proxy' is no network: write for example" in done.stderr
    assert "may not hold a question mark" in done.stderr
    assert "Value error" not in done.stderr


@pytest.mark.parametrize("command", ["serve", "migrate"])
@pytest.mark.parametrize(
    ("setting", "url", "words"),
    [
        ("WAREHOUSE_URL", "http://pulse:s3cret@h:8123/db", "http://… is not understood, write chdb:////folder"),
        ("WAREHOUSE_URL", "clickhouse://pulse:s3cret,h/db", "a server is no host with a port"),
        ("WAREHOUSE_URL", "clickhouse://pulse@h/db?password_file=/proc/self/exe", "it is not text"),
        ("WAREHOUSE_URL", "clickhouse://pulse@h/db?password_file=/dev/null", "is empty"),
        ("LOG_URL", "kafk://pulse:s3cret@h/t", "kafk://… is not understood"),
        ("LOG_URL", "kafka://pulse:s3cret,h/t", "a server is not host:port"),
        ("LOG_URL", "kafka://pulse@h/t?sasl=plain&password_file=/dev/null", "is empty"),
    ],
)
def test_a_url_that_cannot_be_used_ends_the_start_with_one_line(
    tmp_path: Path, command: str, setting: str, url: str, words: str
) -> None:
    said = run_in_vain(tmp_path, command, setting, url)
    assert words in said
    assert not (tmp_path / "data/control.db").exists()


def test_a_warehouse_that_does_not_answer_ends_the_start_with_one_line(tmp_path: Path) -> None:
    said = run_in_vain(tmp_path, "serve", "WAREHOUSE_URL", "clickhouse://pulse:s3cret@127.0.0.1:1/db")
    assert said.endswith("Connection refused\n")


def run_in_vain(folder: Path, command: str, setting: str, url: str) -> str:
    """What the command says of a URL that cannot be used: one line that names the setting, and no password."""
    done = Product(folder, {setting: url}, port=1).run(command, check=False)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.stderr
    assert done.stderr.startswith(f"pulse: PULSE_{setting}: ")
    assert "s3cret" not in done.stderr
    return done.stderr


def test_the_data_folder_may_hold_signs_that_mean_something_in_a_url(tmp_path: Path) -> None:
    folder = tmp_path / "100 %41#x%zz & ä"
    pulse = Product(folder, port=1)
    pulse.run_json("site", "create", "--domain", "a.example")
    assert pulse.run_json("ledger") == {"ledger": [], "closed": True}
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]


def test_operating_commands_work_without_a_server(pulse: Product) -> None:
    assert pulse.run_json("ledger") == {"ledger": [], "closed": True}
    assert pulse.run_json("dead-letters", "list") == {"dead_letters": []}
    findings = rows(pulse.run_json("doctor"), "findings")
    assert {finding["check"] for finding in findings} >= {"disk", "log", "warehouse", "control plane", "broken parts"}
    assert str(pulse.run_json("openapi")["openapi"]).startswith("3.1")
    assert pulse.run_json("geo", "status")["state"] == "none"
    assert pulse.run_json("log", "adopt") == {"log": 2}


@pytest.mark.parametrize(
    "command", ["", "serve", "site", "site create", "key", "key create", "import access-log", "geo install", "ledger"]
)
def test_every_command_has_help(pulse: Product, command: str) -> None:
    assert "Usage" in pulse.run(*command.split(), "--help").stdout


def rows(result: dict[str, object], name: str) -> list[dict[str, object]]:
    found = result[name]
    assert isinstance(found, list)
    return found
