"""Which events of a batch are resends: a pure rule over what is stored and what comes before them in the batch.

An event is a duplicate when its (site, event id) is stored at another position: within the hour before its receipt,
for one that says `attempt` >= 2 within 48 hours, for one with an ingest key within 48 hours or, where the stored one
came with such a key too, ever (other ids are not kept longer). The local date says nothing about it: a copy may stand
days away. Rows that are themselves stored (a
replay) must have been taken out before anything here is asked, so every id that is found stands at another position.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ingest.lately_seen import HOUR, SPAN, LatelySeen, to_keys, to_span

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa
    from numpy.typing import NDArray

    from ingest.lately_seen import Ids, Mask, Times
    from schemas.warehouse.client import Warehouse

RESEND_WINDOW = 48 * HOUR
IDS_AT_ONCE = 100_000

STORED = """
SELECT site_id, event_id, toUnixTimestamp64Milli(received) AS received, ingest
FROM events
WHERE site_id IN {sites:Array(UInt32)} AND event_id IN {ids:Array(UInt64)}
"""
SINCE = STORED + " AND received >= fromUnixTimestamp64Milli({since:Int64})"
EVER = SINCE + " UNION ALL " + STORED + " AND ingest"  # with OR all of `received` would be read: twice the work
LATELY = """
SELECT site_id, event_id, toUnixTimestamp64Milli(received) AS received
FROM events
WHERE received >= fromUnixTimestamp64Milli({since:Int64}) AND event_id != 0
    AND (_log != {log:UInt16} OR _partition IN {partitions:Array(UInt16)})
"""


@dataclass(frozen=True, slots=True)
class Sends:
    """What is asked of a batch's events that have an id, in log order; one array per field."""

    site_ids: NDArray[np.int64]
    event_ids: Ids
    received: Times
    resent: Mask
    ingest: Mask

    @property
    def keys(self) -> Ids:
        """Site and event id as one number."""
        return to_keys(self.site_ids, self.event_ids)

    def take(self, rows: NDArray[np.int64] | Mask) -> Sends:
        """Give some of them."""
        return Sends(
            self.site_ids[rows],
            self.event_ids[rows],
            self.received[rows],
            self.resent[rows],
            self.ingest[rows],
        )


class Duplicates:
    """Knows the lately seen ids and asks the warehouse for older ones."""

    def __init__(self, warehouse: Warehouse, lately: LatelySeen) -> None:
        self._warehouse = warehouse
        self._lately = lately

    async def load(self, log: int, partitions: Sequence[int], since: int) -> None:
        """Read the ids stored since this receipt time (epoch ms): of these partitions, and of other logs."""
        rows = await self._warehouse.query(LATELY, {"log": log, "partitions": list(partitions), "since": since})
        self._lately.add(_to_stored_keys(rows), _numbers(rows, "received"))

    async def find(self, sends: Sends) -> Mask:
        """Say of each event whether it is a duplicate; the earliest in log order of a new id is none."""
        found = self._lately.find(sends.keys, sends.received)
        later = sends.resent | sends.ingest
        begin = np.where(later, sends.received - RESEND_WINDOW, to_span(sends.received - HOUR) * SPAN)
        asked = np.flatnonzero(~found & (later | (begin < self._lately.forgotten_until)))
        for start in range(0, len(asked), IDS_AT_ONCE):
            rows = asked[start : start + IDS_AT_ONCE]
            found[rows] = await self._find_since(sends.take(rows), begin[rows])
        fresh = np.flatnonzero(~found)
        found[fresh] = find_repeats(sends.take(fresh))
        return found

    def remember(self, stored: Sends) -> None:
        """These have landed."""
        self._lately.add(stored.keys, stored.received)

    def forget(self, received: int) -> None:
        """No event received before this time (epoch ms) will be asked for any more."""
        self._lately.forget(received)

    async def find_stored(self, sends: Sends) -> Mask:
        """Say of each event whether its id was stored in the 48 hours before its receipt, or later; or ever.

        In whichever partition: the warehouse is asked.
        """
        return await self._find_since(sends, sends.received - RESEND_WINDOW)

    async def _find_since(self, sends: Sends, begin: Times) -> Mask:
        if not len(sends.event_ids):
            return np.zeros(0, np.bool_)
        parameters = {
            "sites": np.unique(sends.site_ids).tolist(),
            "ids": np.unique(sends.event_ids).tolist(),
            "since": int(begin.min()),
        }
        rows = await self._warehouse.query(EVER if sends.ingest.any() else SINCE, parameters)
        keys = _to_stored_keys(rows)
        latest: dict[int, int] = {}
        for key, received in zip(keys.tolist(), _numbers(rows, "received").tolist(), strict=True):
            latest[key] = max(received, latest.get(key, 0))
        stored = np.array([latest.get(key, -1) for key in sends.keys.tolist()], np.int64)
        ever = np.isin(sends.keys, keys[_numbers(rows, "ingest") > 0])
        return ((stored >= 0) & (stored >= begin)) | (sends.ingest & ever)


def to_sends(lines: pa.Table, events: pa.Table) -> tuple[Sends, NDArray[np.int64]]:
    """The sends of enriched events and the rows that they stand in; an event without id is none."""
    ids = events.column("event_id").to_numpy()
    rows = np.flatnonzero(ids)
    resent = lines.column("attempt").to_numpy() > 1
    ingest = lines.column("ingest").to_numpy()
    sends = Sends(_numbers(lines, "site_id"), ids, _numbers(lines, "received"), resent, ingest)
    return sends.take(rows), rows


def find_repeats(sends: Sends) -> Mask:
    """Say of each event whether an earlier one of them, not itself a repeat, has its id and is near enough."""
    keys = sends.keys
    order = np.argsort(keys, kind="stable")
    later = np.zeros(len(keys), np.bool_)
    later[order[1:]] = keys[order[1:]] == keys[order[:-1]]
    repeats = np.zeros(len(keys), np.bool_)
    last: dict[int, int] = {}
    if later.any():
        for row in np.flatnonzero(np.isin(keys, keys[later])).tolist():
            key = int(keys[row])
            repeats[row] = key in last and _is_near(sends, last[key], row)
            if not repeats[row]:
                last[key] = row
    return repeats


def _is_near(sends: Sends, earlier: int, later: int) -> bool:
    if sends.ingest[later]:
        return True
    before, now = int(sends.received[earlier]), int(sends.received[later])
    if sends.resent[later] and before >= now - RESEND_WINDOW:
        return True
    return before // SPAN >= (now - HOUR) // SPAN


def _to_stored_keys(rows: pa.Table) -> Ids:
    return to_keys(_numbers(rows, "site_id"), rows.column("event_id").to_numpy())


def _numbers(table: pa.Table, name: str) -> NDArray[np.int64]:
    numbers: NDArray[np.int64] = table.column(name).to_numpy().astype(np.int64)
    return numbers
