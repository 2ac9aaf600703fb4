"""The frames of streams: what the two sides of an open stream say to each other, in the Socket.IO event `stream`.

No I/O. `read` either returns or raises `FrameError`, a `CodecError` that knows the `id` of the stream, so that a broken
frame ends the stream that it was meant for.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Final, NoReturn, TypeAlias

import orjson

from jackfield._codec import Encoding
from jackfield._contract import Kind
from jackfield._envelope import CallId, read_encoding, read_id
from jackfield._errors import CallError, Code, CodecError
from jackfield._json import Json, Value

MAX_CREDIT: Final = 2**31 - 1
"""How many items a sender may be allowed at the most, in one grant and altogether."""

_SAYS: Final = ("data", "end", "cancel", "credit")
"""What clients say."""
_HEARS: Final = ("error", "progress")
"""What they hear alone."""
_FIELDS: Final = ("id", "encoding", *_SAYS)


class FrameError(CodecError):
    """A frame that cannot be read; `id` is the stream's, if that could still be made out."""

    def __init__(self, code: Code, message: str, call_id: CallId | None) -> None:
        super().__init__(code, message)
        self.id = call_id


@dataclass(slots=True)  # not frozen, like the envelope: there is one for every item
class Item:
    """One item; `data` is not yet unpacked."""

    id: CallId
    data: Value
    encoding: Encoding | None = None


@dataclass(frozen=True, slots=True)
class End:
    """The client sends no more items."""

    id: CallId


@dataclass(frozen=True, slots=True)
class Cancel:
    """The client wants no more of it."""

    id: CallId


@dataclass(frozen=True, slots=True)
class Grant:
    """The client takes so many items more."""

    id: CallId
    credit: int


@dataclass(frozen=True, slots=True)
class Failure:
    """The client tells of an error, which nobody answers."""

    id: CallId


Frame: TypeAlias = Item | End | Cancel | Grant | Failure


def read(argument: Value) -> Frame:
    """Read the argument of the Socket.IO event `stream`, as clients send it.

    Raises:
        FrameError: It is no frame that a client may send.
    """
    call_id = read_frame_id(argument)
    if not isinstance(argument, dict) or call_id is None:
        raise FrameError(Code.INVALID_ARGUMENT, "'stream' takes one frame: an object with an id.", None)
    if len(argument) == 2 and "data" in argument:  # nearly all frames of a client that sends
        return Item(call_id, argument["data"])
    try:
        return _read(call_id, argument)
    except CodecError as error:
        raise FrameError(error.code, error.message, call_id) from None


def read_frame_id(argument: object) -> CallId | None:
    """Return the id of a frame, however broken it may be otherwise, or None."""
    try:
        return read_id(argument.get("id")) if isinstance(argument, dict) else None
    except CodecError:
        return None


def _read(call_id: CallId, fields: dict[str, Value]) -> Frame:
    for name in fields:
        if name not in _FIELDS and name not in _HEARS:
            nearest = difflib.get_close_matches(name[:64], _FIELDS, n=1)
            hint = f" Did you mean {nearest[0]!r}?" if nearest else f" It knows {', '.join(_FIELDS)}."
            _refuse(f"A frame has no field {name[:64]!r}.{hint}")
    said = [name for name in (*_SAYS, *_HEARS) if name in fields and (name == "data" or fields[name] is not None)]
    if len(said) != 1:
        _refuse(f"A frame says one thing, not {' and '.join(said) or 'nothing'}: one of {', '.join(_SAYS)}.")
    what = said[0]
    encoding = read_encoding("encoding", fields.get("encoding"))
    if what == "data":
        return Item(call_id, fields["data"], encoding)
    if encoding is not None:
        _refuse("Only an item has an encoding.")
    if what == "credit":
        return Grant(call_id, _credit(fields["credit"]))
    if what == "error":
        return Failure(call_id)
    if what == "progress":
        _refuse("Progress is told by the server.")
    if fields[what] is not True:
        _refuse(f"{what} must be true.")
    return End(call_id) if what == "end" else Cancel(call_id)


def _credit(value: Value) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= MAX_CREDIT:
        _refuse("credit must be an integer from 1 to 2^31−1.")
    return value


def _refuse(message: str) -> NoReturn:
    raise CodecError(Code.INVALID_ARGUMENT, message)


# What the server says.


class Writer:
    """Writes the frames of one stream.

    Args:
        call_id: The stream's id.
        encoding: How the data is packed, if it is: the text of `accept`.
    """

    __slots__ = ("_head", "_tail")

    def __init__(self, call_id: CallId, encoding: str | None = None) -> None:
        self._head = b'{"id":' + orjson.dumps(call_id)
        self._tail = b"}" if encoding is None else b',"encoding":' + orjson.dumps(encoding) + b"}"

    def opened(self, kind: Kind, credit: int | None) -> Json:
        """Return the reply to the envelope that opens the stream; `credit` is for the client's items."""
        granted = b"" if credit is None else b',"credit":%d' % credit
        return Json(self._head + b',"stream":"%b"%b}' % (kind.encode(), granted))

    def item(self, data: Json) -> Json:
        """Return the frame of one item."""
        return Json(self._head + b',"data":' + data.text + self._tail, data.buffers)

    def end(self, result: Json | None) -> Json:
        """Return the frame that ends the stream, with the function's result if it has one."""
        if result is None:
            return Json(self._head + b',"end":true}')
        return Json(self._head + b',"end":true,"data":' + result.text + self._tail, result.buffers)

    def error(self, error: CallError) -> Json:
        """Return the frame of a stream that failed."""
        return Json(self._head + b',"error":' + orjson.dumps(error.as_dict()) + b"}")

    def credit(self, items: int) -> Json:
        """Return the frame that lets the client send so many items more."""
        return Json(self._head + b',"credit":%d}' % items)

    def progress(self, done: Json) -> Json:
        """Return the frame that tells how far a call is."""
        return Json(self._head + b',"progress":' + done.text + b"}")
