"""Values on their way out, packed as the caller wants them, and what came back, unpacked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from jackfield import _codec, _json
from jackfield._codec import Bounds

_BOUNDS: Final = Bounds(unpacked=1 << 30, ratio=1 << 20, depth=1 << 10)
"""What was asked for may be large; what nobody can have asked for is not unpacked."""


def carried(value: object, encoding: str | None) -> dict[str, Any]:
    """Return the fields of an envelope or a frame that carry a value.

    Args:
        value: JSON's values, bytes anywhere in it, models, dataclasses, dates and the like.
        encoding: How to pack it; not at all if left out.

    Raises:
        EncodeError: It cannot be sent.
        CodecError: There is no such encoding, or it does not fit the value.
    """
    plain = _json.dumps(value)
    if encoding is None:
        return {"data": plain.value()}
    return {"data": _codec.pack(plain, _codec.parse_encoding(encoding)).value(), "encoding": encoding}


def received(said: Mapping[str, Any]) -> Any:
    """Return the value that a reply or a frame carries.

    Raises:
        CodecError: It is not packed as it says.
    """
    data, encoding = said.get("data"), said.get("encoding")
    if not isinstance(encoding, str):
        return data
    return _codec.unpack(data, _codec.parse_encoding(encoding), _BOUNDS)
