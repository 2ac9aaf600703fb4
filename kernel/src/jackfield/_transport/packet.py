"""Socket.IO packets, protocol version 5, without I/O: text and Buffers in, packets out.

Strict: what a stock client would not send is a `PacketError`, and its connection is to be closed. An event
whose argument merely passes a limit is `Unreadable`: it can be answered, so the connection stays.

    4<type>[<attachments>-][/<namespace>,][<ack id>][<JSON>]

The comma may be missing where nothing follows it.
Text is bytes, as it was on the wire, with Engine.IO's digit for a message in front. The id of an acknowledgement that a
client asks for is kept as it wrote it: nobody here counts with it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, TypeAlias, cast

import orjson

from jackfield import _json
from jackfield._errors import CodecError, JsonSyntaxError
from jackfield._json import MAX_BUFFERS, MAX_SAFE_INTEGER, Json, Value

RESERVED: Final = frozenset(
    {"connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"}
)
"""Event names that belong to Socket.IO itself; a client that emits one is no stock client."""

_HEADER: Final = re.compile(rb"4([0-6])(?:(\d{1,3})-)?(?:(/[^,]{0,255})(?:,|\Z))?(\d{1,16})?(?=[\[{\"]|\Z)")
_CONNECT, _DISCONNECT, _EVENT, _ACK, _CONNECT_ERROR, _BINARY_EVENT, _BINARY_ACK = range(7)
_NESTS: Final = frozenset({dict, list})
_LONGEST_QUICK_ACK: Final = 15
_PREFIX: Final = len(b"42")


class PacketError(Exception):
    """Something that is no Socket.IO packet, or none that a client may send."""


@dataclass(frozen=True, slots=True)
class Connect:
    """The client wants into a namespace."""

    namespace: str
    auth: dict[str, Value]


@dataclass(frozen=True, slots=True)
class Disconnect:
    """The client leaves a namespace."""

    namespace: str


@dataclass(slots=True)  # not frozen, like the envelope: every message with a Buffer makes two
class Event:
    """The client emits an event: its name, and its arguments."""

    namespace: str
    event: list[Value]
    ack: bytes | None
    buffers: bool


@dataclass(frozen=True, slots=True)
class Ack:
    """The client acknowledges an event of the server's."""

    namespace: str
    id: int
    arguments: list[Value]


@dataclass(frozen=True, slots=True)
class Unreadable:
    """An event whose argument passes a limit of the codec; `said` is the event as far as it can be read even so."""

    namespace: str
    ack: bytes | None
    error: CodecError
    said: object


Packet: TypeAlias = Connect | Disconnect | Event | Ack | Unreadable


@dataclass(frozen=True, slots=True)
class _Refused:
    """Stands for a value that passes a limit."""

    error: CodecError
    said: object


@dataclass(slots=True)
class _Pending:
    """A packet whose Buffers are still to come."""

    kind: int
    namespace: str
    ack: bytes | None
    value: Value | _Refused
    missing: int
    size: int
    buffers: list[bytes]


class Decoder:
    """Turns the messages of one connection into packets.

    Args:
        max_depth: Arrays and objects inside one another.
        max_size: Bytes of one packet with its Buffers.
    """

    def __init__(self, max_depth: int, max_size: int) -> None:
        self._max_depth = max_depth
        self._max_size = max_size
        self._pending: _Pending | None = None

    @property
    def waiting(self) -> bool:
        """Whether Buffers are missing."""
        return self._pending is not None

    def event(self, message: bytes, deliver: Callable[[list[Value], bytes | None, bool], None]) -> bool:
        """Deliver the plainest packet, an event in `/` without Buffers; tell whether the message was one.

        Args:
            message: The message.
            deliver: Takes the event's name and arguments, its id, and that it holds no Buffers.

        Returns:
            Whether it was delivered. If not, it is another packet, or a faulty one: `text` tells.
        """
        if self._pending is not None or not message.startswith(b"42"):
            return False
        start = message.find(b"[", _PREFIX, _PREFIX + _LONGEST_QUICK_ACK + 1)
        ack = message[_PREFIX:start]
        if start < 0 or not (ack.isdigit() or start == _PREFIX):
            return False
        try:
            value = _json.loads(message[start:], self._max_depth)
        except (JsonSyntaxError, CodecError):
            return False
        if type(value) is list and value and type(value[0]) is str and value[0] not in RESERVED:
            deliver(value, ack or None, False)
            return True
        return False

    def text(self, message: bytes) -> Packet | None:
        """Take a message of text, and return the packet that it completes, if it completes one.

        Raises:
            PacketError: The client breaks the protocol.
        """
        if self._pending is not None:
            raise PacketError("text while Buffers are missing")
        header = _HEADER.match(message)
        if header is None:
            raise PacketError("no packet header")
        kind = int(header[1])
        attachments = int(header[2] or 0)
        ack = header[4]
        if ack is not None and int(ack) > MAX_SAFE_INTEGER:
            raise PacketError("an id beyond 2^53-1")
        self._check_header(kind, header[2], attachments, ack)
        value: Value | _Refused
        try:
            namespace = (header[3] or b"/").partition(b"?")[0].decode()
            text = message[header.end() :]
            value = _json.loads(text, self._max_depth) if text else None
        except (JsonSyntaxError, UnicodeDecodeError):
            raise PacketError("no JSON") from None
        except CodecError as error:
            if kind not in (_EVENT, _BINARY_EVENT):
                raise PacketError("beyond the limits") from None
            # Without the traceback, whose frames hold the text.
            value = _Refused(CodecError(error.code, error.message), _json.glance(text))
        found = _packet(kind, namespace, ack, value, buffers=False)
        if attachments:
            self._pending = _Pending(kind, namespace, ack, value, attachments, len(text), [])
            return None
        return found

    def _check_header(self, kind: int, announced: bytes | None, attachments: int, ack: bytes | None) -> None:
        if kind in (_BINARY_EVENT, _BINARY_ACK):
            if not 1 <= attachments <= MAX_BUFFERS:
                raise PacketError(f"{attachments} Buffers; 1 to {MAX_BUFFERS} are allowed")
        elif announced is not None:
            raise PacketError("Buffers announced in a packet that has none")
        if ack is None and kind in (_ACK, _BINARY_ACK):
            raise PacketError("an acknowledgement without an id")
        if ack is not None and kind in (_CONNECT, _DISCONNECT):
            raise PacketError("an id where none belongs")

    def buffer(self, message: bytes) -> Packet | None:
        """Take a Buffer, and return the packet that it completes, if it completes one.

        Raises:
            PacketError: The client breaks the protocol.
        """
        pending = self._pending
        if pending is None:
            raise PacketError("a Buffer that nobody announced")
        pending.buffers.append(message)
        pending.size += len(message)
        if pending.size > self._max_size:
            raise PacketError("Buffers beyond the size of a message")
        if len(pending.buffers) < pending.missing:
            return None
        self._pending = None
        value = pending.value
        if not isinstance(value, _Refused):
            value = _with_buffers(value, pending.buffers)
        return _packet(pending.kind, pending.namespace, pending.ack, value, buffers=True)


