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
from ingest.collector import EVENTS, PIXEL_GIF, SCRIPT

if TYPE_CHECKING:
    from collections.abc import Sequence

COLLECTED = frozenset({EVENTS, PIXEL_GIF, SCRIPT})  # paths that only a collector answers
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
