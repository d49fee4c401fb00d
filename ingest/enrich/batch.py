"""One batch on its way through the steps, and what is remembered from batch to batch."""

from __future__ import annotations

from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

from ingest.enrich.addresses import AddressReader
from ingest.enrich.agents import AgentReader
from ingest.enrich.client import to_language
from ingest.enrich.columns import Distinct, dense, to_distinct
from ingest.enrich.days import to_day_numbers
from ingest.enrich.props import to_pairs
from ingest.enrich.referrals import ReferralReader
from ingest.enrich.spam import read_spammers
from ingest.enrich.urls import to_url_parts

if TYPE_CHECKING:
    from collections.abc import Callable

    import pyarrow as pa

    from ingest.enrich.addresses import Address
    from ingest.enrich.agents import Agent
    from ingest.enrich.columns import Codes
    from ingest.enrich.facts import Facts
    from ingest.enrich.props import Pairs
    from ingest.enrich.referrals import Referral
    from ingest.enrich.sources import Register
    from ingest.enrich.urls import UrlParts

REMEMBERED = 32_768  # values a kind; the oldest unused goes first


class Memory:
    """Readers of single values, each with a bounded memory. Only speed depends on it, never a result."""

    def __init__(self, register: Register) -> None:
        """Load every list; takes half a second."""
        self.register = register
        self.spammers = read_spammers()
        self.url: Callable[[str], UrlParts] = lru_cache(REMEMBERED)(to_url_parts)
        self.referral: Callable[[str], Referral] = lru_cache(REMEMBERED)(ReferralReader(register).read)
        self.agent: Callable[[str], Agent] = lru_cache(REMEMBERED)(AgentReader().read)
        self.address: Callable[[str], Address] = lru_cache(2 * REMEMBERED)(AddressReader().read)
        self.language: Callable[[str], str] = lru_cache(REMEMBERED)(to_language)
        self.pairs: Callable[[str], Pairs] = lru_cache(REMEMBERED)(to_pairs)


class Batch:
    """The lines with their facts; text columns are taken apart once, whichever step asks first."""

    def __init__(self, lines: pa.Table, facts: Facts, memory: Memory) -> None:
        """Take lines of `read_lines` with their log positions."""
        self._lines = lines.combine_chunks()
        self._distinct: dict[str, Distinct] = {}
        self._sites: tuple[list[int], Codes] | None = None
        self.facts = facts
        self.memory = memory

    @cached_property
    def urls(self) -> list[UrlParts]:
        """The parts of each distinct url."""
        return [self.memory.url(text) for text in self.distinct("url").values]

    @cached_property
    def referrals(self) -> list[Referral]:
        """What each distinct referrer says."""
        return [self.memory.referral(text) for text in self.distinct("referrer").values]

    @cached_property
    def agents(self) -> list[Agent]:
        """What each distinct user_agent says."""
        return [self.memory.agent(text) for text in self.distinct("user_agent").values]

    @cached_property
    def addresses(self) -> list[Address]:
        """What each distinct address is."""
        return [self.memory.address(text) for text in self.distinct("address").values]

    def column(self, name: str) -> pa.Array:
        """Give a column of the lines in one piece."""
        column = self._lines.column(name)
        return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()

    def numbers(self, name: str) -> Codes:
        """Give a column of numbers."""
        numbers: Codes = self.column(name).to_numpy()
        return numbers

    def distinct(self, name: str) -> Distinct:
        """Give a text column as its distinct values."""
        if name not in self._distinct:
            self._distinct[name] = to_distinct(self.column(name))
        return self._distinct[name]

    def days(self) -> Codes:
        """Give each row's local day as days since 1970-01-01."""
        return to_day_numbers(self._lines)

    def sites(self) -> tuple[list[int], Codes]:
        """Give the distinct sites, and each row's place among them."""
        if self._sites is None:
            codes, ids = dense(self.numbers("site_id"))
            self._sites = (ids.tolist(), codes)
        return self._sites
