"""JSON as the wire wants it: strict on the way in, never silently wrong on the way out.

Buffers travel beside the text, as in a Socket.IO binary packet: `{"_placeholder":true,"num":n}` stands
where the n-th belongs. `Json` is such a pair; all that leaves the server is one.

Numbers: NaN and infinities are refused both ways; so are integers beyond ±(2^53−1), which a JavaScript
client could not hold. orjson turns integers beyond 64 bits into floats, so a text with a run of sixteen
digits is read a second time, by a parser that shows every integer as it was written.
"""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections.abc import Iterator
from typing import Final, NoReturn, cast

import orjson
from pydantic_core import PydanticSerializationError, to_jsonable_python
from typing_extensions import TypeAliasType

from jackfield._errors import Code, CodecError, EncodeError, JsonSyntaxError

Value = TypeAliasType("Value", "bool | int | float | str | bytes | list[Value] | dict[str, Value] | None")
"""What a message can hold: JSON's values, and bytes for Buffers."""

MAX_SAFE_INTEGER: Final = 2**53 - 1
MAX_BUFFERS: Final = 10
"""Stock Socket.IO clients refuse a packet with more attachments."""

_LONG: Final = 16
"""Digits of the smallest number beyond 2^53−1."""
_DIGITS: Final = b"0123456789"
_TO_ZEROS: Final = bytes(ord("0") if byte in _DIGITS else ord(" ") for byte in range(256))
_LONG_RUN: Final = b"0" * _LONG
_SIXTEENTHS: Final = slice(_LONG - 1, None, _LONG)
_STRING: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
_STRINGS_AND_OTHERS: Final = re.compile(rb"(?:[^\"]++|%b){1,4096}+" % _STRING.pattern, re.DOTALL)
_PLACEHOLDER: Final = re.compile(rb'\{"_placeholder":true,"num":(\d+)\}')
_PLACEHOLDER_MARK: Final = b'"_placeholder":true'


@dataclasses.dataclass(slots=True)  # not frozen: every call makes two, and a frozen one takes three times as long
class Json:
    """One encoded value; whatever sends data takes it as it is. Nobody changes one.

    Args:
        text: JSON in UTF-8, with `{"_placeholder":true,"num":n}` where the n-th Buffer belongs.
        buffers: The Buffers.
    """

    text: bytes
    buffers: tuple[bytes, ...] = ()

    def value(self) -> Value:
        """Return the value again, with the Buffers in their places."""
        parsed = orjson.loads(self.text) if not has_long_number(self.text) else json.loads(self.text)
        return _put_back(parsed, self.buffers) if self.buffers else cast(Value, parsed)

    @property
    def pretends(self) -> bool:
        """Whether plain data in it looks like a placeholder, which clients take for one where there are Buffers."""
        return self.text.count(_PLACEHOLDER_MARK) != len(self.buffers)

    def renumbered(self, offset: int) -> bytes:
        """Return the text with every placeholder's number raised by `offset`."""
        if not self.buffers or not offset:
            return self.text
        # A quote inside a JSON string is escaped, so the pattern meets real placeholders only.
        return _PLACEHOLDER.sub(lambda m: placeholder(int(m[1]) + offset), self.text)


def placeholder(number: int) -> bytes:
    """Return the text that stands where Buffer `number` belongs."""
    return b'{"_placeholder":true,"num":%d}' % number


def loads(text: bytes, max_depth: int) -> Value:
    """Parse JSON from a client.

    Args:
        text: UTF-8.
        max_depth: How many arrays and objects may stand inside one another.

    Raises:
        JsonSyntaxError: It is not JSON, or not UTF-8, or has NaN or an infinity.
        CodecError: It is nested too deeply (`resource_exhausted`), or has an integer beyond ±(2^53−1)
            (`invalid_argument`).
    """
    try:
        value: Value = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        if text.count(b"[") + text.count(b"{") > max_depth and _open_at(error) > max_depth:
            too_deep(max_depth)
        raise JsonSyntaxError(f"{error.msg} at character {error.pos}") from None
    # Whatever is open is closed again, so that a text this short cannot be nested too deeply.
    if len(text) > 2 * max_depth and text.count(b"[") + text.count(b"{") > max_depth:
        check_depth(value, max_depth)
    # `has_long_number`, whose first look decides for nearly every message, written out.
    sixteenths = text[_SIXTEENTHS]
    if sixteenths.translate(None, _DIGITS) != sixteenths and _LONG_RUN in text.translate(_TO_ZEROS):
        json.loads(text, parse_int=_safe_integer)
    return value


def glance(text: bytes) -> object:
    """Return what JSON that was refused says, to find out whom to tell; None where it says nothing that can be read."""
    try:
        return cast(object, orjson.loads(text))
    except orjson.JSONDecodeError:
        return None


def has_long_number(text: bytes) -> bool:
    """Tell whether JSON text holds so many digits in a row that they may be an integer beyond ±(2^53−1)."""
    # Such a run covers at least one of every sixteenth bytes; most texts have no digit at any of those.
    sixteenths = text[_SIXTEENTHS]
    if sixteenths.translate(None, _DIGITS) == sixteenths:
        return False
    return _LONG_RUN in text.translate(_TO_ZEROS)


def has_more_values(text: bytes, values: int) -> bool:
    """Tell whether JSON text holds more than so many values, before any of them is made."""
    # A value follows a comma or the bracket that it stands in; only in strings do these marks mean nothing.
    if _marks(text) <= values:
        return False
    found = 0
    for piece in _outside_strings(text):
        found += _marks(piece)
        if found > values:
            return True
    return False


