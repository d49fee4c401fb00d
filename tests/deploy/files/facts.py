"""What Pulse is, asked of its own code: commands, roles, paths, how long a stop may take."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING

import typer
from prometheus_client import CollectorRegistry
from typer.core import TyperGroup

from deploy.commands import make_app
from deploy.health import make_health_app
from deploy.role import Role
from query_api.endpoints import ENDPOINTS

if TYPE_CHECKING:
    from collections.abc import Sequence

# Requests, (method, path), of collectors and of query servers. One path is both: events are posted to it, and it is a
# report.
COLLECTED = frozenset(
    {
        *(("POST", "/v1/events"), ("GET", "/v1/pixel.gif"), ("GET", "/script.js"), ("HEAD", "/script.js")),
        *(("OPTIONS", "/v1/events"), ("OPTIONS", "/v1/pixel.gif"), ("OPTIONS", "/script.js")),
    }
)
ASKED = frozenset((endpoint.method, endpoint.path) for endpoint in ENDPOINTS)
STOP_SECONDS = 30  # the longest that a stop may take, deploy/http.py
PATHS = frozenset(found.canonical for found in make_health_app({}, CollectorRegistry()).router.resources())


def find_commands() -> frozenset[str]:
    """Every command of `pulse`."""
    group = typer.main.get_command(make_app(""))
    assert isinstance(group, TyperGroup)
    return frozenset(group.commands)


def find_paths(written: str) -> set[str]:
    """The paths that stand in quotes."""
    return set(re.findall(r"""["'](/[a-z]+)["']""", written))


def read_roles(arguments: Sequence[str]) -> set[str]:
    """The roles that `pulse` is asked for, empty for another command than `serve`; fails for what does not exist."""
    assert arguments[0] in find_commands(), arguments
    roles = {word for option, word in pairwise(arguments) if option == "--role"}
    assert roles <= {role.value for role in Role}
    return roles