Encoded: TypeAlias = tuple[bytes, tuple[bytes, ...]]
"""A packet on its way out: its text, and the Buffers that follow it."""


def connected(namespace: str, sid: str) -> bytes:
    """Return the packet that lets a client in."""
    return b"4%d%b%b" % (_CONNECT, _prefix(namespace), orjson.dumps({"sid": sid}))


def refused(namespace: str, message: str, data: dict[str, object] | None = None) -> bytes:
    """Return the packet that keeps a client out."""
    reason = {"message": message} if data is None else {"message": message, "data": data}
    return b"4%d%b%b" % (_CONNECT_ERROR, _prefix(namespace), orjson.dumps(reason))


def event(name: str, payload: Json, ack: int | None = None) -> Encoded:
    """Return an event with one argument, in the namespace `/`."""
    text = b"[%b,%b]" % (_quoted(name), payload.text)
    if ack is None and not payload.buffers:  # most items of streams
        return b"42" + text, ()
    return emission(Json(text, payload.buffers), "/", ack)


def emission(event: Json, namespace: str, ack: int | None = None) -> Encoded:
    """Return an event in any namespace, from the array of its name and its arguments."""
    number = b"" if ack is None else b"%d" % ack
    if event.buffers:
        head = b"4%d%d-%b%b" % (_BINARY_EVENT, len(event.buffers), _prefix(namespace), number)
    else:
        head = b"4%d%b%b" % (_EVENT, _prefix(namespace), number)
    return head + event.text, event.buffers


def acknowledgement(ack: bytes, text: bytes, buffers: tuple[bytes, ...]) -> Encoded:
    """Return the acknowledgement of an event, in the namespace `/`."""
    if buffers:
        return b"4%d%d-%b[%b]" % (_BINARY_ACK, len(buffers), ack, text), buffers
    return b"4%d%b[%b]" % (_ACK, ack, text), ()


@lru_cache(maxsize=256)
def _quoted(name: str) -> bytes:
    """Return the name of an event as JSON; a server emits a few of them, over and over."""
    return orjson.dumps(name)


def _prefix(namespace: str) -> bytes:
    return b"" if namespace == "/" else namespace.encode() + b","


def _packet(kind: int, namespace: str, ack: bytes | None, value: Value | _Refused, *, buffers: bool) -> Packet:
    if isinstance(value, _Refused):
        return Unreadable(namespace, ack, value.error, value.said)
    if kind == _CONNECT:
        if value is not None and not isinstance(value, dict):
            raise PacketError("auth is no object")
        return Connect(namespace, value or {})
    if kind == _DISCONNECT and value is None:
        return Disconnect(namespace)
    if kind in (_ACK, _BINARY_ACK) and isinstance(value, list):
        return Ack(namespace, int(cast(bytes, ack)), value)
    if kind in (_EVENT, _BINARY_EVENT) and isinstance(value, list) and value and isinstance(value[0], str):
        if value[0] in RESERVED:
            raise PacketError("a reserved event name")
        return Event(namespace, value, ack, buffers)
    raise PacketError("a packet that a client does not send")


def _with_buffers(value: Value, buffers: list[bytes]) -> Value:
    used: set[int] = set()
    result = _put(value, buffers, used)
    if len(used) != len(buffers):
        raise PacketError("a Buffer that no placeholder names")
    return result


def _put(node: Value, buffers: list[bytes], used: set[int]) -> Value:
    """Return a node with the Buffers in their places; it is changed where it stands, for nobody has seen it yet."""
    if isinstance(node, list):
        for index, item in enumerate(node):
            if type(item) in _NESTS:
                node[index] = _put(item, buffers, used)
    elif isinstance(node, dict):
        if node.get("_placeholder") is True:
            return _named(node.get("num"), buffers, used)
        for key, item in node.items():
            if type(item) in _NESTS:
                node[key] = _put(item, buffers, used)
    return node


def _named(number: Value, buffers: list[bytes], used: set[int]) -> bytes:
    if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number < len(buffers) or number in used:
        raise PacketError("a placeholder that names no Buffer, or one twice")
    used.add(number)
    return buffers[number]
