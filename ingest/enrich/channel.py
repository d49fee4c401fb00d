"""The channel of a session's first event, after Google Analytics' default channel group, and `AI` for assistants.

https://support.google.com/analytics/answer/9756891 (its rules for manual traffic, order and patterns; compared with
copies of that page, 2026-11-21). What differs, and why: `AI` stands before all unpaid channels; a click id that only an
advertisement carries stands for a paid medium (GA reads it from its own ad account); a referrer without any campaign is
`Referral`, one of a mail service `Email`, one of an advertising network `Display` (GA writes the medium `referral`
itself); `newsletter` is `Email` and `affiliates` is as good as `affiliate`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

PAID_MEDIUM = re.compile(r"^(.*cp.*|ppc|retargeting|paid.*)$")
SHOPPING_CAMPAIGN = re.compile(r"^(.*(([^a-df-z]|^)shop|shopping).*)$")
DISPLAY_MEDIA = frozenset({"display", "banner", "expandable", "interstitial", "cpm"})
SOCIAL_MEDIA = frozenset({"social", "social-network", "social-media", "sm", "social network", "social media"})
REFERRAL_MEDIA = frozenset({"referral", "app", "link"})
EMAIL = frozenset({"email", "e-mail", "e_mail", "e mail", "newsletter"})
SEARCH_CLICKS = frozenset({"gclid", "gbraid", "wbraid", "msclkid", "yclid"})
SOCIAL_CLICKS = frozenset({"twclid", "li_fat_id", "rdt_cid", "epik", "ScCid"})
VIDEO_CLICKS = frozenset({"ttclid"})
DISPLAY_CLICKS = frozenset({"dclid"})
PAID_CLICKS = SEARCH_CLICKS | SOCIAL_CLICKS | VIDEO_CLICKS | DISPLAY_CLICKS  # all other ids say nothing of a payment


class Traffic(NamedTuple):
    """What the channel is decided by. Source, medium and campaign in lower case; `source` empty is direct."""

    source: str
    category: str
    medium: str
    campaign: str
    click_id: str


def is_paid(traffic: Traffic) -> bool:
    """Whether the medium says that somebody paid."""
    return PAID_MEDIUM.match(traffic.medium) is not None


def is_shopping(traffic: Traffic) -> bool:
    """Whether source or campaign is of a shop."""
    return traffic.category == "shopping" or SHOPPING_CAMPAIGN.match(traffic.campaign) is not None


RULES: tuple[tuple[str, Callable[[Traffic], bool]], ...] = (
    ("Direct", lambda t: not (t.source or t.medium or t.campaign or t.click_id in PAID_CLICKS)),
    ("Cross-network", lambda t: "cross-network" in t.campaign),
    ("Paid Shopping", lambda t: is_paid(t) and is_shopping(t)),
    ("Paid Search", lambda t: is_paid(t) and t.category == "search"),
    ("Paid Social", lambda t: is_paid(t) and t.category == "social"),
    ("Paid Video", lambda t: is_paid(t) and t.category == "video"),
    ("Display", lambda t: t.medium in DISPLAY_MEDIA or t.category == "paid"),
    ("Paid Other", is_paid),
    ("Paid Search", lambda t: t.click_id in SEARCH_CLICKS and t.category in {"", "search"}),
    ("Paid Social", lambda t: t.click_id in SOCIAL_CLICKS),
    ("Paid Video", lambda t: t.click_id in VIDEO_CLICKS or (t.click_id in SEARCH_CLICKS and t.category == "video")),
    ("Display", lambda t: t.click_id in DISPLAY_CLICKS),
    ("AI", lambda t: t.category == "ai"),
    ("Organic Shopping", is_shopping),
    ("Organic Social", lambda t: t.category == "social" or t.medium in SOCIAL_MEDIA),
    ("Organic Video", lambda t: t.category == "video" or "video" in t.medium),
    ("Organic Search", lambda t: t.category == "search" or t.medium == "organic"),
    ("Referral", lambda t: t.medium in REFERRAL_MEDIA),
    ("Email", lambda t: t.category == "email" or t.source in EMAIL or t.medium in EMAIL),
    ("Affiliates", lambda t: t.medium in {"affiliate", "affiliates"}),
    ("Audio", lambda t: t.medium == "audio"),
    ("SMS", lambda t: "sms" in {t.source, t.medium}),
    (
        "Mobile Push Notifications",
        lambda t: (
            t.medium.endswith("push") or "mobile" in t.medium or "notification" in t.medium or t.source == "firebase"
        ),
    ),
    ("Referral", lambda t: bool(t.source) and not t.medium),
)
UNASSIGNED = "Unassigned"
CHANNELS = (*dict.fromkeys(name for name, _ in RULES), UNASSIGNED)


def to_channel(traffic: Traffic) -> str:
    """Give the channel of the first rule that holds."""
    return next((channel for channel, holds in RULES if holds(traffic)), UNASSIGNED)
