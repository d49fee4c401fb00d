"""Passwords of servers: told from the rest of their URL, read from a file, and shown in no message."""

from __future__ import annotations

import re
from pathlib import Path

ESCAPES = (
    "in a password write %40 for @, %2F for /, %3A for :, %3F for ?, %23 for # and %25 for %, in an option %40 for @"
)


class PasswordFileError(ValueError):
    """A password_file that cannot be used: one line that says why."""


def split_credentials(rest: str) -> tuple[str, str]:
    """What stands before the last @ of a URL (its scheme taken off), and what behind it; without an @ all is behind.

    Raise ValueError for a question mark before that @: nobody can tell whether it is the password's, or an option has
    an @. What is behind holds nothing of a password.
    """
    credentials, _, place = rest.rpartition("@")
    if "?" in credentials:
        message = f"it has a ? before the last @: {ESCAPES}"
        raise ValueError(message)
    return credentials, place


def read_password_file(path: str, given: str | None) -> str:
    """The file's one line; raise PasswordFileError where there is none, or the URL has `given` a password as well."""
    if given:
        message = "a password and a password_file are given: choose one"
        raise PasswordFileError(message)
    try:
        password = Path(path).read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        message = f"password_file={path} cannot be read: {reason}"
        raise PasswordFileError(message) from None  # the error of a decoder holds what it was given
    if not password.strip():
        message = f"password_file={path} is empty"
        raise PasswordFileError(message)
    if len(password.splitlines()) > 1:
        message = f"password_file={path} has more than one line"
        raise PasswordFileError(message)
    return password


def hide_password(url: str) -> str:
    """The URL as it may be shown: whatever stands before the last @ is not."""
    if "@" not in url:
        return url
    scheme, separator, rest = url.partition("://")
    shown = rest if separator else url
    return f"{scheme if separator else ''}{separator}***@{shown.rpartition('@')[2]}"


def to_form(url: str) -> str:
    """What may be shown of a URL that nobody understands, since any of it may be a password: its scheme."""
    found = re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", url)
    return f"{found[0]}…" if found else "what stands there"
