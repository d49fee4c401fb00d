"""Several collectors on one port, as processes: figures of the whole, replacement, graceful stops, sudden ends."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from tests.deploy.sending import add_up, wait_for
from tests.product import Product
from tests.servers.process import find_free_port

WORKERS = 2
SENDERS = 16
EACH = 25
ARGUMENTS = ("--role", "collector", "--workers", str(WORKERS))
REQUEST = (
    b"POST /v1/events HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    b"User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n"
    b"Content-Length: %d\r\n\r\n%s"
)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A data folder with one site, and the key of that."""
    product = Product(tmp_path_factory.mktemp("template"))
    return product.folder / "data", str(product.run_json("site", "create", "--domain", "a.example")["site_key"])


@pytest.fixture
def stopped(tmp_path: Path, template: tuple[Path, str]) -> Product:
    """An installation with one site, without limits."""
    shutil.copytree(template[0], tmp_path / "data")
    return Product(tmp_path, {"COLLECT_ADDRESS_LIMIT": "0"}, find_free_port())


@pytest.fixture
def event(template: tuple[Path, str]) -> bytes:
    """A request with one event of the site."""
    body = json.dumps({"site_key": template[1], "url": "https://a.example/"}).encode()
    return REQUEST % (len(body), body)


def find_workers(product: Product) -> set[int]:
    """Process ids of the living children of the parent."""
    children = Path(f"/proc/{product.pid}/task/{product.pid}/children")
    return {int(pid) for pid in children.read_text().split()}


