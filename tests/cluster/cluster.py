"""The scaled form on one machine, started, looked at and hurt by name: in `scripts/cluster` and in the fault runs.

Everything lies in one folder, so that any process may go on with what another has started.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from query_api.control.first_start import ensure_first_start
from query_api.control.keys import KeyDraft, create_key
from schemas.control.connect import open_control
from tests.cluster.processes import BalancerProcess, PulseProcess, to_environment
from tests.door.process import Door
from tests.product import PULSE
from tests.servers.kafka import KafkaServer
from tests.servers.postgres import PostgresServer
from tests.servers.valkey import ValkeyServer

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from pathlib import Path

    from tests.servers.process import ServerProcess

PLAN, WELCOME = "plan.json", "welcome.json"
# Nobody limits a machine that sends to itself; its balancer is believed.
SETTINGS = {"COLLECT_ADDRESS_LIMIT": "0", "GEO": "off", "PLAN": "enterprise", "TRUSTED_PROXIES": "127.0.0.1"}


class ClusterError(Exception):
    """The cluster did not do what it must; the message says what to read."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a cluster is made of. Without `clickhouse`, the URL of a real one, the door plays it.

    `is_joint`: the first query server does the jobs, too.

    `log_options` and `warehouse_options` go behind the question marks of the two URLs.
    """

    collectors: int = 2
    consumers: int = 2
    queries: int = 2
    is_joint: bool = False
    is_balanced: bool = True
    is_fenced: bool = True
    clickhouse: str = ""
    log_options: str = "partitions=4"
    warehouse_options: str = ""


@dataclass(frozen=True, slots=True)
class Welcome:
    """What a client needs: the site's key, a key of the query API, a key that may send as a server."""

    site_key: str
    key: str
    ingest_key: str


