"""Takes connections: all that wait, each time round the loop.

uvloop takes one a round (libuv, pull request 3696): with 500 busy connections a round takes 30 ms, and a
visitor who came then waited for seconds (measured 2026-11-21: p99 1.5 s with 512 connections, 0.1 s this way).
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from typing import TYPE_CHECKING

import structlog

from deploy.terminal import CommandError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

BACKLOG = 1024
RETRY_SECONDS = 1.0
EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
log = structlog.get_logger()


class Door:
    """One listening socket; `make_protocol` is called for each connection. Belongs to the running loop."""

    def __init__(self, listening: socket.socket, make_protocol: Callable[[], asyncio.Protocol]) -> None:
        """Begin to take connections."""
        self._listening = listening
        self._make_protocol = make_protocol
        self._loop = asyncio.get_running_loop()
        self._arriving: set[asyncio.Task[object]] = set()
        self._retry: asyncio.TimerHandle | None = None
        listening.settimeout(0)
        self._open()

    async def close(self) -> None:
        """Take nobody more; return when all who were taken are with their protocol."""
        self._loop.remove_reader(self._listening)
        if self._retry is not None:
            self._retry.cancel()
        self._listening.close()
        await asyncio.gather(*self._arriving, return_exceptions=True)

    def _open(self) -> None:
        self._retry = None
        self._loop.add_reader(self._listening, self._accept)

    def _accept(self) -> None:
        for _ in range(BACKLOG):
            try:
                connection, _address = self._listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                self._rest(error)
                return
            connection.settimeout(0)
            arriving = self._loop.create_task(self._welcome(connection))
            self._arriving.add(arriving)
            arriving.add_done_callback(self._arriving.discard)

    async def _welcome(self, connection: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(self._make_protocol, connection)
        except OSError:  # it has gone already
            connection.close()

    def _rest(self, error: OSError) -> None:
        """Out of files or memory: those who wait are taken when some are free again."""
        if error.errno not in EXHAUSTED:
            raise error
        log.error("cannot_take_connections", reason=os.strerror(error.errno), hint="raise the limit of open files")
        self._loop.remove_reader(self._listening)
        self._retry = self._loop.call_later(RETRY_SECONDS, self._open)


def open_doors(address: str, make_protocol: Callable[[], asyncio.Protocol]) -> list[Door]:
    """Take connections at every address that `host:port` names; raise CommandError as `bind` does."""
    return [Door(one, make_protocol) for one in bind(address)]


def bind(address: str) -> list[socket.socket]:
    """Listen at every address that `host:port` names.

    Raise CommandError where one is taken already or none can be had; a machine may lack one of IPv4 and IPv6.
    """
    host, _, port = address.rpartition(":")
    sockets: list[socket.socket] = []
    problems: list[OSError] = []
    try:
        found = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)
    except OSError as error:
        raise _to_command_error(address, error.strerror or str(error)) from error
    for family, _kind, _protocol, _name, place in found:
        try:
            sockets.append(socket.create_server(place, family=family, backlog=BACKLOG))
        except OSError as error:
            problems.append(error)
    if not sockets or any(problem.errno == errno.EADDRINUSE for problem in problems):
        close_all(sockets)
        worst = max(problems, key=lambda problem: problem.errno == errno.EADDRINUSE)
        raise _to_command_error(address, os.strerror(worst.errno or 0)) from worst
    return sockets


def bind_for_each(address: str, workers: int) -> list[list[socket.socket]]:
    """Listen as `bind` does, with sockets for each worker, among which the kernel deals connections by their hash.

    A second server that shares its port, too, would be let in: so the port is first taken for this one alone.
    """
    alone = bind(address)
    places = [(one.family, one.getsockname()) for one in alone]
    close_all(alone)
    dealt: list[list[socket.socket]] = []
    try:
        for _ in range(workers):
            dealt.append([])
            for family, place in places:
                dealt[-1].append(socket.create_server(place, family=family, backlog=BACKLOG, reuse_port=True))
    except OSError as error:
        for sockets in dealt:
            close_all(sockets)
        raise _to_command_error(address, os.strerror(error.errno or 0)) from error
    return dealt


def close_all(sockets: Iterable[socket.socket]) -> None:
    """Let go of them."""
    for one in sockets:
        one.close()


def _to_command_error(address: str, reason: str) -> CommandError:
    return CommandError(f"cannot listen on {address}: {reason}; set PULSE_LISTEN to another one")
