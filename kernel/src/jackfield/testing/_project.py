"""What a project says of its plugins: its `pyproject.toml`, read as if it were installed."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from importlib.metadata import Distribution, PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

from jackfield._manifest import PLUGINS_GROUP, Found, found_in
from jackfield.testing._errors import SetupError

FILE: Final = "pyproject.toml"
_UNKNOWN: Final = "0"
"""The version of a project that is not installed, and whose build says which it is."""


class Project(Distribution):
    """A project whose `pyproject.toml` names plugins, as the distribution that its build would make.

    Args:
        file: The file.
        table: Its table `[project]`.
    """

    def __init__(self, file: Path, table: Mapping[str, Any]) -> None:
        self.file = file
        self._table = table

    def read_text(self, filename: str) -> str | None:
        """Return the text of one of the files of metadata that a build makes."""
        if filename == "METADATA":
            return "\n".join(self._metadata()) + "\n"
        return "\n".join(self._entry_points()) + "\n" if filename == "entry_points.txt" else None

    def locate_file(self, path: Any) -> Any:
        """Return where a file of the project is."""
        return self.file.parent / path

    def plugins(self) -> list[Found]:
        """Return the manifests of its plugins."""
        return found_in(self, list(self.entry_points))

    def _metadata(self) -> Iterator[str]:
        name = str(self._table.get("name", ""))
        yield "Metadata-Version: 2.1"
        yield f"Name: {name}"
        yield f"Version: {self._table.get('version') or _installed_version(name)}"
        yield f"Summary: {' '.join(str(self._table.get('description', '')).split())}"
        for requirement in self._table.get("dependencies", ()):
            yield f"Requires-Dist: {requirement}"

    def _entry_points(self) -> Iterator[str]:
        for group, names in self._table.get("entry-points", {}).items():
            yield f"[{group}]"
            yield from (f"{name} = {target}" for name, target in names.items())


def project_above(folder: Path) -> Project | None:
    """Return the nearest project, in a folder or one above it, that names plugins.

    Raises:
        SetupError: A `pyproject.toml` on the way cannot be read.
    """
    for place in (folder, *folder.parents):
        file = place / FILE
        if file.is_file() and (table := _read(file)).get("entry-points", {}).get(PLUGINS_GROUP):
            return Project(file, table)
    return None


def _read(file: Path) -> dict[str, Any]:
    try:
        table = tomllib.loads(file.read_text(encoding="utf-8")).get("project", {})
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SetupError(f"{file} cannot be read: {error}") from None
    return table if isinstance(table, dict) else {}


def _installed_version(name: str) -> str:
    try:
        return version(name) if name else _UNKNOWN
    except PackageNotFoundError:
        return _UNKNOWN
