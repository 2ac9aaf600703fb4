"""Where each value of the configuration came from."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jackfield import _configuration
from jackfield._cli import toml
from jackfield._configuration import SECRETS_VARIABLE
from jackfield._settings import PREFIX


@dataclass(frozen=True, slots=True)
class Source:
    """Where a value came from.

    Attributes:
        kind: `default`, `file`, `secret` or `variable`.
        where: The file or the variable; None for a default.
        line: The line of a TOML file.
    """

    kind: str = "default"
    where: str | None = None
    line: int | None = None

    def __str__(self) -> str:
        return (self.where or self.kind) + (f":{self.line}" if self.line is not None else "")


class Sources:
    """Where the values of the configuration in force came from.

    Args:
        file: The file that was read, if there was one.
    """

    def __init__(self, file: Path | None) -> None:
        self._known: dict[toml.Path, Source] = {}
        if file is not None:
            lines = _lines(file.read_text(encoding="utf-8"))
            self._known |= {path: Source("file", str(file), line) for path, line in lines.items()}
        for path in _leaves(_configuration.secrets(os.environ)):
            self._known[path] = Source("secret", _secret(path))
        for name, value in os.environ.items():
            for path in _leaves(_configuration.variables({name: value})):
                self._known[path] = Source("variable", name)

    def of(self, path: toml.Path) -> Source:
        """Return where a value came from, or the list or the table that it stands in."""
        for length in range(len(path), 0, -1):
            if found := self._known.get(path[:length]):
                return found
        return Source()


def _leaves(table: Mapping[str, Any], path: toml.Path = ()) -> Iterator[toml.Path]:
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, (*path, key))
        else:
            yield (*path, key)


def _lines(text: str) -> dict[toml.Path, int]:
    """Return the line on which each key of a TOML document is; those of the tables of a list with their number.

    A statement is as many lines as it takes to make TOML of it.
    """
    rows = text.split("\n")
    found: dict[toml.Path, int] = {}
    counts: dict[toml.Path, int] = {}
    table: toml.Path = ()
    number = 0
    while number < len(rows):
        first, statement = number, rows[number]
        number += 1
        while (parsed := _parsed(statement)) is None and number < len(rows):
            statement += "\n" + rows[number]
            number += 1
        if statement.lstrip().startswith("["):
            table = _header(parsed or {}, counts)
            if table and table[-1].isdigit():
                found.setdefault(table[:-1], first + 1)
        else:
            found |= {(*table, *path): first + 1 for path in _leaves(parsed or {})}
    return found


def _header(parsed: Mapping[str, Any], counts: dict[toml.Path, int]) -> toml.Path:
    path: toml.Path = ()
    inner: Any = parsed
    while isinstance(inner, Mapping) and inner:
        ((key, inner),) = inner.items()
        path = (*path, key)
        if isinstance(inner, list):
            counts[path] = counts.get(path, 0) + 1
        if path in counts:
            path = (*path, str(counts[path] - 1))
    return path


def _parsed(statement: str) -> dict[str, Any] | None:
    try:
        return tomllib.loads(statement)
    except tomllib.TOMLDecodeError:
        return None


def _secret(path: toml.Path) -> str:
    """Return the file that a secret came from; its name is in small letters on most machines."""
    folder, name = Path(os.environ[SECRETS_VARIABLE]), (PREFIX + "__".join(path)).lower()
    return str(next((one for one in folder.iterdir() if one.name.lower() == name), folder))
