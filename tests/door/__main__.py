"""`python -m tests.door --folder F --port P`: the door, until a signal or the end of stdin."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
import tempfile
from pathlib import Path

from aiohttp import web

from tests.door.engine import Engine, write_cluster
from tests.door.serving import Entry, Serving


async def serve(arguments: argparse.Namespace) -> None:
    """Answer until told to stop; then finish what runs."""
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if arguments.tied:
        loop.add_reader(sys.stdin, stop.set)  # nothing is ever sent: readable is closed, so whoever began us is gone
    engine = Engine(arguments.folder, arguments.cluster, is_fenced=not arguments.unfenced)
    serving = Serving(engine, Entry(arguments.user, arguments.password))
    runner = web.AppRunner(serving.make_app(), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, arguments.host, arguments.port).start()
    await stop.wait()
    await runner.cleanup()
    await asyncio.to_thread(serving.close)


def main() -> None:
    """Read the arguments and serve."""
    parser = argparse.ArgumentParser(prog="python -m tests.door", description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="where the engine keeps its data")
    parser.add_argument("--port", type=int, default=8123)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--user", default="default")
    parser.add_argument("--password", default="")
    parser.add_argument("--cluster", default="", help="play a cluster of this name with one shard")
    parser.add_argument("--tied", action="store_true", help="stop when stdin is closed")
    parser.add_argument("--unfenced", action="store_true", help="overlook every fence, to see what notices")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    arguments.folder = arguments.folder.resolve()
    with tempfile.TemporaryDirectory() as private:  # the engine reads ./config.xml
        os.chdir(private)
        if arguments.cluster:
            write_cluster(Path(private), arguments.cluster)
        asyncio.run(serve(arguments))


if __name__ == "__main__":
    main()