class Cluster:
    """The processes of one folder, by name; nothing runs before `start`."""

    def __init__(self, folder: Path, plan: Plan) -> None:
        self.folder = folder.absolute()
        self.plan = plan
        self.folder.mkdir(parents=True, exist_ok=True)
        self.kafka = KafkaServer(self.folder / "kafka")
        self.postgres = PostgresServer(self.folder / "postgres")
        self.valkey = ValkeyServer(self.folder / "valkey")
        self.door = Door(self.folder / "door", is_fenced=plan.is_fenced)
        self.servers: dict[str, ServerProcess] = {
            server.name: server for server in (self.kafka, self.postgres, self.valkey)
        }
        if not plan.clickhouse:
            self.servers["door"] = self.door
        self.roles: dict[str, PulseProcess] = {}
        for role, count in (("collector", plan.collectors), ("consumer", plan.consumers), ("query", plan.queries)):
            for number in range(count):
                self.add(f"{role}-{number + 1}", role)
        if plan.is_joint:
            self.add("query-1", "query", "jobs")
        else:
            self.add("jobs", "jobs")
        self.balancers: dict[str, BalancerProcess] = {}
        for name, role in (("collect", "collector"), ("ask", "query")) if plan.is_balanced else ():
            targets = [process.base for process in self.roles.values() if role in process.roles]
            self.balancers[name] = BalancerProcess(self.folder / name, targets)

    def add(self, name: str, *roles: str) -> PulseProcess:
        """One more process of the product, or another under this name; it is not started."""
        self.roles[name] = PulseProcess(self.folder / name, roles, self.settings)
        return self.roles[name]

    @property
    def settings(self) -> Mapping[str, str]:
        """What every process of the product is told, without PULSE_."""
        warehouse = self.plan.clickhouse or f"{self.door.url}/pulse"
        return {
            **SETTINGS,
            "DATA": str(self.folder / "data"),
            "LOG_URL": f"kafka://{self.kafka.address}/pulse?{self.plan.log_options}",
            "WAREHOUSE_URL": f"{warehouse}?{self.plan.warehouse_options}".rstrip("?"),
            "CONTROL_URL": self.postgres.url(),
            "LIMITS_URL": self.valkey.url(),
        }

    @property
    def processes(self) -> dict[str, ServerProcess]:
        """All, in the order in which they start."""
        return {**self.servers, **self.roles, **self.balancers}

    @property
    def collect_base(self) -> str:
        """Where to send to."""
        return self.balancers["collect"].base if self.balancers else self.roles["collector-1"].base

    @property
    def ask_base(self) -> str:
        """Where to ask."""
        return self.balancers["ask"].base if self.balancers else self.roles["query-1"].base

    @property
    def welcome(self) -> Welcome:
        """The keys that the first start has made; raise ClusterError before it."""
        try:
            return Welcome(**json.loads((self.folder / WELCOME).read_text()))
        except FileNotFoundError as error:
            message = f"{self.folder} holds no cluster: start one"
            raise ClusterError(message) from error

    def read_log_partitions(self) -> int:
        """How many partitions the log has, as the plan says."""
        return int(dict(parse_qsl(self.plan.log_options)).get("partitions", "4"))

    def start_servers(self) -> None:
        """Start what Pulse needs and nothing of Pulse."""
        (self.folder / PLAN).write_text(json.dumps(asdict(self.plan)))
        start_all(self.servers.values())

    def start(self, without: Collection[str] = ()) -> None:
        """Start what does not run, make it ready the first time, and return when everything is well."""
        self.start_servers()
        is_first = not (self.folder / WELCOME).exists()
        if is_first:
            self.run("migrate")
        with ThreadPoolExecutor(1) as executor:
            made = [executor.submit(self._make_keys)] if is_first else []
            processes = {**self.roles, **self.balancers}
            start_all(process for name, process in processes.items() if name not in without)
            for keys in made:
                keys.result()

    def stop(self) -> None:
        """End all in the opposite order, each in an orderly way."""
        for processes in (self.balancers, self.roles, self.servers):
            with ThreadPoolExecutor(len(processes) or 1) as executor:
                list(executor.map(lambda process: process.stop(), processes.values()))

    def kill(self) -> None:
        """End all at once."""
        for process in reversed(self.processes.values()):
            process.kill()

    def run(self, *arguments: str) -> str:
        """What a command of `pulse` prints; raise ClusterError when it fails."""
        environment = to_environment(self.settings)
        done = subprocess.run(  # noqa: S603 - our own program
            [PULSE, *arguments], env=environment, capture_output=True, text=True, check=False
        )
        if done.returncode:
            message = f"pulse {' '.join(arguments)}: {done.stdout}{done.stderr}"
            raise ClusterError(message)
        return done.stdout

    def _make_keys(self) -> None:
        """Make a site and keys, and write them down."""
        welcome = asyncio.run(make_keys(self.postgres.url()))
        (self.folder / WELCOME).write_text(json.dumps(asdict(welcome)))


async def make_keys(control_url: str) -> Welcome:
    """What an empty embedded installation has after its first start, and a key for servers; in a migrated one."""
    now = datetime.now(UTC)
    engine = open_control(control_url)
    try:
        made = await ensure_first_start(engine, SETTINGS["PLAN"], now)
        if made is None:
            message = f"{control_url.rpartition('@')[2]} holds sites already: start with an empty folder"
            raise ClusterError(message)
        ingest = await create_key(engine, made.project.id, KeyDraft("server", ("ingest",)), now)
    finally:
        await engine.dispose()
    return Welcome(made.site.live.site_key, made.key.text, ingest.text)


def start_all(processes: Iterable[ServerProcess]) -> None:
    """Start them side by side."""
    waiting = list(processes)
    with ThreadPoolExecutor(len(waiting) or 1) as executor:
        list(executor.map(lambda process: process.start(), waiting))


def read_plan(folder: Path) -> Plan | None:
    """The plan of the cluster in the folder; None where there is none."""
    try:
        return Plan(**json.loads((folder / PLAN).read_text()))
    except FileNotFoundError:
        return None
