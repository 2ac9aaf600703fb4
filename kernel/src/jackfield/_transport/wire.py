"""What a session and its carriers are to one another: a websocket, who reads it, and who is told what a client says."""

from __future__ import annotations

from typing import Final, Protocol

from jackfield._transport.message import Message

NORMAL: Final = 1000
PROTOCOL_ERROR: Final = 1008


class Traffic:
    """Bytes of messages since the start.

    Attributes:
        received: From clients.
        sent: To clients.
    """

    __slots__ = ("received", "sent")

    def __init__(self) -> None:
        self.received = 0
        self.sent = 0


class Wire(Protocol):
    """A websocket, whoever reads and writes it. It tells its `reader` what comes."""

    reader: Reader

    @property
    def backlog(self) -> int:
        """Bytes that the client has not read yet, as far as this process knows."""

    def text(self, data: bytes) -> None:
        """Send a text message."""

    def buffer(self, data: bytes) -> None:
        """Send a binary message."""

    def message(self, message: Message) -> None:
        """Send a message that others get too."""

    def close(self, code: int, reason: str) -> None:
        """Close with a code; the connection is cut off if the client does not follow."""


class Reader(Protocol):
    """Who is told what a websocket brings."""

    def text(self, data: bytes) -> None:
        """Take a text message."""

    def buffer(self, data: bytes) -> None:
        """Take a binary message."""

    def lost(self) -> None:
        """Take note that the connection has gone."""

    def paused(self) -> None:
        """Take note that the client does not keep up."""

    def resumed(self) -> None:
        """Take note that it does again."""


class Receiver(Protocol):
    """Who is told what a client says, whatever carries it."""

    def text(self, data: bytes) -> None:
        """Take a message's text, with Engine.IO's digit in front."""

    def buffer(self, data: bytes) -> None:
        """Take a Buffer."""

    def closed(self, reason: str) -> None:
        """Take note that the session is over."""
