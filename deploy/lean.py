"""Makes the start short: what is never used is not loaded, and what is loaded is not searched for garbage.

Modules are a quarter of a million objects that live as long as the process. Python's garbage collector goes through
them again and again while they are made, a tenth of the time that loading takes, and would do so whenever it looks at
everything later (measured 2026-11-21).
"""

from __future__ import annotations

import gc
import sys
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

# Each is optional for the one who looks for it, who goes on without (measured 2026-11-21).
UNUSED = frozenset(
    {
        "pandas",  # pyarrow, at the first array that it meets, since chDB brings it: a second and 80 MB
        "mako.ext.pygmentplugin",  # Mako, of Alembic, to colour error pages: 0.2 s of the first start
    }
)


class WithoutUnused(MetaPathFinder):
    """Says of what is unused that it is not installed, and nothing of anything else."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Raise ModuleNotFoundError for what is unused."""
        del path, target
        if fullname in UNUSED:
            message = f"{fullname} is kept out of this process"
            raise ModuleNotFoundError(message, name=fullname)
        return None


def keep_unused_out() -> None:
    """Call before the engine or any array is loaded."""
    sys.meta_path.insert(0, WithoutUnused())


@contextmanager
def loading() -> Iterator[None]:
    """Load modules inside: no garbage is looked for meanwhile, nor ever again in what is there at the end."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