def is_alive(pid: int) -> bool:
    """Whether the process runs; one that nobody has waited for yet is dead."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except FileNotFoundError:
        return False


def read_figure(product: Product, name: str) -> float:
    """The sum of the samples of a name, of whichever worker answers."""
    text = read_text(product)
    found = [float(value) for value in re.findall(rf"^{name}(?:{{[^}}]*}})? (\S+)$", text, re.MULTILINE)]
    assert found, text
    return sum(found)


def wait_for_accepted(product: Product, count: int) -> None:
    """Return when the figures are those of now: of a worker that did not answer in time they are its last ones."""
    wait_for(lambda: read_figure(product, "pulse_collector_accepted_total") == count)


def read_text(product: Product) -> str:
    """What Prometheus reads."""
    return product.get("/metrics")[1].decode()


def send_one_after_another(product: Product, event: bytes, count: int) -> int:
    """On one connection, until it ends; give how many were acknowledged."""
    acknowledged = 0
    with suppress(ConnectionError), socket.create_connection(("127.0.0.1", product.port)) as connection:
        for _ in range(count):
            connection.sendall(event)
            answer = connection.recv(65536)
            if not answer.startswith(b"HTTP/1.1 202"):
                assert not answer
                break
            acknowledged += 1
    return acknowledged


def send_from_many(product: Product, event: bytes, each: int = EACH) -> int:
    """On many connections at once, so that every worker has some of them."""
    with ThreadPoolExecutor(SENDERS) as senders:
        return sum(senders.map(lambda _: send_one_after_another(product, event, each), range(SENDERS)))


def test_figures_add_up_stay_when_a_worker_is_killed_and_a_stop_loses_nothing(stopped: Product, event: bytes) -> None:
    stopped.start(*ARGUMENTS)
    sent = send_from_many(stopped, event)
    assert sent == SENDERS * EACH
    wait_for_accepted(stopped, sent)
    for _ in range(4):  # of one worker or the other
        assert read_figure(stopped, "pulse_collector_accepted_total") == sent
        assert read_figure(stopped, "pulse_collector_answers_total") == sent
        assert read_figure(stopped, "pulse_workers_serving") == WORKERS
    assert set(re.findall(r'^process_cpu_\w+{worker="(.)"}', read_text(stopped), re.MULTILINE)) == {"0", "1"}
    victim = min(find_workers(stopped))
    os.kill(victim, signal.SIGKILL)
    wait_for(lambda: not is_alive(victim))
    # Whoever comes to the queue of the dead one is taken by the next one.
    assert send_from_many(stopped, event) == SENDERS * EACH
    sent += SENDERS * EACH
    wait_for_accepted(stopped, sent)
    for _ in range(4):
        assert read_figure(stopped, "pulse_collector_accepted_total") == sent
    wait_for(lambda: read_figure(stopped, "pulse_workers_replaced_total") == 1)
    wait_for(lambda: stopped.get("/readyz")[0] == 200)
    assert len(find_workers(stopped)) == WORKERS
    sent += stop_under_load(stopped, event, sent)
    assert sent <= add_up(stopped)["in_flight"] <= sent + SENDERS


def stop_under_load(product: Product, event: bytes, before: int) -> int:
    """Stop while many send; give how many more were acknowledged."""
    with ThreadPoolExecutor(SENDERS) as senders:
        sending = [senders.submit(send_one_after_another, product, event, 1_000_000) for _ in range(SENDERS)]
        wait_for(lambda: read_figure(product, "pulse_collector_accepted_total") > before + SENDERS * EACH)
        assert product.stop() == 0
        return sum(one.result() for one in sending)


def test_where_it_serves_is_one_json_object_and_with_a_killed_parent_nothing_is_left(stopped: Product) -> None:
    with subprocess.Popen(  # noqa: S603 - our own program
        [stopped.pulse(), "serve", *ARGUMENTS, "--json"],
        env=stopped.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as stopped.process:
        assert stopped.process.stdout is not None
        assert json.loads(stopped.process.stdout.readline()) == {
            "listen": f"127.0.0.1:{stopped.port}",
            "roles": ["collector"],
            "workers": WORKERS,
            "pid": stopped.pid,
            "welcome": None,
        }
        assert stopped.get_json("/readyz")["parts"] == {"log": "ok", "control plane": "ok", "workers": "ok"}
        workers = find_workers(stopped)
        assert len(workers) == WORKERS
        stopped.process.kill()
        wait_for(lambda: not any(map(is_alive, workers)))
        assert stopped.process.stdout.read() == b""
    wait_for(lambda: is_free(stopped.port))  # threads of a process may end after its first, which `is_alive` looks at


def is_free(port: int) -> bool:
    """Whether nobody holds it."""
    try:
        with socket.create_server(("127.0.0.1", port)):
            return True
    except OSError:
        return False


def test_a_second_signal_ends_all_at_once(stopped: Product, event: bytes) -> None:
    stopped.start(*ARGUMENTS)
    workers = find_workers(stopped)
    with socket.create_connection(("127.0.0.1", stopped.port)) as slow:
        slow.sendall(event[:-1])  # a stop would wait for the rest
        wait_for(lambda: send_again(stopped))
    assert stopped.process is not None
    assert stopped.process.wait(120) == 128 + signal.SIGTERM
    wait_for(lambda: not any(map(is_alive, workers)))
    assert '"stopped"' not in stopped.read_log()[stopped.read_log().rindex("ends_at_once") :]


def send_again(product: Product) -> bool:
    """Say it until it is heard as a second wish, not as an echo of the first."""
    assert product.process is not None
    product.process.send_signal(signal.SIGTERM)
    return product.process.poll() is not None


def test_what_cannot_be_served_is_one_clear_line_and_its_exit_code(stopped: Product) -> None:
    advice = "only collectors may have workers: pulse serve --role collector --workers N"
    assert_ends(stopped, ("--workers", "auto"), 2, advice)
    with socket.create_server(("127.0.0.1", stopped.port), reuse_port=True):
        assert_ends(stopped, ARGUMENTS, 1, f"cannot listen on 127.0.0.1:{stopped.port}: Address already in use")
    stopped.settings = {"LOG_URL": "kafka://127.0.0.1:1/events"}
    assert_ends(stopped, ARGUMENTS, 2, "PULSE_LOG_URL: ")  # said by the first worker alone


def assert_ends(product: Product, arguments: tuple[str, ...], code: int, line: str) -> None:
    """The command ends so, and this is all that it says beside its log."""
    done = product.run("serve", *arguments, check=False)
    said = [one for one in done.stderr.splitlines() if not one.startswith("{")]
    assert (done.returncode, len(said), done.stdout) == (code, 1, ""), done.stderr
    assert said[0].startswith(f"pulse: {line}")
