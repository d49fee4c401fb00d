"""The README tells what is so: its settings are the model's, its links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from deploy.settings import Settings

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
FOLDERS = ("ingest", "query_api", "schemas", "deploy", "tests", "scripts")


def test_the_table_of_settings_is_the_model() -> None:
    rows = re.findall(r"^\| `PULSE_(\w+)` \| (.+?) \| (.+?) \|$", README, re.MULTILINE)
    assert [row[0].lower() for row in rows] == list(Settings.model_fields)
    for name, default, meaning in rows:
        field = Settings.model_fields[name.lower()]
        said, _, inner = (field.description or "").partition("; default ")
        assert meaning == said
        shown = {"": inner, "()": "none"}.get(str(field.default), f"`{field.default}`")
        assert default.replace("./", "") == shown


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_top_folder_has_a_readme(folder: str) -> None:
    assert (ROOT / folder / "README.md").stat().st_size > 300


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / target).exists(), target
