"""Taking connections: all that wait at once, none lost when files run out, one clear line when there is no place."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket

import pytest
import uvloop

from deploy import listening
from deploy.listening import Door, bind_for_each, close_all, open_doors
from deploy.terminal import CommandError
from tests.servers.process import find_free_port

MANY = 200
ROUNDS = 10


class Greeting(asyncio.Protocol):
    """Counts who has come."""

    def __init__(self, guests: list[asyncio.BaseTransport]) -> None:
        self._guests = guests
        self.came = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """One more."""
        self.came.set()
        self._guests.append(transport)


class OutOfFiles(socket.socket):
    """A listening socket that meets the limit of open files until it is told otherwise."""

    asked = 0
    is_out = True

    def accept(self) -> tuple[socket.socket, object]:
        """Fail, then work."""
        self.asked += 1
        if self.is_out:
            raise OSError(errno.EMFILE, "Too many open files")
        return super().accept()


def test_all_who_wait_are_taken_within_a_few_rounds_of_the_loop() -> None:
    uvloop.run(take_many())  # whose own way takes one a round


async def take_many() -> None:
    """All of them are with their protocol before the loop has come round often."""
    guests: list[asyncio.BaseTransport] = []
    port = find_free_port()
    (door,) = open_doors(f"127.0.0.1:{port}", lambda: Greeting(guests))
    callers = [socket.create_connection(("127.0.0.1", port)) for _ in range(MANY)]
    assert guests == []
    for _ in range(ROUNDS):
        await asyncio.sleep(0)
    assert len(guests) == MANY
    await door.close()
    for caller in callers:
        caller.close()
    for guest in guests:
        guest.close()


async def test_who_comes_while_files_run_out_is_taken_when_there_are_some_and_nothing_spins_meanwhile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(listening, "RETRY_SECONDS", 2.0)
    full = OutOfFiles(socket.AF_INET, socket.SOCK_STREAM)
    full.bind(("127.0.0.1", 0))
    full.listen()
    guests: list[asyncio.BaseTransport] = []
    greeting = Greeting(guests)
    door = Door(full, lambda: greeting)
    caller = socket.create_connection(full.getsockname())
    for _ in range(ROUNDS):
        await asyncio.sleep(0)
    assert (full.asked, guests) == (1, [])
    full.is_out = False
    await asyncio.wait_for(greeting.came.wait(), 10)
    await door.close()
    caller.close()
    guests[0].close()


async def test_a_place_that_is_taken_or_not_there_is_told_with_what_to_do() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        for host, reason in (("127.0.0.1", "Address already in use"), ("192.0.2.1", "Cannot assign")):
            with pytest.raises(CommandError, match=f"cannot listen on {host}:{port}: {reason}.*; set PULSE_LISTEN"):
                open_doors(f"{host}:{port}", asyncio.Protocol)
    with pytest.raises(CommandError, match=r"cannot listen on no-such-host.invalid:1: .*; set PULSE_LISTEN"):
        open_doors("no-such-host.invalid:1", asyncio.Protocol)


async def test_a_name_with_several_addresses_is_served_at_each_that_the_machine_has() -> None:
    port = find_free_port()
    guests: list[asyncio.BaseTransport] = []
    doors = open_doors(f"localhost:{port}", lambda: Greeting(guests))
    places = {place for *_, place in socket.getaddrinfo("localhost", port, type=socket.SOCK_STREAM)}
    callers = [socket.create_connection((str(place[0]), port)) for place in places]
    for _ in range(ROUNDS):
        await asyncio.sleep(0)
    assert len(guests) == len(callers)
    for door in doors:
        await door.close()
    for caller in callers:
        caller.close()
    for guest in guests:
        guest.close()


def test_each_of_several_has_sockets_of_its_own_on_one_port_that_nobody_else_may_join() -> None:
    port = find_free_port()
    dealt = bind_for_each(f"127.0.0.1:{port}", 3)
    assert [one.getsockname() for sockets in dealt for one in sockets] == [("127.0.0.1", port)] * 3
    with pytest.raises(CommandError, match="Address already in use"):
        bind_for_each(f"127.0.0.1:{port}", 2)
    # One that ends takes nobody along who waits in its queue, as long as somebody else holds the socket.
    waiting = [socket.create_connection(("127.0.0.1", port)) for _ in range(MANY)]
    assert sum(take_all(sockets[0].dup()) for sockets in dealt) == MANY
    for one in waiting:
        one.close()
    for sockets in dealt:
        close_all(sockets)
    with socket.create_server(("127.0.0.1", port)):
        pass


def take_all(listening: socket.socket) -> int:
    """How many wait there; they are sent away."""
    taken = 0
    with listening, contextlib.suppress(BlockingIOError):
        listening.setblocking(False)  # noqa: FBT003 - its name says it
        while True:
            listening.accept()[0].close()
            taken += 1
    return taken
