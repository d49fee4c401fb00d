"""How the warehouse fails. Light: whoever only tells of failures need not load the client."""

from __future__ import annotations

SETTING = "PULSE_WAREHOUSE_URL"


class WarehouseError(Exception):
    """The warehouse refused or failed. The message is for the log, never for a client."""


class WarehouseUnusableError(WarehouseError):
    """The setting names a warehouse that cannot be used: one line that says why and what to do, no password."""

    def __init__(self, problem: str) -> None:
        super().__init__(f"{SETTING}: {problem}")


class WarehouseLimitError(WarehouseError):
    """A query went over its time or memory limit."""


class WarehouseDiskError(WarehouseError):
    """The disk has no room, or did not take what was written; what that broke has been mended."""


class WarehouseMovedError(WarehouseError):
    """A query saw two states of the data and stopped itself (throwIf): ask again."""


class WarehouseFencedError(WarehouseError):
    """An insert was refused, wholly: somebody else has taken over a log partition of it (see `Fence`)."""


class WarehouseUnknownError(WarehouseError):
    """The answer to a write was lost: it may have landed, may still run, may even begin later."""


def may_pass(error: Exception) -> bool:
    """Whether the same write may be tried again: it certainly left nothing, and nobody else has taken over."""
    return isinstance(error, WarehouseError) and not isinstance(error, WarehouseFencedError | WarehouseUnknownError)
