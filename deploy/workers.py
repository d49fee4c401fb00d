"""`pulse serve --workers N`: a parent that holds the address, and N collectors that it starts, replaces and ends.

Light: it loads nothing of what its workers do. Each has listening sockets of its own on the one port, which the parent
keeps open: who waits in the queue of a worker that died is taken by the one that comes after it.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from deploy.listening import bind_for_each, close_all
from deploy.role import Role
from deploy.signals import stopping_on_signals
from deploy.terminal import CommandError
from deploy.workers_channel import Kind, Message
from deploy.workers_figures import Family, Sample, add_to_past, add_up
from deploy.workers_place import Place
from deploy.workers_post import Post

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Sequence

    from deploy.settings import Settings
    from deploy.workers_figures import Figures

MOST_WORKERS = 256
FIRST_WAIT, LONGEST_WAIT = 0.1, 5.0  # seconds until a worker that died is replaced, doubled while they die young
YOUNG_SECONDS = 30.0
log = structlog.get_logger()


class WrongWorkersError(CommandError):
    """Workers were asked for where there can be none, or so many."""

    exit_code = 2


def to_count(text: str) -> int:
    """How many workers a text asks for; raise WrongWorkersError. `auto` and 0 are the cores this process may use."""
    if text in {"auto", "0"}:
        return len(os.sched_getaffinity(0))
    if text.isascii() and text.isdigit() and int(text) <= MOST_WORKERS:
        return int(text)
    message = f"--workers {text}: write a number up to {MOST_WORKERS}, or auto for one a core"
    raise WrongWorkersError(message)


def refuse_other_roles(roles: frozenset[Role]) -> None:
    """Raise WrongWorkersError unless the one role is that of a collector."""
    if roles != {Role.COLLECTOR}:
        message = "only collectors may have workers: pulse serve --role collector --workers N"
        raise WrongWorkersError(message)


async def lead(settings: Settings, count: int, tell: Callable[[], None]) -> int:
    """Run `count` workers until a signal comes; `tell` is called when all serve for the first time.

    Give the exit code: 0, or that of a worker that could not serve and has said why. Raise CommandError where the
    address cannot be had.
    """
    crew = Crew(settings, count)
    with stopping_on_signals(crew.stop, crew.kill):
        await crew.run(tell)
    log.info("stopped", workers=count)
    return crew.code


class Crew:
    """All workers of one parent; `code` is what the parent is to end with."""

    def __init__(self, settings: Settings, count: int) -> None:
        """Listen; raise CommandError."""
        self.stop = asyncio.Event()
        self.code = 0
        self._settings = settings
        self._posts = [self._make_post(*pair, count) for pair in enumerate(bind_for_each(settings.listen, count))]
        self._past: Figures = ()
        self._replaced = 0

    def _make_post(self, number: int, sockets: Sequence[socket.socket], count: int) -> Post:
        place = Place(number, count, -1, tuple(one.fileno() for one in sockets))
        command = (sys.executable, str(Path(sys.argv[0]).resolve()), "serve", "--role", Role.COLLECTOR, "--worker")
        return Post(place, command, sockets, self.answer)

    @property
    def serving(self) -> int:
        """How many serve now."""
        return sum(post.is_serving for post in self._posts)

    def kill(self) -> None:
        """End all at once."""
        for post in self._posts:
            post.send_signal(signal.SIGKILL)

    async def run(self, tell: Callable[[], None]) -> None:
        """Return when all have ended, after `stop` or because none can serve."""
        first, *others = self._posts
        async with asyncio.TaskGroup() as group:
            announcing = group.create_task(self._announce(tell))
            group.create_task(self._pass_on())
            manning = [group.create_task(self._man(first))]
            # One alone migrates what is to be migrated, and says alone what is wrong.
            served = group.create_task(wait_for(first.served))
            await asyncio.wait((served, *manning), return_when=asyncio.FIRST_COMPLETED)
            served.cancel()
            manning += [group.create_task(self._man(post)) for post in others]
            await asyncio.wait(manning)
            announcing.cancel()

    async def answer(self, message: Message) -> Message:
        """What a worker asked."""
        figures = await self._read_figures() if message.kind is Kind.ASK else ()
        return Message(Kind.ANSWER, message.number, figures, self.serving)

    async def _announce(self, tell: Callable[[], None]) -> None:
        for post in self._posts:
            await post.served.wait()
        log.info("all_serve", at=f"http://{self._settings.listen}", workers=len(self._posts))
        tell()

    async def _pass_on(self) -> None:
        await self.stop.wait()
        for post in self._posts:
            close_all(post.sockets)
            post.send_signal(signal.SIGTERM)

    async def _man(self, post: Post) -> None:
        """Keep a worker at a post until it is time to stop."""
        wait = FIRST_WAIT
        while not self.stop.is_set():
            born = asyncio.get_running_loop().time()
            code = await self._live(post)
            if self.stop.is_set():
                return
            if not post.has_served and not self.serving:
                self._give_up(code)
                return
            wait = FIRST_WAIT if asyncio.get_running_loop().time() - born > YOUNG_SECONDS else wait
            log.error("worker_ended", worker=post.number, code=code, hint=f"the next one comes in {wait} s")
            self._replaced += 1
            with suppress(TimeoutError):
                await asyncio.wait_for(self.stop.wait(), wait)
            wait = min(2 * wait, LONGEST_WAIT)

    async def _live(self, post: Post) -> int:
        """Have a worker live and end; its counts are kept. Give its exit code, 1 where none could be started."""
        try:
            await post.start()
        except OSError as error:
            log.error("worker_not_started", worker=post.number, reason=error.strerror)  # noqa: TRY400 - it is enough
            return 1
        if self.stop.is_set():  # since
            post.send_signal(signal.SIGTERM)
        code = await post.stay()
        self._past, post.figures = add_to_past(self._past, post.figures), ()
        return code

    def _give_up(self, code: int) -> None:
        """No worker can serve: end with its code; it has said why, unless a signal has ended it."""
        if code < 0:
            log.error("worker_ended_by_signal", signal=signal.Signals(-code).name)
        self.code = code if code > 0 else 1
        self.stop.set()

    async def _read_figures(self) -> Figures:
        """Those of all workers, as they are now; of one that does not answer as it last told them."""
        await asyncio.gather(*(post.refresh() for post in self._posts))
        return (*add_up(self._past, {post.number: post.figures for post in self._posts}), *self._own_figures())

    def _own_figures(self) -> Figures:
        return (
            to_family("gauge", "pulse_workers", "Workers that there should be", len(self._posts)),
            to_family("gauge", "pulse_workers_serving", "Workers that serve", self.serving),
            to_family("counter", "pulse_workers_replaced", "Workers that ended and were replaced", self._replaced),
        )


async def wait_for(event: asyncio.Event) -> None:
    """Return when it has happened."""
    await event.wait()


def to_family(kind: str, name: str, text: str, value: int) -> Family:
    """A figure of the parent."""
    return Family(name, kind, text, (Sample(f"{name}_total" if kind == "counter" else name, (), value),))
