"""Values as they are stored: JSON, and Buffers beside it.

A value without Buffers is its JSON text. Otherwise there are a line feed, the JSON text of `[value, places]`, another
line feed, and the Buffers one after the other: in the value null stands where a Buffer belongs, and its place is a list
of its length and the keys and indexes that lead to it. The text has no line feed in it, as all of them are escaped.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final, TypeAlias

from jackfield_kv.faults import BadValue

_MARK: Final = b"\n"
_LONG: Final = re.compile(rb"[0-9]{16}")
"""What every integer beyond ±(2^53−1) has in it."""
_GREATEST: Final = 2**53 - 1
MAX_BUFFERS: Final = 10
"""Buffers that a message can carry to every client."""
_PLACEHOLDER: Final = b'"_placeholder":true'
"""What clients take for a Buffer, in a message with Buffers."""

_Place: TypeAlias = "list[str | int]"


def pack(value: object) -> bytes:
    """Return a value as bytes.

    Args:
        value: JSON's values, with bytes anywhere in them.

    Raises:
        BadValue: It came as MessagePack, and holds what could not be sent as JSON.
    """
    try:
        return _json(value)
    except TypeError:  # it holds bytes
        buffers: list[bytes] = []
        places: list[_Place] = []
        text = _json([_without(value, [], places, buffers), places])
    if len(buffers) > MAX_BUFFERS:
        raise BadValue(f"The value has {len(buffers):,} Buffers, and may have {MAX_BUFFERS}: make one of several.")
    if _PLACEHOLDER in text:
        raise BadValue("A value with Buffers has a field '_placeholder', which clients would take for one of them.")
    return _MARK.join([b"", text, b"".join(buffers)])


def unpack(packed: bytes) -> Any:
    """Return the value that `pack` was given."""
    if not packed.startswith(_MARK):
        return json.loads(packed)
    _, text, buffers = packed.split(_MARK, 2)
    value, places = json.loads(text)
    at = 0
    for size, *path in places:
        value = _put(value, path, buffers[at : at + size])
        at += size
    return value


def _json(value: object) -> bytes:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    if _LONG.search(text):
        json.loads(text, parse_int=_check_integer)
    return text


def _check_integer(digits: str) -> int:
    number = int(digits)
    if abs(number) > _GREATEST:
        raise BadValue(f"The value holds the integer {digits}, and may hold ±(2^53−1); send it as a text.")
    return number


def _without(value: object, path: _Place, places: list[_Place], buffers: list[bytes]) -> object:
    """Return the value with nulls in the place of its Buffers, which are added to `places` and `buffers`."""
    if isinstance(value, bytes):
        places.append([len(value), *path])
        buffers.append(value)
        return None
    if isinstance(value, dict):
        return {key: _without(inner, [*path, key], places, buffers) for key, inner in value.items()}
    if isinstance(value, list):
        return [_without(inner, [*path, index], places, buffers) for index, inner in enumerate(value)]
    return value


def _put(value: Any, path: _Place, buffer: bytes) -> Any:
    """Put a Buffer where its path leads, and return the value."""
    if not path:
        return buffer
    inner = value
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = buffer
    return value
