"""Keeps out of the server what it would load and never use.

pyarrow looks for pandas (which chDB brings along) at the first array that it meets. Loading it costs a second of the
start and 80 MB for nothing; told that it is not there, pyarrow goes on without (measured 2026-11-21).
"""

from __future__ import annotations

import sys
from importlib.abc import MetaPathFinder
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType


class WithoutPandas(MetaPathFinder):
    """Says of pandas that it is not installed, and nothing of anything else."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Raise ModuleNotFoundError for pandas."""
        del path, target
        if fullname == "pandas":
            message = "pandas is kept out of this process"
            raise ModuleNotFoundError(message, name=fullname)
        return None


def keep_pandas_out() -> None:
    """Call before the engine or any array is loaded."""
    sys.meta_path.insert(0, WithoutPandas())
