"""How many messages, and how many bytes, a client may send: the link of a server that limits it."""

from __future__ import annotations

import math
from time import monotonic
from typing import Final

from jackfield._errors import CallError, Code
from jackfield._settings import Limits
from jackfield._transport.link import Host, Link
from jackfield._transport.packet import Event, Packet, PacketError
from jackfield._transport.peer import Peer
from jackfield._transport.wire import PROTOCOL_ERROR

_BURST: Final = 5.0
"""So many seconds' worth may come at once."""

MAX_REFUSED: Final = 100
"""Messages past the limit, in a window, that close the connection with the next one."""
_WINDOW: Final = 60.0
_ROUNDING: Final = 1e-7


class Meter:
    """The buckets of one connection, full at its start.

    What is in a bucket is kept as the moment at which it will be full again. A message passes while something is left,
    and may take more than that, for one may be larger than the whole bucket.

    Args:
        limits: The limits of the protocol.

    Attributes:
        refused: How many messages did not pass, in this window.
    """

    __slots__ = ("_bytes", "_limits", "_messages", "_window", "refused")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._messages = self._bytes = self._window = 0.0
        self.refused = 0

    def take(self, size: int) -> CallError | None:
        """Count a message of so many bytes; return what is wrong if it passes a limit."""
        now = monotonic()
        messages, size_full = max(self._messages, now), max(self._bytes, now)
        wait = max(messages, size_full) - now - _BURST + _ROUNDING
        if wait > 0.0:
            return self._refuse(now, wait, "byte" if size_full > messages else "message")
        if rate := self._limits.message_rate:
            self._messages = messages + 1 / rate
        if rate := self._limits.byte_rate:
            self._bytes = size_full + size / rate
        return None

    def _refuse(self, now: float, wait: float, what: str) -> CallError:
        if now >= self._window:
            self._window, self.refused = now + _WINDOW, 0
        self.refused += 1
        rate = self._limits.message_rate if what == "message" else self._limits.byte_rate
        return CallError(
            Code.RESOURCE_EXHAUSTED,
            f"More than {rate:g} {what}s a second from one connection (limits.{what}_rate).",
            retry_after=math.ceil(wait * 1000),
        )


class MeteredLink(Link):
    """A client whose messages are counted, Buffers and acknowledgements among them.

    One that is past a limit is read all the same, or what follows it could not be. If it belongs to an event, this is
    refused; answers to the server's own requests are taken.
    """

    __slots__ = ("_meter", "_past")

    def __init__(self, host: Host, peer: Peer) -> None:
        super().__init__(host, peer)
        self._meter = Meter(host.limits)
        self._past: CallError | None = None

    def text(self, data: bytes) -> None:
        """Take a message's text."""
        if self._passes(len(data)):
            super().text(data)
        elif self.peer.machine.open:
            self._traffic.received += len(data)
            self._read(data)

    def buffer(self, data: bytes) -> None:
        """Take a Buffer."""
        if self._passes(len(data)) or self.peer.machine.open:
            super().buffer(data)

    def _passes(self, size: int) -> bool:
        error = self._meter.take(size)
        if error is None:
            return True
        self._past = self._past or error
        if self._meter.refused > MAX_REFUSED:
            self._fault(PacketError(error.message), PROTOCOL_ERROR)
        return False

    def _handle(self, packet: Packet) -> None:
        past, self._past = self._past, None
        if past is None or not isinstance(packet, Event):
            super()._handle(packet)
        elif self._host.dispatches(packet.namespace):  # other namespaces have no words for an error: theirs is dropped
            if self.session is None:
                super()._handle(packet)
            else:
                self.session.refuse(past, packet.ack, packet.event)

    def _successor(self) -> Link:
        link = super()._successor()
        if isinstance(link, MeteredLink):
            link._meter = self._meter
        return link


def make_link(host: Host, peer: Peer) -> Link:
    """Return the link of a client: one that counts only where there is a limit."""
    limited = host.limits.message_rate or host.limits.byte_rate
    return MeteredLink(host, peer) if limited else Link(host, peer)
