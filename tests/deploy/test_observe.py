"""Logs hold what an operator needs and nothing of a visitor or a key."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import orjson

PROGRAM = """
import structlog
from deploy.observe import configure_logs
configure_logs("info")
log = structlog.get_logger()
log.info("it_happened", site_id=3, address="192.0.2.1", key="ak_live_secret", user_agent="Firefox")
site_key = "sk_live_secret"
try:
    raise ValueError("broken")
except ValueError:
    with structlog.contextvars.bound_contextvars(request_id="req_1"):
        log.exception("it_failed")
import logging
logging.getLogger("aiohttp.server").error("theirs")
log.debug("too_quiet")
import stamina
for attempt in stamina.retry_context(on=ValueError, attempts=2, wait_initial=0, wait_jitter=0):
    with attempt:
        if attempt.num == 1:
            raise ValueError("again")
"""


def test_a_log_for_machines_is_one_json_object_a_line_without_secrets() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)  # noqa: S603
    assert done.stdout == ""
    assert "secret" not in done.stderr
    assert "192.0.2.1" not in done.stderr
    happened, failed, theirs, again = (orjson.loads(line) for line in done.stderr.splitlines())
    assert (happened["event"], happened["site_id"], happened["level"]) == ("it_happened", 3, "info")
    assert (failed["event"], failed["request_id"]) == ("it_failed", "req_1")
    assert failed["exception"][0]["exc_value"] == "broken"
    assert (theirs["event"], theirs["level"]) == ("theirs", "error")
    assert (again["event"], again["level"], again["attempt"]) == ("trying_again", "warning", 1)
    assert (again["problem"], again["wait_seconds"]) == ("ValueError('again')", 0.0)
    assert "callable" not in again


def test_a_log_on_a_full_disk_stops_nothing() -> None:
    program = 'from deploy.observe import configure_logs\nimport structlog\nconfigure_logs("info")\n'
    program += 'for _ in range(10_000): structlog.get_logger().info("it_happened")\nprint("went on")'
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=full, check=False)  # noqa: S603
    assert done.stdout == b"went on\n"
