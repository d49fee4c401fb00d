"""`pulse import access-log` of a large log into a fresh server, as a person runs it; counts at the end."""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from tests.bench.counting import count_pageviews, wait_until_counted
from tests.bench.traffic import write_access_log
from tests.product import Product


def main() -> None:
    """Write the log, import it, compare every count."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lines", type=int, default=1_000_000)
    lines = parser.parse_args().lines
    with tempfile.TemporaryDirectory() as name:
        log = Path(name) / "access.log"
        pages = write_access_log(log, lines)
        with Product(Path(name)) as product:
            site = product.run_json("site", "create", "--domain", "bench.example")
            key = str(product.run_json("key", "create", "--scope", "read")["key"])
            began = time.perf_counter()
            summary = product.run_json("import", "access-log", str(log), "--site", "bench.example")
            sent = time.perf_counter() - began
            wait_until_counted(product, key, pages)
            counted = time.perf_counter() - began
            found = count_pageviews(product, key)
    print(f"{lines:,} lines: all acknowledged after {sent:.1f} s, all counted after {counted:.1f} s (goal 30 s)")
    print(f"site {site['id']}: page views in the file {pages:,}, counted {found:,}, summary {summary}")
    if found != pages:
        raise SystemExit("COUNTS DIFFER")


if __name__ == "__main__":
    main()
