"""The envelope: what a client sends to call a function, and the reply that it gets.

No I/O. `read` either returns or raises `EnvelopeError`, a `CodecError` that knows the `id` and the `event`
of the call, so that even the refusal of a broken envelope reaches the one who sent it.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from typing import Final, NoReturn, TypeAlias, cast

import orjson

from jackfield import _codec
from jackfield._codec import Bounds, Encoding
from jackfield._errors import CallError, Code, CodecError
from jackfield._json import MAX_SAFE_INTEGER, Json, Value

CallId: TypeAlias = str | int

EVENT: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)+", re.ASCII)
"""A dotted path of at least two segments; the last names the function."""

MAX_EVENT: Final = 255
_MAX_ID: Final = 64
_FIELDS: Final = ("event", "data", "id", "encoding", "accept", "timeout", "credit", "progress", "meta")


class EnvelopeError(CodecError):
    """An envelope that cannot be read; `id` and `event` are what could still be made out."""

    def __init__(self, error: CallError, call_id: CallId | None, event: str | None) -> None:
        super().__init__(error.code, error.message)
        self.id = call_id
        self.event = event


@dataclass(frozen=True, slots=True)
class Options:
    """The fields of an envelope that most calls do without.

    Args:
        timeout: Milliseconds that the caller gives the call.
        meta: Headers of the call, as the caller sent them.
    """

    id: CallId | None = None
    encoding: Encoding | None = None
    accept: Encoding | None = None
    accept_text: str | None = None
    timeout: int | None = None
    credit: int | None = None
    progress: bool = False
    meta: Mapping[str, str] = field(default_factory=dict)


NO_OPTIONS: Final = Options()


@dataclass(slots=True)  # not frozen: every call makes one, and a frozen one takes three times as long
class Envelope:
    """One call as it came: every field checked for its shape, `data` not yet unpacked."""

    event: str
    data: Value = None
    options: Options = NO_OPTIONS


def read(argument: Value, bounds: Bounds, known: Container[str] = ()) -> Envelope | list[Value]:
    """Read the argument of the Socket.IO event `event`: an envelope, or the entries of a batch.

    Args:
        argument: What the client sent.
        bounds: The limits of unpacking, where it came packed.
        known: Names of functions; what is among them needs no check of its form.

    Raises:
        EnvelopeError: It is neither.
    """
    if isinstance(argument, dict) and len(argument) == 2 and "data" in argument:
        event = argument.get("event")
        if isinstance(event, str) and event in known:
            return Envelope(event, argument["data"])
    shape = _opened(argument, bounds)
    return shape if isinstance(shape, list) else _envelope(shape)


def read_entry(argument: Value, bounds: Bounds) -> Envelope:
    """Read one entry of a batch.

    Raises:
        EnvelopeError: It is no envelope, or a batch again.
    """
    shape = _opened(argument, bounds)
    if isinstance(shape, list):
        _refuse("A batch cannot hold another batch.")
    return _envelope(shape)


def reply(data: Json, call_id: CallId | None, encoding: str | None = None) -> Json:
    """Return the reply to a call that succeeded."""
    if call_id is None and encoding is None:
        return Json(b'{"data":' + data.text + b"}", data.buffers)
    packed = b',"encoding":' + orjson.dumps(encoding) if encoding is not None else b""
    return Json(b'{"data":' + data.text + packed + _id_text(call_id) + b"}", data.buffers)


def error_reply(error: CallError, call_id: CallId | None) -> Json:
    """Return the reply to a call that failed."""
    return Json(b'{"error":' + orjson.dumps(error.as_dict()) + _id_text(call_id) + b"}")


def error_notice(error: CallError, event: str | None) -> Json:
    """Return the message that tells of a failure to a caller who asked for no reply."""
    return Json(orjson.dumps({"event": event, "error": error.as_dict()}))


def _id_text(call_id: CallId | None) -> bytes:
    return b"" if call_id is None else b',"id":' + orjson.dumps(call_id)


def _opened(argument: Value, bounds: Bounds) -> dict[str, Value] | list[Value]:
    if isinstance(argument, str | bytes):
        try:
            argument = _codec.unpack_text(argument, bounds)
        except CodecError as error:
            raise EnvelopeError(error, None, None) from None
    if not isinstance(argument, dict | list):
        _refuse("The argument of 'event' must be an envelope: an object with the field 'event'.")
    return argument


def _envelope(fields: dict[str, Value]) -> Envelope:
    try:
        event = _event(fields)
        options = Options(
            id=read_id(fields.get("id")),
            encoding=read_encoding("encoding", fields.get("encoding")),
            accept=read_encoding("accept", fields.get("accept")),
            accept_text=cast("str | None", fields.get("accept")),
            timeout=_integer("timeout", fields.get("timeout"), minimum=1),
            credit=_integer("credit", fields.get("credit"), minimum=0),
            progress=_progress(fields),
            meta=_meta(fields.get("meta")),
        )
        return Envelope(event, fields.get("data"), options)
    except EnvelopeError:
        raise
    except CodecError as error:
        raise EnvelopeError(error, _known_id(fields), _known_event(fields)) from None


def _event(fields: dict[str, Value]) -> str:
    for name in fields:
        if name not in _FIELDS:
            nearest = difflib.get_close_matches(name[:MAX_EVENT], _FIELDS, n=1)
            hint = f" Did you mean {nearest[0]!r}?" if nearest else f" It knows {', '.join(_FIELDS)}."
            _fault(f"The envelope has no field {name[:64]!r}.{hint}")
    event = fields.get("event")
    if event is None or event == "":
        _fault("event cannot be empty")
    if not isinstance(event, str):
        _fault("event must be a string")
    if len(event) > MAX_EVENT:
        _fault(f"event is longer than {MAX_EVENT} characters")
    if not EVENT.fullmatch(event):
        _fault(f"event {event!r} is no dotted path: it goes <namespace>.<function>, in letters, digits and _")
    return event


def read_id(value: Value) -> CallId | None:
    """Return the `id` of an envelope or a frame, or None where there is none.

    Raises:
        CodecError: It is none.
    """
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, str | int):
        _fault("id must be a string or an integer")
    if isinstance(value, str):
        if not 1 <= len(value) <= _MAX_ID:
            _fault(f"id must have 1 to {_MAX_ID} characters")
    elif abs(value) > MAX_SAFE_INTEGER:
        _fault("id must lie within ±(2^53−1)")
    return value


def read_encoding(name: str, value: Value) -> Encoding | None:
    """Return the encoding that the field `name` says, or None where there is none.

    Raises:
        CodecError: It is none.
    """
    if value is None:
        return None
    if not isinstance(value, str):
        _fault(f"{name} must be a string")
    return _codec.parse_encoding(value)


def _integer(name: str, value: Value, *, minimum: int) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < minimum:
        _fault(f"{name} must be an integer of at least {minimum}")
    return value


def _progress(fields: dict[str, Value]) -> bool:
    value = fields.get("progress")
    if value is None:
        return False
    if not isinstance(value, bool):
        _fault("progress must be true or false")
    if value and fields.get("id") is None:
        _fault("progress needs an id")
    return value


def _meta(value: Value) -> Mapping[str, str]:
    if value is None:
        return {}
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        _fault("meta must be an object whose values are strings")
    return cast("dict[str, str]", value)


def _known_id(fields: dict[str, Value]) -> CallId | None:
    try:
        return read_id(fields.get("id"))
    except CodecError:
        return None


def _known_event(fields: dict[str, Value]) -> str | None:
    event = fields.get("event")
    return event[:MAX_EVENT] if isinstance(event, str) else None


def _fault(message: str) -> NoReturn:
    raise CodecError(Code.INVALID_ARGUMENT, message)


def _refuse(message: str) -> NoReturn:
    raise EnvelopeError(CallError(Code.INVALID_ARGUMENT, message), None, None)
