"""Seconds from `pulse serve` on an installed tree to the first ready answer: empty folder, and again with its data."""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

from tests.product import Product


def main() -> None:
    """Five rounds of both."""
    first: list[float] = []
    again: list[float] = []
    for _ in range(5):
        with tempfile.TemporaryDirectory() as name:
            product = Product(Path(name))
            for times in (first, again):
                began = time.perf_counter()
                product.start()
                times.append(time.perf_counter() - began)
                product.stop()
    print(f"serving after {statistics.median(first):.2f} s with an empty folder (goal 3 s)")
    print(f"serving after {statistics.median(again):.2f} s when started again")


if __name__ == "__main__":
    main()
