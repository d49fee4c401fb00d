"""64-bit hashes of event ids, for finding a resend.

No secret is in it and nobody gains by a collision (it would need another sender's random id), so a good mixer over all
rows at once does: 16 ms for a million ids against 1.1 s for as many BLAKE2b calls.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from numpy.typing import NDArray

LENGTH = 36
DIGITS = [place for place in range(LENGTH) if place not in {8, 13, 18, 23}]
NO_DIGIT = 255
NIBBLES = np.full(256, NO_DIGIT, np.uint8)
NIBBLES[np.frombuffer(b"0123456789abcdef", np.uint8)] = np.arange(16, dtype=np.uint8)
NIBBLES[np.frombuffer(b"ABCDEF", np.uint8)] = np.arange(10, 16, dtype=np.uint8)
NIBBLES.setflags(write=False)


def hash_event_ids(column: pa.Array | pa.ChunkedArray) -> NDArray[np.uint64]:
    """Hash UUIDs in text, letter case aside: empty is 0, every other text is not.

    A text that is no UUID in its usual form is hashed as text.
    """
    texts = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    lengths = pc.binary_length(texts).to_numpy(zero_copy_only=False)
    hashes = np.zeros(len(lengths), np.uint64)
    usual = np.flatnonzero(lengths == LENGTH)
    nibbles = NIBBLES[to_characters(texts.take(pa.array(usual)) if len(usual) < len(texts) else texts)]
    sound = (nibbles != NO_DIGIT).all(axis=1)
    hashes[usual[sound]] = mix_uuids(nibbles[sound])
    odd = np.concatenate([np.flatnonzero((lengths != LENGTH) & (lengths != 0)), usual[~sound]])
    for row in odd.tolist():
        hashes[row] = hash_text(texts[row].as_py())
    return hashes


def to_characters(texts: pa.Array) -> NDArray[np.uint8]:
    """Give the 32 digits of each text of 36 bytes, one row a text."""
    if not len(texts):
        return np.empty((0, len(DIGITS)), np.uint8)
    data = np.frombuffer(texts.buffers()[2], np.uint8)
    begin = np.frombuffer(texts.buffers()[1], np.int32)[texts.offset]
    return data[begin : begin + LENGTH * len(texts)].reshape(-1, LENGTH)[:, DIGITS]


def mix_uuids(nibbles: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """Fold 128 bits into 64: for equal halves of one side the other side decides alone, so neighbours never meet."""
    halves = np.ascontiguousarray((nibbles[:, ::2] << 4) | nibbles[:, 1::2]).view(">u8").astype(np.uint64)
    return np.maximum(mix(mix(halves[:, 0]) ^ halves[:, 1]), np.uint64(1))


def mix(numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finaliser of splitmix64 (Steele, Lea, Flood 2014), a bijection; arithmetic wraps at 2**64 on purpose."""
    mixed = numbers + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


def hash_text(text: str) -> int:
    """Hash what is no UUID."""
    return max(1, int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big"))
