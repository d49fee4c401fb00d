"""The list of domains that send visits with a made-up referrer."""

from __future__ import annotations

from importlib import resources

from ingest.enrich.sources import to_parents


def is_spam(host: str, spammers: frozenset[str]) -> bool:
    """Whether a referrer's host or a domain above it is on the list."""
    return bool(host) and (host in spammers or any(parent in spammers for parent in to_parents(host)))


def read_spammers() -> frozenset[str]:
    """Read the list of spamming domains."""
    text = resources.files("ingest.enrich").joinpath("data", "spam-referrers.txt").read_text("utf-8")
    return frozenset(line for line in text.split("\n") if line and not line.startswith("#"))
