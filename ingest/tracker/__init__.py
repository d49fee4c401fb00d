"""The tracker: built by hatch_build.py from `source/`, served by `ingest/script.py` at /script.js."""

from __future__ import annotations

from importlib import resources


def read_script() -> bytes:
    """The built script; FileNotFoundError says how to build it."""
    path = resources.files("ingest.tracker") / "dist" / "script.js"
    if not path.is_file():
        message = "the tracker is not built: run scripts/build"
        raise FileNotFoundError(message)
    return path.read_bytes()
