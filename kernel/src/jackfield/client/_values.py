"""Values on their way out, packed as the caller wants them, and what came back, unpacked."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

from jackfield import _codec, _json
from jackfield._codec import Bounds
from jackfield._errors import EncodeError
from jackfield._json import Json

_BOUNDS: Final = Bounds(unpacked=1 << 30, ratio=1 << 20, depth=1 << 10)
"""What was asked for may be large; what nobody can have asked for is not unpacked."""


def check_seconds(timeout: object) -> None:
    """Raise `TypeError` or `ValueError` unless this is a time that something may take."""
    if isinstance(timeout, bool) or not isinstance(timeout, int | float):
        raise TypeError(f"timeout is a number of seconds, not {timeout!r}")
    if not 0 < timeout < math.inf:
        raise ValueError(f"timeout is a number of seconds above 0, not {timeout!r}")


def carried(value: object, encoding: str | None) -> tuple[dict[str, Any], int]:
    """Return the fields of an envelope or a frame that carry a value, and the bytes of the largest message of it.

    Args:
        value: JSON's values, bytes anywhere in it, models, dataclasses, dates and the like.
        encoding: How to pack it; not at all if left out.

    Raises:
        EncodeError: It cannot be sent.
        CodecError: There is no such encoding, or it does not fit the value.
    """
    if encoding is None:
        plain = encoded(value)
        return {"data": plain.value()}, _size(plain)
    packed = _codec.pack(_json.dumps(value), _codec.parse_encoding(encoding))
    return {"data": packed.value(), "encoding": encoding}, _size(packed)


def encoded(value: object) -> Json:
    """Return a value as it can be sent.

    Raises:
        EncodeError: It cannot be.
    """
    plain = _json.dumps(value)
    if len(plain.buffers) > _json.MAX_BUFFERS:
        raise EncodeError(
            f"it holds {len(plain.buffers)} Buffers, and a message carries {_json.MAX_BUFFERS}: join them, "
            "send several, or pack them (encoding='msgpack')"
        )
    return plain


def received(said: Mapping[str, Any]) -> Any:
    """Return the value that a reply or a frame carries.

    Raises:
        CodecError: It is not packed as it says.
    """
    data, encoding = said.get("data"), said.get("encoding")
    if not isinstance(encoding, str):
        return data
    return _codec.unpack(data, _codec.parse_encoding(encoding), _BOUNDS)


def _size(value: Json) -> int:
    # Text and Buffers are messages of their own.
    return max(len(value.text), *map(len, value.buffers)) if value.buffers else len(value.text)
