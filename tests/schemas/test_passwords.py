"""Passwords stay in no message, and a file that cannot hold one says why, for every server in the same words."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ingest.log.kafka_url import parse_kafka_url
from query_api.counts_redis import RedisCounts
from query_api.limits_errors import LimitsUnusableError
from schemas.control.connect import open_control
from schemas.control.errors import ControlUnusableError
from schemas.passwords import PasswordFileError, hide_password, read_password_file, split_credentials, to_form
from schemas.warehouse.address import to_address
from schemas.warehouse.errors import WarehouseUnusableError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

REFUSALS = (WarehouseUnusableError, ControlUnusableError, LimitsUnusableError, ValueError)
PIECES = ("s3cret", "hunter2")
# Each server with what opens its URL, and what stands behind the last @.
KINDS: dict[str, tuple[Callable[[str], object], str]] = {
    "clickhouse": (to_address, "h:8123/web"),
    "kafka": (parse_kafka_url, "h:9092/events?sasl=plain"),
    "postgresql": (open_control, "h:5432/pulse"),
    "redis": (RedisCounts, "h:6379/0"),
}
# What nobody escaped. Each server takes it for what it is, or refuses it without showing any of it.
UNESCAPED = [
    "pulse:s3cret/hunter2",
    "pulse:s3cret?hunter2",
    "pulse:s3cret#hunter2",
    "pulse:s3cret[hunter2",
    "pulse:s3cret℀hunter2",
    "pulse:s3cret@hunter2",
    "pulse:x@s3cret/hunter2",
    "pulse:x@s3cret?hunter2",
    "pulse:s3cret,hunter2:9092/t",
    "12/hunter2",
    "pulse:12/hunter2",
    "pulse:12?hunter2",
    "pulse:12/3?hunter2",
    "pulse:12/0#hunter2",
    "pulse:12/0?cluster=hunter2",
    "pulse:12/web?ca_file=hunter2",
    "pulse:12/0?password_file=hunter2",
]


async def open_url(open_it: Callable[[str], object], url: str) -> str:
    """What is said of the URL when it is refused; empty where it is taken."""
    try:
        open_it(url)
    except REFUSALS as error:
        return str(error)
    return ""


@pytest.mark.parametrize("credentials", UNESCAPED)
@pytest.mark.parametrize("kind", KINDS)
async def test_no_piece_of_a_password_that_nobody_escaped_is_shown(kind: str, credentials: str) -> None:
    open_it, place = KINDS[kind]
    said = await open_url(open_it, f"{kind}://{credentials}@{place}")
    assert [piece for piece in PIECES if piece in said] == []


@pytest.mark.parametrize("kind", KINDS)
async def test_a_host_that_is_refused_is_not_shown(kind: str) -> None:
    open_it, _ = KINDS[kind]
    said = await open_url(open_it, f"{kind}://pulse:s3cret,h:9092/web")
    assert said
    assert "s3cret" not in said


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "is empty"),
        (b"  \r\n", "is empty"),
        (b"\xff\xfe", "cannot be read: it is not text"),
        (b"one\ntwo\n", "has more than one line"),
        (None, "cannot be read: No such file or directory"),
    ],
)
async def test_a_password_file_that_holds_none_says_why(
    kind: str, content: bytes | None, why: str, tmp_path: Path
) -> None:
    file = tmp_path / "password"
    if content is not None:
        file.write_bytes(content)
    assert f"password_file={file} {why}" in await open_url(KINDS[kind][0], with_file(kind, "pulse", file))


@pytest.mark.parametrize("kind", KINDS)
async def test_a_password_and_its_file_are_one_too_many(kind: str, tmp_path: Path) -> None:
    (tmp_path / "password").write_text("other")
    said = await open_url(KINDS[kind][0], with_file(kind, "pulse:s3cret", tmp_path / "password"))
    assert "a password and a password_file are given: choose one" in said
    assert "s3cret" not in said


def with_file(kind: str, credentials: str, file: Path) -> str:
    """A URL that names the file."""
    place = KINDS[kind][1]
    return f"{kind}://{credentials}@{place}{'&' if '?' in place else '?'}password_file={file}"


@pytest.mark.parametrize("content", ["pass word\n", "pass word", "pass word\r\n", "pass word\n\n"])
def test_the_password_is_the_line_without_its_end(content: str, tmp_path: Path) -> None:
    (tmp_path / "password").write_text(content, newline="")
    assert read_password_file(str(tmp_path / "password"), "") == "pass word"


def test_what_was_read_of_a_file_is_in_no_error(tmp_path: Path) -> None:
    (tmp_path / "password").write_bytes(b"s3cret\xff")
    with pytest.raises(PasswordFileError) as caught:
        read_password_file(str(tmp_path / "password"), None)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


@pytest.mark.parametrize(
    ("rest", "parts"),
    [
        ("h/web", ("", "h/web")),
        ("u:p@h/web?a=1", ("u:p", "h/web?a=1")),
        ("u:p@q/r#s@h/web", ("u:p@q/r#s", "h/web")),
    ],
)
def test_what_stands_before_the_last_at_is_who_asks(rest: str, parts: tuple[str, str]) -> None:
    assert split_credentials(rest) == parts


def test_an_at_behind_a_question_mark_is_for_a_person_to_tell() -> None:
    with pytest.raises(ValueError, match=r"%3F for \?.*in an option %40 for @") as caught:
        split_credentials("u@h/web?password_file=/run/pulse@1")
    assert "pulse@1" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("kafka://user:pass@broker/events", "kafka://***@broker/events"),
        ("kafk://user:p://x@y@broker/events", "kafk://***@broker/events"),
        ("kafka:user:pass@broker/events", "***@broker/events"),
        ("kafka://broker/events", "kafka://broker/events"),
        ("sqlite:////log.db", "sqlite:////log.db"),
        ("broker", "broker"),
    ],
)
def test_a_url_is_shown_without_its_password(url: str, shown: str) -> None:
    assert hide_password(url) == shown


@pytest.mark.parametrize(
    ("url", "form"),
    [
        ("http://u:s3cret@h/x", "http://…"),
        ("clickhouses://u:s3cret,h", "clickhouses://…"),
        ("u:s3cret://h", "what stands there"),
        ("u:s3cret@h", "what stands there"),
    ],
)
def test_of_a_url_of_no_known_form_the_scheme_is_shown(url: str, form: str) -> None:
    assert to_form(url) == form
