"""The step that makes visitor ids: who is whom, without anybody being known (METRICS.md, "visitor").

Anonymous: BLAKE2b-64 of site, network and user agent, keyed by the salt of the local date. Identified: BLAKE2b-64 of
site and user_id, keyed by the site's own permanent key. Every part has a fixed length or comes last, so that no two
visitors share a message.
"""

from __future__ import annotations

import struct
from datetime import timedelta
from hashlib import blake2b
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from ingest.enrich.columns import Codes, Combination, combine
from ingest.enrich.days import EPOCH

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ingest.enrich.batch import Batch
    from ingest.enrich.columns import Columns

BYTES = 8
HEAD = struct.Struct("<IB")  # site, length of the network


def add_visitor(batch: Batch, columns: Columns) -> Columns:
    """Fill visitor_id and identified; needs local_date."""
    users = batch.distinct("user_id")
    identified = np.array([user != "" for user in users.values], np.bool_)[users.codes]
    visitors = np.empty(len(identified), np.uint64)
    known, unknown = np.flatnonzero(identified), np.flatnonzero(~identified)
    visitors[known] = to_identified(batch, known)
    visitors[unknown] = to_anonymous(batch, columns["local_date"].cast(pa.int32()).to_numpy(), unknown)
    return {"visitor_id": pa.array(visitors), "identified": pa.array(identified)}


def to_identified(batch: Batch, rows: Codes) -> NDArray[np.uint64]:
    """Give the visitors of rows with a user_id."""
    ids, sites = batch.sites()
    users = batch.distinct("user_id")
    found = combine([sites[rows], users.codes[rows]])
    digests = [
        blake2b(
            HEAD.pack(ids[site], 0) + to_bytes(users.values[user]),
            key=batch.facts.site(ids[site]).visitor_key,
            digest_size=BYTES,
        ).digest()
        for site, user in zip(*found.parts, strict=True)
    ]
    return to_numbers(digests, found)


def to_anonymous(batch: Batch, days: NDArray[np.int32], rows: Codes) -> NDArray[np.uint64]:
    """Give the visitors of rows without one. A keyed hash is begun once a date and copied for each visitor."""
    ids, sites = batch.sites()
    addresses, agents = batch.distinct("address"), batch.distinct("user_agent")
    networks = [network for network, _ in batch.addresses]
    texts = [to_bytes(text) for text in agents.values]
    found = combine([sites[rows], days[rows].astype(np.int64), addresses.codes[rows], agents.codes[rows]])
    begun = {
        day: blake2b(key=batch.facts.salt(EPOCH + timedelta(days=day)), digest_size=BYTES)
        for day in set(found.parts[1])
    }
    digests = []
    for site, day, address, agent in zip(*found.parts, strict=True):
        network = networks[address]
        digest = begun[day].copy()
        digest.update(HEAD.pack(ids[site], len(network)) + network + texts[agent])
        digests.append(digest.digest())
    return to_numbers(digests, found)


def to_bytes(text: str) -> bytes:
    """Encode any text, odd ones too."""
    return text.encode("utf-8", "surrogatepass")


def to_numbers(digests: list[bytes], found: Combination) -> NDArray[np.uint64]:
    """Give one number per row from one digest per combination."""
    return np.frombuffer(b"".join(digests), "<u8").astype(np.uint64)[found.codes]
