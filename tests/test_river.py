"""The whole river as a newcomer meets it: start, paste what is printed, ask, stop, start again."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import time
from typing import TYPE_CHECKING, cast

import pytest

from tests.deploy.test_access_log import make_line
from tests.product import Product

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

REPORTS = ("stats", "pages", "referrers", "timeseries", "events", "geo", "devices")
RANGE = "start=2015-05-01&end=2015-05-31&include_bots=true"
SECONDS = 120.0

Rows = list[dict[str, object]]


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    """A server on an empty folder."""
    with Product(tmp_path_factory.mktemp("river")) as product:
        yield product


@pytest.fixture(scope="module")
def key(product: Product) -> str:
    """A key that reads."""
    return str(product.run_json("key", "create", "--scope", "read")["key"])


def read_rows(product: Product, key: str, path: str) -> Rows:
    return cast("Rows", product.get_json(f"/v1/{path}", key)["data"])


def wait_for_log(product: Product, words: str) -> str:
    end = time.monotonic() + SECONDS
    while words not in product.read_log() and time.monotonic() < end:
        time.sleep(0.05)
    return product.read_log()


def test_the_printed_curl_lines_work_as_they_stand(product: Product) -> None:
    welcome = wait_for_log(product, "A site of your own")
    assert re.search(r'<script defer src="http://[^"]+/script.js" data-site-key="sk_live_\w+" data-local>', welcome)
    send, stats, realtime = (shlex.split(line) for line in re.findall(r"^  (curl .*)$", welcome, re.MULTILINE))
    assert json.loads(run_curl(send))["accepted"] == 1
    end = time.monotonic() + SECONDS
    while json.loads(run_curl(stats))["data"][0]["pageviews"] == 0 and time.monotonic() < end:
        time.sleep(0.05)
    assert json.loads(run_curl(stats))["data"][0]["pageviews"] == 1
    assert json.loads(run_curl(realtime))["meta"]["current_visitors"] == 1


def test_the_welcome_is_shown_once(product: Product) -> None:
    product.stop()
    product.start()
    assert product.read_log().count("shown this once") == 1


def test_an_access_log_is_imported_once_however_often_it_is_sent(product: Product, key: str, tmp_path: Path) -> None:
    product.run("site", "create", "--domain", "blog.example")
    log = tmp_path / "access.log"
    lines = [make_line(f"GET /page-{number % 7} HTTP/1.1") for number in range(50)]
    lines += [make_line("GET /a.css HTTP/1.1"), make_line(status="404"), b"nonsense"]
    log.write_bytes(b"\n".join(lines))
    for _ in range(2):
        summary = product.run_json("import", "access-log", str(log), "--site", "blog.example")
        assert summary == {
            "lines": 53,
            "sent": 50,
            "skipped": {"asset": 1, "malformed": 1, "status": 1},
            "refused": {},
            "malformed_lines": ["access.log:53"],
            "adds_up": True,
        }
        pages: Rows = [{"pathname": f"/page-{number}", "pageviews": 8 if number == 0 else 7} for number in range(7)]
        wait_for_pageviews(product, key, pages)
    ledger = product.run_json("ledger", "--site", "blog.example")
    assert ledger["closed"] is True
    assert sum(cast("int", row["duplicate"]) for row in cast("Rows", ledger["ledger"])) == 50


def wait_for_pageviews(product: Product, key: str, wanted: Rows) -> None:
    path = f"pages?{RANGE}&site=blog.example"
    end = time.monotonic() + SECONDS
    found: Rows = []
    while time.monotonic() < end and not found:
        if in_flight(product) == 0:  # first: what is read before it may be a part
            rows = read_rows(product, key, path)
            found = [{name: row[name] for name in ("pathname", "pageviews")} for row in rows]
        time.sleep(0.05)
    assert found == wanted


def in_flight(product: Product) -> int:
    ledger = product.run_json("ledger")
    assert ledger["closed"] is True
    return sum(cast("int", row["in_flight"]) for row in cast("Rows", ledger["ledger"]))


def test_every_report_answers_and_a_second_server_is_refused(product: Product, key: str) -> None:
    for report in REPORTS:
        assert "data" in product.get_json(f"/v1/{report}?{RANGE}", key)
    second = subprocess.run(  # noqa: S603 - our own program
        [str(Product.pulse()), "serve"], env=product.environment(), capture_output=True, text=True, check=False
    )
    assert second.returncode == 1
    assert f"served by process {product.pid}" in second.stderr


def test_a_graceful_stop_ends_with_code_0_and_says_what_it_waits_for(product: Product) -> None:
    assert product.stop() == 0
    log = product.read_log()
    assert "waiting_for" in log
    assert log.rstrip().splitlines()[-1].find("stopped") > 0
    product.start()


def run_curl(command: list[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout  # noqa: S603 - what was printed
