"""The step that says where a visit came from: referrer, source, channel."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ingest.enrich.channel import Traffic, to_channel
from ingest.enrich.columns import combine, intern, to_label_columns, to_labels
from ingest.enrich.sources import Source

if TYPE_CHECKING:
    from ingest.enrich.batch import Batch
    from ingest.enrich.columns import Columns
    from ingest.enrich.facts import SiteFacts
    from ingest.enrich.sources import Register
    from ingest.enrich.urls import UrlParts

DIRECT = "Direct"


class Tags(NamedTuple):
    """What the page's URL says of its visitor's source."""

    hostname: str
    asked: str
    medium: str
    campaign: str
    click_id: str


def add_source(batch: Batch, columns: Columns) -> Columns:  # noqa: ARG001 (a step)
    """Fill referrer, referrer_source and channel.

    URLs are many, what they say of a source is little: so distinct tags are combined with distinct hosts of referrers.
    """
    urls, referrers = batch.distinct("url"), batch.distinct("referrer")
    tags, tag_codes = intern(to_tags(parts) for parts in batch.urls)
    froms, from_codes = intern(referral[1:] for referral in batch.referrals)
    ids, site_codes = batch.sites()
    sites = [batch.facts.site(site) for site in ids]
    found = combine([site_codes, tag_codes[urls.codes], from_codes[referrers.codes]])
    records = [
        to_source(batch.memory.register, sites[site], Tags(*tags[tag]), froms[place])
        for site, tag, place in zip(*found.parts, strict=True)
    ]
    return {
        "referrer": to_labels([referral.url for referral in batch.referrals], referrers.codes),
        **to_label_columns(("referrer_source", "channel"), records, found.codes),
    }


def to_tags(parts: UrlParts) -> Tags:
    """Give the tags of a page's URL."""
    return Tags(parts.hostname, parts.asked, parts.utm_medium, parts.utm_campaign, parts.click_id)


def to_source(register: Register, site: SiteFacts, tags: Tags, origin: tuple[str, ...]) -> tuple[str, str]:
    """Give source and channel; `origin` is host, name and category of the referrer."""
    source = find_source(register, site, tags, origin)
    medium, campaign = tags.medium.lower(), tags.campaign.lower()
    traffic = Traffic(source.name.lower(), source.category, medium, campaign, tags.click_id)
    return source.name or DIRECT, to_channel(traffic)


def find_source(register: Register, site: SiteFacts, tags: Tags, origin: tuple[str, ...]) -> Source:
    """Give what the URL asks for, else the referrer unless it is the site itself; an empty name is direct."""
    if tags.asked:
        return register.find_name(tags.asked) or Source(tags.asked, "")
    host, name, category = origin
    own = host in {tags.hostname, site.domain.lower().removeprefix("www."), *site.hostnames}
    return Source("", "") if own else Source(name, category)
