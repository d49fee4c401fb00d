"""What `pulse serve` says on standard output once it serves: a welcome to a newcomer, or one JSON object."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deploy import welcome
from deploy.terminal import print_json

if TYPE_CHECKING:
    from deploy.role import Role
    from deploy.settings import Settings
    from query_api.control.first_start import Welcome


@dataclass(frozen=True, slots=True)
class Announcer:
    """Says it once. Without `as_json` nothing is said but the welcome of the first start."""

    settings: Settings
    roles: frozenset[Role]
    workers: int = 1
    as_json: bool = False

    def tell(self, newcomer: Welcome | None = None) -> None:
        """Where this serves, and what only a newcomer is shown: the key would otherwise be lost."""
        listen = self.settings.listen
        if self.as_json:
            print_json({**self._describe(), "welcome": to_object(newcomer)})
        elif newcomer is not None:
            sys.stdout.write(welcome.to_text(newcomer, f"http://{listen}", sys.argv[0]) + "\n")
        sys.stdout.flush()

    def _describe(self) -> dict[str, object]:
        return {
            "listen": self.settings.listen,
            "roles": sorted(self.roles),
            "workers": self.workers,
            "pid": os.getpid(),
        }


def to_object(newcomer: Welcome | None) -> dict[str, str] | None:
    """Site key and key of the query API, None when this is not the first start."""
    return None if newcomer is None else {"site_key": newcomer.site.live.site_key, "key": newcomer.key.text}