def dumps(value: object) -> Json:
    """Encode any value of the server's own: JSON's types, bytes, models, dataclasses, dates, UUIDs, or `Json` itself.

    Raises:
        EncodeError: It has NaN, an infinity, an integer beyond ±(2^53−1), a cycle, or something that is no data.
    """
    if type(value) is Json:
        return value
    buffers: list[bytes] = []
    try:
        text = orjson.dumps(to_plain(value, buffers))
    except (TypeError, RecursionError, PydanticSerializationError) as error:
        raise EncodeError(str(error)) from error
    return checked(text, buffers)


def checked(text: bytes, buffers: list[bytes]) -> Json:
    """Return the pair as `Json` after the checks that a serialiser does not make.

    Raises:
        EncodeError: An integer beyond ±(2^53−1), or data that a client would take for a placeholder.
    """
    check_integers(text)
    return paired(text, buffers)


def paired(text: bytes, buffers: list[bytes]) -> Json:
    """Return the pair as `Json`, integers unchecked: MessagePack carries more of them than JSON.

    Raises:
        EncodeError: Data that a client would take for a placeholder.
    """
    value = Json(text, tuple(buffers))
    if buffers and value.pretends:
        raise EncodeError("a value with Buffers has a field '_placeholder', which clients take for a Buffer")
    return value


def check_integers(text: bytes) -> None:
    """Raise `EncodeError` if the JSON text of the server's own has an integer beyond ±(2^53−1)."""
    if has_long_number(text):
        try:
            json.loads(text, parse_int=_safe_integer)
        except CodecError as error:
            raise EncodeError(error.message) from None


def to_plain(value: object, buffers: list[bytes]) -> object:
    """Return `value` in orjson's own types; bytes are put into `buffers`, and a placeholder in their place."""
    kind = type(value)
    if kind is str or kind is int or kind is bool or value is None:
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise EncodeError(f"{value} is not a number that JSON has")
        return value
    if isinstance(value, bytes | bytearray | memoryview):
        buffers.append(bytes(value))
        return {"_placeholder": True, "num": len(buffers) - 1}
    if isinstance(value, dict):
        return {_key(k): to_plain(v, buffers) for k, v in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [to_plain(v, buffers) for v in value]
    if hasattr(kind, "__pydantic_serializer__"):
        return to_plain(kind.__pydantic_serializer__.to_python(value, by_alias=True), buffers)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_plain(getattr(value, f.name), buffers) for f in dataclasses.fields(value)}
    return to_plain(to_jsonable_python(value), buffers)


def check_depth(value: object, max_depth: int) -> None:
    """Raise `CodecError` if more than `max_depth` arrays and objects stand inside one another."""
    level = [value]
    for _ in range(max_depth):
        level = [
            child
            for parent in level
            if isinstance(parent, list | dict)
            for child in (parent.values() if isinstance(parent, dict) else parent)
            if isinstance(child, list | dict)
        ]
        if not level:
            return
    too_deep(max_depth)


def too_deep(max_depth: int) -> NoReturn:
    """Raise the `CodecError` for data that is nested too deeply."""
    raise CodecError(Code.RESOURCE_EXHAUSTED, f"The data is nested more than {max_depth} levels deep (limits.depth).")


def holds_buffers(value: Value) -> bool:
    """Tell whether bytes stand anywhere in the value."""
    if isinstance(value, bytes):
        return True
    if isinstance(value, dict):
        return any(map(holds_buffers, value.values()))
    return isinstance(value, list) and any(map(holds_buffers, value))


def _key(key: object) -> str:
    if isinstance(key, str):
        return key
    if isinstance(key, int) and not isinstance(key, bool):
        return str(key)
    raise EncodeError(f"an object's key must be a string, not {key!r}")


def _put_back(value: object, buffers: tuple[bytes, ...]) -> Value:
    if isinstance(value, dict):
        if value.get("_placeholder") is True:
            return buffers[value["num"]]
        return {k: _put_back(v, buffers) for k, v in value.items()}
    if isinstance(value, list):
        return [_put_back(v, buffers) for v in value]
    return cast(Value, value)


def _safe_integer(digits: str) -> int:
    # The length is asked first: int() of very many digits is slow, and refused by Python past 4,300.
    if len(digits) > len("-9007199254740991") or abs(int(digits)) > MAX_SAFE_INTEGER:
        raise CodecError(
            Code.INVALID_ARGUMENT,
            "An integer is beyond ±(2^53−1), which JSON clients cannot hold: send it as a string.",
        )
    return int(digits)


def _open_at(error: orjson.JSONDecodeError) -> int:
    """Return how many arrays and objects are open where the parser stopped, be it at its own limit of depth."""
    return sum(
        piece.count(b"[") + piece.count(b"{") - piece.count(b"]") - piece.count(b"}")
        for piece in _outside_strings(error.doc[: error.pos + 1].encode())
    )


def _outside_strings(text: bytes) -> Iterator[bytes]:
    """Yield what of JSON text is no string, in pieces: there may be a million strings."""
    for part in _STRINGS_AND_OTHERS.finditer(text):
        yield _STRING.sub(b"", part[0])


def _marks(text: bytes) -> int:
    return text.count(b",") + text.count(b"[") + text.count(b"{")
