"""Values as TOML; reading is the standard library's, editing is tomlkit's."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from jackfield._cli.terminal import to_json

_BARE: Final = re.compile(r"[A-Za-z0-9_-]+")


def value(item: object) -> str:
    """Return a value on one line."""
    if isinstance(item, Mapping):
        return "{" + ", ".join(f"{key(name)} = {value(inner)}" for name, inner in item.items()) + "}"
    if isinstance(item, Sequence) and not isinstance(item, str):
        return "[" + ", ".join(map(value, item)) + "]"
    if item is None:
        return '""'  # TOML has no null
    return to_json(item)


def key(name: str) -> str:
    """Return a key, in quotes where it needs them."""
    return name if _BARE.fullmatch(name) else to_json(name)


def tables(items: Mapping[str, Any], path: str = "") -> Iterator[list[str]]:
    """Yield the lines of each table: its own values first, then the tables inside it."""
    inner = {name: item for name, item in items.items() if isinstance(item, Mapping)}
    own = [f"{key(name)} = {value(item)}" for name, item in items.items() if name not in inner]
    if own or (path and not inner):
        yield [*([f"[{path}]"] if path else []), *own]
    for name, item in inner.items():
        yield from tables(item, f"{path}.{key(name)}" if path else key(name))
