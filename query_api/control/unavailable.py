"""What a client is told while the control plane does not answer."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import structlog
from sqlalchemy.exc import SQLAlchemyError

from query_api.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator

RETRY_SECONDS = 5
CANNOT_ASK = "Keys cannot be checked at the moment: try again in a few seconds"

log = structlog.get_logger()


@contextmanager
def telling_unavailable() -> Iterator[None]:
    """Raise UnavailableError in place of SQLAlchemyError."""
    try:
        yield
    except SQLAlchemyError as error:
        log.warning("control_plane_unavailable", problem=type(error).__name__)
        raise UnavailableError.after(CANNOT_ASK, RETRY_SECONDS) from error
