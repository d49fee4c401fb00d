"""Traffic like a site has it, made from a seed: access logs and events over a month."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

USER_AGENTS = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36",
    (
        "Mozilla/5.0 (iPhone; CPU iPhone OS 17_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.1"
        " Mobile/15E148 Safari/604.1"
    ),
    (
        "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.1"
        " Safari/605.1.15"
    ),
    "Mozilla/5.0 (X11; Linux x86_64; rv:121.0) Gecko/20100101 Firefox/121.0",
    (
        "Mozilla/5.0 (Linux; Android 13; SM-S901B) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/119.0.0.0 Mobile"
        " Safari/537.36"
    ),
    "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
)
REFERRERS = ("-", "-", "https://www.google.com/", "https://news.ycombinator.com/item?id=1", "https://duckduckgo.com/")
START = datetime(2026, 10, 1, tzinfo=UTC)


def write_access_log(file: Path, lines: int, seed: int = 1) -> int:
    """Write a combined log of so many lines in time order over a month; give how many are page views."""
    chance = random.Random(seed)  # noqa: S311 - no secret
    pages = 0
    with file.open("w") as out:
        for number in range(lines):
            pages += write_line(out.write, chance, START + timedelta(days=30) * number / lines)
    return pages


def write_line(write: Callable[[str], object], chance: random.Random, when: datetime) -> int:
    """One line; 1 if it is a page view by the rule of the import."""
    visitor = chance.randrange(60_000)
    path = f"/blog/post-{int(chance.paretovariate(0.8)) % 900}"
    kind = chance.random()
    status, page = (200, 1)
    if kind < 0.10:
        path, page = f"/static/{visitor % 40}.png", 0
    elif kind < 0.13:
        status, page = 404, 0
    agent = USER_AGENTS[visitor % len(USER_AGENTS)]
    address = f"{81 + visitor % 7}.{visitor % 199}.{visitor // 256 % 256}.{visitor % 256}"
    write(
        f"{address} - - [{when:%d/%b/%Y:%H:%M:%S} +0000] "
        f'"GET {path} HTTP/1.1" {status} 5120 "{chance.choice(REFERRERS)}" "{agent}"\n'
    )
    return page
