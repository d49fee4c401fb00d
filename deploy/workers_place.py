"""Where a worker stands among those of one parent; it travels on the worker's command line."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, NamedTuple, Self

if TYPE_CHECKING:
    from deploy.settings import Settings


class Place(NamedTuple):
    """The worker's number, of how many, and the descriptors that it inherits: of the channel, of listening sockets."""

    number: int
    workers: int
    channel: int
    listening: tuple[int, ...]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what `to_text` wrote; raise ValueError."""
        number, workers, channel, *listening = map(int, text.split(","))
        return cls(number, workers, channel, tuple(listening))

    def to_text(self) -> str:
        """For the command line."""
        return ",".join(map(str, (self.number, self.workers, self.channel, *self.listening)))

    def share(self, settings: Settings) -> Settings:
        """The settings with this worker's share of the limits, rounded up: together they hold what one would."""
        divided = {
            "collect_limit": -(-settings.collect_limit // self.workers),
            "collect_address_limit": -(-settings.collect_address_limit // self.workers),
        }
        return settings.model_copy(update=divided)

    def open_channel(self) -> socket.socket:
        """The end of the channel to the parent; the caller owns it. Call once."""
        return socket.socket(fileno=self.channel)

    def open_listening(self) -> list[socket.socket]:
        """The inherited listening sockets; the caller owns them. Call once."""
        return [socket.socket(fileno=descriptor) for descriptor in self.listening]
