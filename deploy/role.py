"""The names of the roles. Light: a parent of workers loads nothing of what they do."""

from __future__ import annotations

from enum import StrEnum


class Role(StrEnum):
    """What a process may do."""

    ALL = "all"
    COLLECTOR = "collector"
    CONSUMER = "consumer"
    QUERY = "query"
    JOBS = "jobs"
