"""The command `pulse`: exit 0 done, 1 failed with one clear line on standard error, 2 wrong usage or settings."""

from __future__ import annotations

import sys

from deploy.lean import loading


def main() -> None:
    """Run the command line; whatever fails is one line on standard error and exit code 1."""
    with loading():
        from deploy.commands import make_app  # noqa: PLC0415 - what takes long to load is loaded here
        from deploy.observe import configure_logs  # noqa: PLC0415 - as above

        app = make_app(sys.argv[1] if len(sys.argv) > 1 else "")
    configure_logs("warning")
    try:
        app()
    except Exception as error:  # noqa: BLE001 - a person sees one line, not a traceback
        fail(error)


def fail(error: Exception) -> None:
    """Print the failure (the first of a group) as one line; end with its own exit code, else 1."""
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    line = " ".join(str(error).split()) or type(error).__name__
    sys.stderr.write(f"pulse: {line}\n")
    sys.exit(getattr(error, "exit_code", 1))
