"""A setting that cannot be used: exit code 2, and one line that names it and holds no password."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from deploy.control import control_of
from deploy.settings import Settings
from deploy.terminal import SettingError, read_settings
from tests.product import Product

if TYPE_CHECKING:
    from pathlib import Path

MISSING = "/no/such/file"


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"LISTEN": "8000"}, "PULSE_LISTEN: write host:port"),
        ({"LOG_URL_FILE": MISSING}, f"PULSE_LOG_URL_FILE: {MISSING} cannot be read: "),
        ({"LOG_URL": "sqlite:////log.db", "LOG_URL_FILE": MISSING}, "are both set: unset one"),
    ],
)
def test_what_cannot_be_read_is_a_wrong_setting(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, str], words: str
) -> None:
    for name, value in settings.items():
        monkeypatch.setenv(f"PULSE_{name}", value)
    with pytest.raises(SettingError) as caught:
        read_settings()
    assert caught.value.exit_code == 2
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("mysql://pulse:s3cret@h/pulse", "mysql:// names no control plane"),
        ("postgresql://pulse:s3cret@127.0.0.1:1/pulse", "127.0.0.1:1 cannot be reached"),
        ("postgresql://pulse:s3cret@127.0.0.1:1/pulse?colour=blue", "colour"),
    ],
)
async def test_a_control_plane_that_cannot_be_used_is_a_wrong_setting(tmp_path: Path, url: str, words: str) -> None:
    with pytest.raises(SettingError, match="PULSE_CONTROL_URL: ") as caught:
        async with control_of(Settings(data=tmp_path, control_url=url)):
            pass
    assert caught.value.exit_code == 2
    assert words in str(caught.value)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("resource", ["site", "key"])
def test_a_command_on_the_control_plane_tells_it_in_one_line(tmp_path: Path, resource: str) -> None:
    settings = {"CONTROL_URL": "postgresql://pulse:s3cret@127.0.0.1:1/pulse"}
    done = Product(tmp_path, settings, port=1).run(resource, "list", check=False)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith("pulse: PULSE_CONTROL_URL: ")
