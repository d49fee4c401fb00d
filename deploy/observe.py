"""Logs: for people on a terminal, JSON lines otherwise; the request id stands in all that a request causes."""

from __future__ import annotations

import logging
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, TextIO, cast

import orjson
import structlog

if TYPE_CHECKING:
    from structlog.typing import EventDict, Processor, WrappedLogger

# What must never stand in a log, whoever passes it: addresses, keys, what identifies a visitor.
SECRET_FIELDS = frozenset(
    {"address", "ip", "key", "site_key", "token", "user_id", "user_agent", "authorization", "salt"}
)


class Forgiving:
    """A stream that never raises: where its disk is full the line is lost, not the work that it tells of."""

    def __init__(self, stream: TextIO) -> None:
        """Write to this one."""
        self._stream = stream

    def write(self, text: str) -> None:
        """Write it if that is possible."""
        with suppress(OSError):
            self._stream.write(text)

    def flush(self) -> None:
        """Bring it out if that is possible."""
        with suppress(OSError):
            self._stream.flush()


def configure_logs(level: str) -> None:
    """Send all logs, ours and the libraries', to standard error in one form."""
    stream = cast("TextIO", Forgiving(sys.stderr))
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        tell_retries,
        hide_secrets,
    ]
    number = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[*shared, *_to_text()],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(stream),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_to_text()],
        )
    )
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)


def hide_secrets(_logger: WrappedLogger, _method: str, fields: EventDict) -> EventDict:
    """Take out the fields that no log may hold."""
    return {name: value for name, value in fields.items() if name not in SECRET_FIELDS}


def tell_retries(_logger: WrappedLogger, _method: str, fields: EventDict) -> EventDict:
    """Say of a retry why and when, in our words; stamina would tell of a callable, which is always a context block.

    They are not switched off: not everything that is tried again says so by itself.
    """
    if fields.get("event") != "stamina.retry_scheduled":
        return fields
    known = {"event", "callable", "args", "kwargs", "retry_num", "caused_by", "wait_for", "waited_so_far"}
    told = {"attempt": fields["retry_num"], "problem": fields["caused_by"], "wait_seconds": fields["wait_for"]}
    return {"event": "trying_again", **told, **{name: value for name, value in fields.items() if name not in known}}


def _to_text() -> list[Processor]:
    if sys.stderr.isatty():
        return [structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]
    return [
        structlog.processors.ExceptionRenderer(structlog.tracebacks.ExceptionDictTransformer(show_locals=False)),
        structlog.processors.JSONRenderer(serializer=lambda fields, **_: orjson.dumps(fields, default=str).decode()),
    ]
