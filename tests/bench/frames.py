"""Frames made by hand: whatever a client sends in a measurement is made before it begins."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

TEXT: Final = 0x81
BINARY: Final = 0x82
FIRST_ID: Final = 1000
"""The ids of acknowledgements have four digits, so that they stand where they are expected."""

PLACEHOLDER: Final = {"_placeholder": True, "num": 0}
"""Stands in a text where the Buffer belongs that follows it."""

_MASK: Final = b"\x9d\x4f\xe3\x28"  # not zeros, which servers may skip


def frame(payload: bytes, kind: int = TEXT) -> bytes:
    """Return one masked websocket frame."""
    size = len(payload)
    if size < 126:
        head = bytes((kind, 0x80 | size))
    elif size < 1 << 16:
        head = bytes((kind, 0x80 | 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((kind, 0x80 | 127)) + size.to_bytes(8, "big")
    mask = (_MASK * (size // 4 + 1))[:size]
    masked = int.from_bytes(payload, "big") ^ int.from_bytes(mask, "big")
    return head + _MASK + masked.to_bytes(size, "big")


def event_frame(arguments: list[Any], number: int | None = None, *, buffer: bool = False) -> bytes:
    """Return the frame of an event: its name and its arguments.

    Args:
        arguments: The array of both.
        number: The id under which it is to be acknowledged, if it is.
        buffer: Whether a Buffer follows.
    """
    text = json.dumps(arguments, separators=(",", ":")).encode()
    return frame(b"4%b%b%b" % (b"51-" if buffer else b"2", b"" if number is None else b"%d" % number, text))


@dataclass(frozen=True)
class Request:
    """A call as one server wants it.

    Args:
        arguments: The array of the Socket.IO event.
        reply: The array that has to come back.
        attachment: The bytes that go beside it, and have to come back.
    """

    arguments: list[Any]
    reply: list[Any]
    attachment: bytes | None = None

    def frames(self, slot: int) -> bytes:
        """Return all frames of the call, with the id of this slot."""
        text = event_frame(self.arguments, FIRST_ID + slot, buffer=self.attachment is not None)
        return text if self.attachment is None else text + frame(self.attachment, BINARY)


Dialect = Callable[[str, Any, bytes | None], Request]
"""How a server is called: the name of the function, its argument, the bytes beside it."""


def jackfield(function: str, data: Any, attachment: bytes | None = None) -> Request:
    """Call a function of jackfield."""
    reply = None if function == "broadcast" else data
    return Request(["event", {"event": f"bench.{function}", "data": data}], [{"data": reply}], attachment)


def bare(function: str, data: Any, attachment: bytes | None = None) -> Request:
    """Call a bare Socket.IO server, which takes the same envelope, and has an event of its own for broadcasts."""
    request = jackfield(function, data, attachment)
    return Request(["broadcast", data], request.reply) if function == "broadcast" else request


def feathers(function: str, data: Any, attachment: bytes | None = None) -> Request:
    """Call the service `echo` of Feathers."""
    return Request(["create", "echo", data, {}], [None, data], attachment)


def moleculer(function: str, data: Any, attachment: bytes | None = None) -> Request:
    """Call the action `bench.echo` through moleculer-io."""
    return Request(["call", "bench.echo", data], [None, data], attachment)


def text_request(dialect: Dialect, function: str, size: int) -> Request:
    """Return a call with a text of so many characters."""
    return dialect(function, {"text": "x" * size}, None)


def binary_request(dialect: Dialect, function: str, size: int) -> Request:
    """Return a call with a Buffer of so many bytes."""
    return dialect(function, PLACEHOLDER, bytes(range(256)) * (size // 256))
