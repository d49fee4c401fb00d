"""The command of `scripts/cluster`."""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.cluster.cluster import Cluster, ClusterError, Plan, read_plan
from tests.cluster.load import run_load
from tests.cluster.status import show_status, watch_takeover
from tests.servers.process import ServerDidNotStartError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tests.servers.process import ServerProcess

LOG_LINES = 60
TEXT = """
Pulse runs as {count} processes; everything lies in {folder}

  collecting  {collect}   two collectors behind one address
  questions   {ask}   two query servers; documentation at {ask}/docs
  Kafka       {kafka}   ClickHouse {warehouse}   PostgreSQL and Valkey beside them

Paste this into the pages of a site; `data-local` counts pages on this machine, too:

  <script defer src="{collect}/script.js" data-site-key="{site_key}" data-local></script>

Your key of the query API:  {key}

Send a page view, ask for the numbers, watch who is there:

  curl -X POST {collect}/v1/events -H 'Content-Type: application/json' -d '{{"site_key":"{site_key}","url":"http://localhost/hello"}}'
  curl -H 'Authorization: Bearer {key}' '{ask}/v1/stats?period=today&include_bots=true'
  curl -H 'Authorization: Bearer {key}' '{ask}/v1/realtime?include_bots=true'

And then: scripts/cluster load · scripts/cluster kill consumer-1 · scripts/cluster status · scripts/cluster stop
"""


def tell(text: str) -> None:
    """Say it at once, also into a pipe."""
    print(text, flush=True)  # noqa: T201 - it is for the person


def start(cluster: Cluster) -> None:
    """Start what does not run, and say how to begin."""
    began = time.monotonic()
    cluster.start()
    welcome = cluster.welcome
    text = TEXT.format(
        count=sum(process.pid is not None for process in cluster.processes.values()),
        folder=cluster.folder,
        collect=cluster.collect_base,
        ask=cluster.ask_base,
        kafka=cluster.kafka.address,
        warehouse=cluster.plan.clickhouse.rpartition("@")[2] or f"127.0.0.1:{cluster.door.port}, played by chDB",
        site_key=welcome.site_key,
        key=welcome.key,
    )
    tell(f"started in {time.monotonic() - began:.0f} s\n{text}")


def start_servers(cluster: Cluster) -> None:
    """Start what Pulse needs, and print the settings that name it for a shell."""
    cluster.start_servers()
    for name in ("LOG_URL", "WAREHOUSE_URL", "CONTROL_URL", "LIMITS_URL", "DATA"):
        tell(f"export PULSE_{name}={shlex.quote(cluster.settings[name])}")


def kill(cluster: Cluster, process: ServerProcess) -> None:
    """Kill it with -9, and show who takes over."""
    process.kill()
    tell(f"{process.name} is dead; `scripts/cluster start` brings it back")
    if process.name.startswith("consumer"):
        watch_takeover(cluster, process.name, tell)


def show_log(process: ServerProcess) -> None:
    """The end of it."""
    lines = process.log.read_text(errors="replace").splitlines() if process.log.exists() else []
    tell("\n".join([*lines[-LOG_LINES:], f"({process.log})"]))


def work(cluster: Cluster, options: argparse.Namespace) -> int:
    """Do what is asked; 1 when it shows that something is wrong."""
    process = find(cluster, options.name) if "name" in options else None
    if options.command in WHOLE:
        WHOLE[options.command](cluster)
    match options.command, process:
        case "load", _:
            return 0 if run_load(cluster, options.rate, options.seconds, tell) else 1
        case "kill", found if found:
            kill(cluster, found)
        case "pause", found if found:
            found.pause()
        case "resume", found if found:
            found.resume()
        case "restart", found if found:
            found.restart()
        case "logs", found if found:
            show_log(found)
    return 0


WHOLE: Mapping[str, Callable[[Cluster], None]] = {
    "start": start,
    "servers": start_servers,
    "status": lambda cluster: show_status(cluster, tell),
    "stop": Cluster.stop,
}


def find(cluster: Cluster, name: str) -> ServerProcess:
    """The process of this name; raise ClusterError with those that there are."""
    if name not in cluster.processes:
        message = f"there is no {name}: {', '.join(cluster.processes)}"
        raise ClusterError(message)
    return cluster.processes[name]


def read_options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Options of the command line."""
    parser = argparse.ArgumentParser(prog="scripts/cluster", description="Pulse on servers, all on this machine.")
    parser.add_argument("--folder", type=Path, default=Path("data/cluster"), help="where all lies (data/cluster)")
    commands = parser.add_subparsers(dest="command", required=True)
    begin = commands.add_parser("start", help="start what does not run; everything is set up the first time")
    begin.add_argument("--clickhouse", default="", help="clickhouse://user:password@host:8123/database of a real one")
    commands.add_parser("servers", help="start only what Pulse needs, and print the settings that name it")
    commands.add_parser("status", help="each process and the ledger")
    commands.add_parser("stop", help="end what was started, in an orderly way")
    load = commands.add_parser("load", help="send, wait, and compare what was acknowledged with what is stored")
    load.add_argument("--rate", type=float, default=200.0, help="events a second (200)")
    load.add_argument("--seconds", type=float, default=20.0, help="for how long (20)")
    for name, meaning in (
        ("kill", "end one with kill -9 and show who takes over"),
        ("pause", "halt one with SIGSTOP: a zombie, if it is a consumer"),
        ("resume", "let one go on after pause"),
        ("restart", "stop and start one"),
        ("logs", "the end of what one has said"),
    ):
        commands.add_parser(name, help=meaning).add_argument("name", help="as status shows it, for example consumer-1")
    return parser.parse_args(arguments)


def find_plan(options: argparse.Namespace) -> Plan:
    """The plan of the folder, or a new one where a cluster begins.

    Raise ClusterError where there is none, and for a ClickHouse that is not the one of the folder's cluster: what that
    has counted lies elsewhere.
    """
    known, clickhouse = read_plan(options.folder), getattr(options, "clickhouse", "")
    if known is None and options.command not in {"start", "servers"}:
        message = f"{options.folder} holds none: `scripts/cluster start` makes one"
        raise ClusterError(message)
    if known is not None and clickhouse not in {"", known.clickhouse}:
        message = f"the cluster has another ClickHouse: stop it and remove the folder {options.folder.absolute()}"
        raise ClusterError(message)
    return known or Plan(clickhouse=clickhouse)


def main() -> int:
    """Exit 0 when it was done, 1 with one line when not."""
    options = read_options()
    try:
        return work(Cluster(options.folder, find_plan(options)), options)
    except (ClusterError, ServerDidNotStartError) as error:
        sys.stderr.write(f"cluster: {error}\n")
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
