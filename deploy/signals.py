"""How a server is asked to end: a first signal stops it gracefully, a second one at once."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

log = structlog.get_logger()
SAME_SECONDS = 0.5  # a terminal or `timeout` may send one wish twice: to the process and to its group
SIGNALS = (signal.SIGTERM, signal.SIGINT)


def end_nothing_else() -> None:
    """A process has nobody to take along when it ends at once."""


@contextmanager
def stopping_on_signals(stop: asyncio.Event, end_others: Callable[[], None] = end_nothing_else) -> Iterator[None]:
    """Set `stop` on the first signal, end the process on the second, after `end_others`."""
    loop = asyncio.get_running_loop()

    first = 0.0

    def note(number: signal.Signals) -> None:
        nonlocal first
        if stop.is_set() and loop.time() - first < SAME_SECONDS:
            return
        if stop.is_set():
            log.warning("ends_at_once", signal=number.name)
            end_others()
            os._exit(128 + number)
        log.info("stopping", signal=number.name, hint="once more to end at once")
        first = loop.time()
        stop.set()

    for number in SIGNALS:
        loop.add_signal_handler(number, note, number)
    try:
        yield
    finally:
        for number in SIGNALS:
            loop.remove_signal_handler(number)
