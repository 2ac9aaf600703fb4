"""The plugins of the workspace, all of which are installed wherever the tests run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

INSTALLED: Final = tuple(
    sorted(path.parent.name for path in Path(__file__).parents[2].glob("plugins/*/pyproject.toml"))
)


def names(*others: str) -> tuple[str, ...]:
    """Return the names of the installed plugins, and those of others, in order."""
    return tuple(sorted((*INSTALLED, *others)))


def disabled(*but: str) -> str:
    """Return the table of a configuration that disables all of them, but those that are named."""
    return f"[plugins]\ndisabled = {json.dumps([name for name in INSTALLED if name not in but])}\n"
