"""The step that flags machines. They are kept, with the first reason that holds."""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from ingest.enrich.sources import to_parents

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ingest.enrich.batch import Batch
    from ingest.enrich.columns import Columns, Distinct

PERSON = ""
# In the order in which they are looked at; the places are the codes of the column.
REASONS = (PERSON, "ua", "datacenter", "spam-referrer", "rule")


def add_bots(batch: Batch, columns: Columns) -> Columns:  # noqa: ARG001 (a step)
    """Fill bot.

    `ua`: the user agent is a crawler's or a tool's. `datacenter`: the address is of a cloud, a hosting company or a
    declared crawler. `spam-referrer`: the referrer is on the list. `rule`: see `is_bare`. What the sender vouches for
    with a `user_id` is not judged by its address or by a missing user agent: server-side events come from servers.
    """
    agents, addresses, referrers = (batch.distinct(name) for name in ("user_agent", "address", "referrer"))
    users = batch.distinct("user_id")
    anonymous = mark(users, [user == "" for user in users.values])
    spam = read_spammers()
    reasons = np.select(
        [
            mark(agents, [batch.memory.agent(text).crawler for text in agents.values]),
            anonymous & mark(addresses, [batch.memory.address(text).datacenter for text in addresses.values]),
            mark(referrers, [is_spam(batch.memory.referral(text).host, spam) for text in referrers.values]),
            anonymous & mark(agents, [is_bare(text) for text in agents.values]),
        ],
        [1, 2, 3, 4],
        0,
    )
    return {"bot": pa.DictionaryArray.from_arrays(pa.array(reasons, pa.int32()), pa.array(REASONS))}


def mark(column: Distinct, flags: list[bool]) -> NDArray[np.bool_]:
    """Give a flag per row from one per distinct value."""
    return np.array(flags, np.bool_)[column.codes]


def is_bare(user_agent: str) -> bool:
    """Whether there is no user agent, or one without the parentheses in which every browser names its system."""
    return "(" not in user_agent


def is_spam(host: str, spammers: frozenset[str]) -> bool:
    """Whether a referrer's host or a domain above it is on the list."""
    return bool(host) and (host in spammers or any(parent in spammers for parent in to_parents(host)))


def read_spammers() -> frozenset[str]:
    """Read the list of spamming domains."""
    text = resources.files("ingest.enrich").joinpath("data", "spam-referrers.txt").read_text("utf-8")
    return frozenset(line for line in text.split("\n") if line and not line.startswith("#"))
