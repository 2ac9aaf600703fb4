"""Where in its metadata a distribution carries the contract of its plugins."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, distribution
from typing import Final

FILE: Final = "jackfield-contract.json"
FOLDER: Final = "extra_metadata"
"""Of a distribution's metadata; where hatchling puts what a build adds."""


def text_of(distribution_name: str) -> str | None:
    """Return the text of the contract that an installed distribution carries; None if it carries none."""
    try:
        return distribution(distribution_name).read_text(f"{FOLDER}/{FILE}")
    except PackageNotFoundError:
        return None
