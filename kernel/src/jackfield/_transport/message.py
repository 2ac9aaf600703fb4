"""One message on its way out, in the shape that each carrier sends it in; made once, however many get it."""

from __future__ import annotations

from typing import Final

_TEXT: Final = 0x81
_BINARY: Final = 0x82
_CLOSE: Final = 0x88
SHORT: Final = 126
_LONG: Final = 1 << 16
TEXT_HEADS: Final = tuple(bytes((_TEXT, size)) for size in range(SHORT))
"""The heads of text frames whose size needs no bytes of its own."""


def text_frame(data: bytes) -> bytes:
    """Return the websocket frame, server to client, of a text message (RFC 6455, section 5.2)."""
    size = len(data)
    return (TEXT_HEADS[size] if size < SHORT else _head(_TEXT, size)) + data


def binary_frame(data: bytes) -> bytes:
    """Return the websocket frame of a binary message."""
    return binary_head(len(data)) + data


def binary_head(size: int) -> bytes:
    """Return what stands before a binary message of so many bytes in its frame."""
    return _head(_BINARY, size)


def close_frame(code: int, reason: str) -> bytes:
    """Return the websocket frame that closes."""
    payload = code.to_bytes(2, "big") + reason.encode()[:123]
    return _head(_CLOSE, len(payload)) + payload


def _head(kind: int, size: int) -> bytes:
    if size < SHORT:
        return bytes((kind, size))
    if size < _LONG:
        return bytes((kind, 126)) + size.to_bytes(2, "big")
    return bytes((kind, 127)) + size.to_bytes(8, "big")


class Message:
    """An Engine.IO message for any number of clients.

    Args:
        text: Its text, with Engine.IO's digit in front.
        buffers: The Buffers that follow it.
    """

    __slots__ = ("_frames", "buffers", "text")

    def __init__(self, text: bytes, buffers: tuple[bytes, ...] = ()) -> None:
        self.text = text
        self.buffers = buffers
        self._frames: bytes | None = None

    @property
    def frames(self) -> bytes:
        """All its websocket frames, one after the other; the same bytes for every client."""
        if self._frames is None:
            self._frames = text_frame(self.text) + b"".join(map(binary_frame, self.buffers))
        return self._frames
