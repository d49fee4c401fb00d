"""What the visitor's client says of itself: language, screen class, time zone."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from ingest.enrich.columns import to_labels
from schemas.zones import zone_names

if TYPE_CHECKING:
    from ingest.enrich.batch import Batch
    from ingest.enrich.columns import Columns

LANGUAGE = re.compile(r"([A-Za-z]{2,3})(?:[-_]([A-Za-z]{4}))?(?:[-_]([A-Za-z]{2}|\d{3}))?(?=[-_,;.\s]|$)")
# CSS pixels of the screen's width: class i is below limit i. The limits are those of common style sheets.
SCREENS = ("", "xs", "sm", "md", "lg", "xl", "2xl")
SCREEN_LIMITS = (1, 576, 768, 992, 1440, 1920)


def add_client(batch: Batch, columns: Columns) -> Columns:  # noqa: ARG001 (a step)
    """Fill language, screen and timezone."""
    languages, zones = batch.distinct("language"), batch.distinct("timezone")
    known = zone_names()
    return {
        "language": to_labels([batch.memory.language(text) for text in languages.values], languages.codes),
        "screen": to_labels(SCREENS, np.digitize(batch.numbers("screen_width"), SCREEN_LIMITS)),
        "timezone": to_labels([name if name in known else "" for name in zones.values], zones.codes),
    }


def to_language(text: str) -> str:
    """Give language, script and region of the first BCP 47 tag in their usual case: `en-GB`, `zh-Hant-TW`, `es-419`.

    Variants and extensions are left out; what is no tag is empty.
    """
    found = LANGUAGE.match(text.strip())
    if not found:
        return ""
    language, script, region = found.groups()
    parts = (language.lower(), script.title() if script else "", region.upper() if region else "")
    return "-".join(part for part in parts if part)
