"""The step that flags machines. They are kept, with the first reason that holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from ingest.enrich.spam import is_spam

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
    reasons = np.select(
        [
            mark(agents, [agent.crawler for agent in batch.agents]),
            anonymous & mark(addresses, [datacenter for _, datacenter in batch.addresses]),
            mark(referrers, [is_spam(referral.host, batch.memory.spammers) for referral in batch.referrals]),
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
