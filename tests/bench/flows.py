"""The connections that streams run over: each keeps one going, and counts the items that have got through."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from picows import WSFrame, WSTransport

from tests.bench.feeds import STREAM, Feed
from tests.bench.frames import BINARY, FIRST_ID, PLACEHOLDER, Request, event_frame, frame
from tests.bench.generator import Closed, Connection, Load

_PACKET: Final = re.compile(rb"4(2|3|51-|61-)(\d*)(\[.*)", re.DOTALL)
_EVENTS: Final = (b"2", b"51-")
_END: Final = event_frame(["stream", {"id": STREAM, "end": True}])


class Incoming(Connection):
    """Takes one stream after the other; each message has to be the one whose turn it is.

    Args:
        load: Counts what happens.
        feed: The stream.
    """

    def __init__(self, load: Load, feed: Feed) -> None:
        super().__init__(load)
        self._feed = feed
        self._known = feed.known
        self._opening = event_frame(feed.opening, FIRST_ID)
        self._grant = event_frame(feed.grant) if feed.grant else b""
        self._end = len(feed.messages)
        self._half = feed.window // 2 * feed.each
        self._position = self._end
        self._mark = self._end
        self._streams = -1

    @property
    def moved(self) -> int:
        """The items that have come."""
        feed = self._feed
        come = (self._position - feed.first) // feed.each
        return self._streams * feed.items + min(max(come, 0), feed.items)

    def begin(self) -> None:
        """Ask for a stream."""
        self.in_flight = 1
        self._streams += 1
        self._position = 0
        self._mark = self._feed.first if self._grant else self._end
        self._next_mark()
        self.write(self._opening)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        message = frame.get_payload_as_bytes()
        if message == self._known[self._position]:
            self._advance()
        else:
            self.other(message)

    def other(self, message: bytes) -> None:
        found = _PACKET.fullmatch(message)
        if found is None or self._position == self._end:
            super().other(message)
            return
        kind, number, text = found.groups()
        if json.loads(text) != self._feed.messages[self._position]:
            self.load.fail(f"a wrong item, or one out of turn: {message[:200]!r}")
        elif number and kind in _EVENTS:
            self.write(frame(b"43%b[]" % number))
        else:
            self._known[self._position] = message
        self._advance()

    def _advance(self) -> None:
        self._position += 1
        if self._position == self._mark:
            if self._mark < self._end:
                self._next_mark()
                self.write(self._grant)
            elif self.load.stopped:
                self.in_flight = 0
            else:
                self.begin()

    def _next_mark(self) -> None:
        """Find after which message something is to be sent: half a window on, or when the stream has ended."""
        mark = self._mark + self._half
        self._mark = mark if mark < self._end - 1 else self._end


@dataclass(frozen=True)
class Upload:
    """A stream of Buffers to a function of jackfield.

    Args:
        function: The function.
        block: The Buffer.
        count: How often it is sent.
        result: What the function has to return.
        head: An item that goes before them, if one does.
    """

    function: str
    block: bytes
    count: int
    result: Any
    head: dict[str, Any] | None = None


class Outgoing(Connection):
    """Sends one stream of Buffers after the other, as fast as it is given credit.

    Args:
        load: Counts what happens.
        upload: The stream.
    """

    def __init__(self, load: Load, upload: Upload) -> None:
        super().__init__(load)
        self._upload = upload
        self._opening = event_frame(["event", {"event": upload.function, "id": STREAM}], FIRST_ID)
        self._item = event_frame(_item(PLACEHOLDER), buffer=True) + frame(upload.block, BINARY)
        self._leading = self._item if upload.head is None else event_frame(_item(upload.head))
        self._items = upload.count + (upload.head is not None)
        self._credits: dict[bytes, int] = {}
        self._sent = 0
        self._taken = 0
        self._streams = 0

    @property
    def moved(self) -> int:
        """The Buffers that were taken, as far as credit for others tells."""
        return self._streams * self._upload.count + min(self._taken, self._upload.count)

    def begin(self) -> None:
        """Open a stream."""
        self.in_flight = 1
        self._sent = self._taken = 0
        self.write(self._opening)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        message = frame.get_payload_as_bytes()
        if (credit := self._credits.get(message)) is not None:
            self._taken += credit
            self._send(credit)
        else:
            self.other(message)

    def other(self, message: bytes) -> None:
        found = _PACKET.fullmatch(message)
        if found is None:
            super().other(message)
            return
        match json.loads(found[3]):
            case [{"id": 1, "stream": "client", "credit": int(credit)}]:
                self._send(credit)
            case ["stream", {"id": 1, "credit": int(credit)}]:
                self._credits[message] = credit
                self._taken += credit
                self._send(credit)
            case ["stream", {"id": 1, "end": True, "data": data}] if data == self._upload.result:
                self._done()
            case _:
                self.load.fail(f"a wrong answer to {self._sent} items: {message[:200]!r}")

    def _send(self, credit: int) -> None:
        for _ in range(min(credit, self._items - self._sent)):
            self.write(self._item if self._sent else self._leading)
            self._sent += 1
            if self._sent == self._items:
                self.write(_END)

    def _done(self) -> None:
        self._streams += 1
        self._taken = 0
        if self.load.stopped:
            self.in_flight = 0
        else:
            self.begin()


def _item(data: dict[str, Any]) -> list[Any]:
    return ["stream", {"id": STREAM, "data": data}]


class Acknowledged(Closed):
    """Emits Buffers to a server without streams, which acknowledges each.

    Args:
        load: Counts what happens.
        block: The Buffer.
        window: Buffers that may be on their way.
    """

    def __init__(self, load: Load, block: bytes, window: int) -> None:
        request = Request(["take", PLACEHOLDER], [{"data": len(block)}], block)
        super().__init__(load, [request] * window)
        self.moved = 0

    def answered(self, slot: int) -> None:
        self.moved += 1
        super().answered(slot)


Flow: TypeAlias = Incoming | Outgoing | Acknowledged
