"""One worker's place beside the others, seen by the parent: the process that has it and what it says."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from typing import TYPE_CHECKING

from deploy.workers_channel import Channel, Kind, Message

if TYPE_CHECKING:
    import signal
    from collections.abc import Awaitable, Callable, Sequence

    from deploy.workers_figures import Figures
    from deploy.workers_place import Place

TELL_SECONDS = 1.0  # a worker that is halted holds up the figures of the others for so long


class Post:
    """`figures` are those that its worker told last, `served` is set once a worker has served here.

    `has_served` and `is_serving` are about the worker that is here now, or was last. `answer` answers what workers ask.
    """

    def __init__(
        self,
        place: Place,
        command: Sequence[str],
        sockets: Sequence[socket.socket],
        answer: Callable[[Message], Awaitable[Message]],
    ) -> None:
        """`place` lacks the channel."""
        self.number = place.number
        self.sockets = sockets
        self.figures: Figures = ()
        self.served = asyncio.Event()
        self.has_served = False
        self._place = place
        self._command = command
        self._answer = answer
        self._process: asyncio.subprocess.Process | None = None
        self._channel: Channel | None = None
        self._told: dict[int, asyncio.Event] = {}
        self._questions = 0
        self._answering: set[asyncio.Task[None]] = set()

    @property
    def is_serving(self) -> bool:
        """Whether a worker is here and takes connections."""
        return self._channel is not None and self.has_served

    def send_signal(self, number: signal.Signals) -> None:
        """Send it to the worker that is here, if any."""
        if self._process is not None and self._process.returncode is None:
            with suppress(ProcessLookupError):
                self._process.send_signal(number)

    async def start(self) -> None:
        """Start a worker, of the same program and settings, that inherits its sockets."""
        self.has_served = False
        ours, theirs = socket.socketpair()
        with theirs:
            place = self._place._replace(channel=theirs.fileno())
            self._process = await asyncio.create_subprocess_exec(
                *self._command,
                place.to_text(),
                pass_fds=(place.channel, *place.listening),
                stdin=asyncio.subprocess.DEVNULL,
            )
        self._channel = await Channel.open(ours)

    async def stay(self) -> int:
        """Listen to the worker to its end; give its exit code (negative: of a signal)."""
        if self._process is None or self._channel is None:
            message = "nobody was started here"
            raise RuntimeError(message)
        async for said in self._channel.messages():
            self._take(said, self._channel)
        await self._channel.close()
        self._channel = None
        for told in self._told.values():
            told.set()
        return await self._process.wait()

    async def refresh(self) -> None:
        """Have `figures` be of now; return after a second in which the worker did not tell them."""
        if self._channel is None:
            return
        self._questions += 1
        number = self._questions
        told = self._told[number] = asyncio.Event()
        self._channel.send(Message(Kind.TELL, number))
        with suppress(TimeoutError):
            await asyncio.wait_for(told.wait(), TELL_SECONDS)
        del self._told[number]

    def _take(self, said: Message, channel: Channel) -> None:
        if said.kind is Kind.SERVING:
            self.has_served = True
            self.served.set()
        elif said.kind is Kind.FIGURES:
            self.figures = said.figures
            if said.number in self._told:
                self._told[said.number].set()
        else:
            answering = asyncio.get_running_loop().create_task(self._reply(said, channel))
            self._answering.add(answering)
            answering.add_done_callback(self._answering.discard)

    async def _reply(self, said: Message, channel: Channel) -> None:
        channel.send(await self._answer(said))
