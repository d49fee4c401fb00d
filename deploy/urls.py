"""What is wrong with the URLs of log and warehouse becomes one line that names the setting. Nothing is opened."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from deploy.terminal import SettingError
from ingest.log import LogUnavailableError
from ingest.log.kafka_url import is_kafka
from ingest.log.open import refuse_wrong_log
from schemas.warehouse.address import is_server, refuse_wrong_warehouse
from schemas.warehouse.errors import SETTING, WarehouseError, WarehouseUnusableError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from deploy.settings import Settings


def refuse_wrong_urls(settings: Settings) -> None:
    """Raise SettingError for a URL that cannot be meant, or names files that cannot be used, before anything starts."""
    with telling_of_log(settings):
        refuse_wrong_log(settings.log)
    with telling_of_warehouse(settings):
        refuse_wrong_warehouse(settings.warehouse)


@contextmanager
def telling_of_log(settings: Settings) -> Iterator[None]:
    """Raise SettingError where the setting names no log, or one on servers that cannot be used."""
    try:
        yield
    except (ValueError, LogUnavailableError) as error:
        if isinstance(error, LogUnavailableError) and not is_kafka(settings.log):
            raise
        message = f"PULSE_LOG_URL: {error}"
        raise SettingError(message) from error


@contextmanager
def telling_of_warehouse(settings: Settings) -> Iterator[None]:
    """Raise SettingError where the setting names no warehouse, or a server that cannot be used."""
    try:
        yield
    except WarehouseUnusableError as error:
        raise SettingError(str(error)) from error
    except WarehouseError as error:
        if not is_server(settings.warehouse):
            raise
        message = f"{SETTING}: {error}"
        raise SettingError(message) from error
