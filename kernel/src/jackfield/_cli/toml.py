"""Values as TOML; reading is the standard library's, editing is tomlkit's."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias

from pydantic import BaseModel

from jackfield._cli.terminal import columns, to_json

Path: TypeAlias = tuple[str, ...]
"""The keys that lead to a value, from the outermost table on."""

_BARE: Final = re.compile(r"[A-Za-z0-9_-]+")


def value(item: object) -> str:
    """Return a value on one line."""
    if isinstance(item, BaseModel):
        item = item.model_dump(mode="json")
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


def tables(
    items: Mapping[str, Any], path: Path = (), remark: Callable[[Path], str] | None = None
) -> Iterator[list[str]]:
    """Yield the lines of each table: its own values first, then the tables inside it.

    Args:
        items: The table.
        path: Where it stands.
        remark: Returns what is said in a comment beside the value that stands at a path.
    """
    inner = {name: item for name, item in items.items() if isinstance(item, Mapping)}
    own = [[f"{key(name)} = {value(item)}"] for name, item in items.items() if name not in inner]
    if remark is not None and own:
        for row, name in zip(own, (name for name in items if name not in inner), strict=True):
            row.append(f"# {remark((*path, name))}")
    if own or (path and not inner):
        yield [*([f"[{'.'.join(map(key, path))}]"] if path else []), *(columns(own) if own else [])]
    for name, item in inner.items():
        yield from tables(item, (*path, name), remark)
