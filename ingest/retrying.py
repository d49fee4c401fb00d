"""Waiting for a warehouse that is down: the one rule what may be tried again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import stamina

from schemas.warehouse.errors import may_pass

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

WAIT_AT_MOST = 5.0


def retrying(*others: type[Exception]) -> AsyncIterator[stamina.Attempt]:
    """Attempts without end at what fails for a time: a WarehouseError that may pass, or one of the others."""

    def passes(error: Exception) -> bool:
        return may_pass(error) or isinstance(error, others)

    return stamina.retry_context(on=passes, attempts=None, timeout=None, wait_max=WAIT_AT_MOST).__aiter__()
