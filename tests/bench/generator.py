"""The load generator: raw Socket.IO over picows, made to cost less than any server.

Frames are made beforehand and sent several in a write. A connection has a number of slots, each of which is one
call in flight with an acknowledgement id of its own. Every reply is compared with one that was read in full.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from picows import WSFrame, WSListener, WSTransport, ws_connect

from tests.bench.frames import FIRST_ID, Request, frame

LIMIT: Final = 30.0
"""Seconds that a server has to accept a connection, and to answer what is in flight at the end."""

_AT_ONCE: Final = 32
_MAX_SLOTS: Final = 64
_SLOT: Final = {b"%d" % (FIRST_ID + slot): slot for slot in range(_MAX_SLOTS)}
_JOIN: Final = frame(b"40")
_PONG: Final = frame(b"3")

now = time.perf_counter
T = TypeVar("T")
C = TypeVar("C", bound="Connection")


class BenchError(Exception):
    """A measurement cannot be made, or a server did not do what it was asked to."""


@dataclass
class Load:
    """What the connections of one measurement count together."""

    latencies: list[float] = field(default_factory=list)
    delivered: int = 0
    errors: int = 0
    problem: str = ""
    stopped: bool = False

    def fail(self, problem: str) -> None:
        """Count an error, and keep what the first one was."""
        self.errors += 1
        self.problem = self.problem or problem


class Connection(WSListener):
    """One websocket, joined to the namespace `/`.

    Args:
        load: Counts what happens.
        requests: The calls that it makes, one for each slot.
    """

    def __init__(self, load: Load, requests: Sequence[Request] = ()) -> None:
        self.load = load
        self.requests = requests
        self.calls = [request.frames(slot) for slot, request in enumerate(requests)]
        self.replies: list[bytes | None] = [None] * len(self.calls)
        self.sent = [0.0] * len(self.calls)
        self.in_flight = 0
        self.joined: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._closing = False
        self._beside: int | None = None

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.transport = transport
        self.write = transport.underlying_transport.write

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        if not self._closing:
            self.load.fail("the server closed a connection")
        if not self.joined.done():
            self.joined.set_exception(BenchError("the server closed a connection before it was joined"))

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        message = frame.get_payload_as_bytes()
        slot = _SLOT.get(message[2:6])
        if self._beside is not None:
            slot, self._beside = self._beside, None
            if message != self.requests[slot].attachment:
                self.load.fail(f"another Buffer came back: {message[:80]!r}")
            self.answered(slot)
        elif slot is not None and (message == self.replies[slot] or self._first(slot, message)):
            self.answered(slot)
        else:
            self.other(message)
        if frame.last_in_buffer:
            self.flush()

    def answered(self, slot: int) -> None:
        """Take note that the call of a slot was answered."""
        self.in_flight -= 1

    def flush(self) -> None:
        """Send what has come together while the frames of one read were looked at."""

    def other(self, message: bytes) -> None:
        """Take what is no text reply."""
        if message[:1] == b"2":
            self.write(_PONG)
        elif message[:1] == b"0":
            self.write(_JOIN)
        elif message[:2] == b"40":
            self.joined.set_result(None)
        elif message[:4] == b"461-" and (slot := _SLOT.get(message[4:8])) is not None:
            self._check(slot, message[8:])
            self._beside = slot
        elif not self._closing:
            self.load.fail(f"unexpected: {message[:200]!r}")

    def close(self) -> None:
        """End the connection."""
        self._closing = True
        self.transport.disconnect(graceful=False)

    def _first(self, slot: int, message: bytes) -> bool:
        """Read a reply that is not the one that is known, and know it from now on."""
        if message[:2] != b"43" or slot >= len(self.calls):
            return False
        self._check(slot, message[6:])
        self.replies[slot] = message
        return True

    def _check(self, slot: int, text: bytes) -> None:
        if json.loads(text) != self.requests[slot].reply:
            self.load.fail(f"a wrong reply: {text[:200]!r}")


class Closed(Connection):
    """Keeps all its slots busy: each reply sends the next call."""

    def __init__(self, load: Load, requests: Sequence[Request]) -> None:
        super().__init__(load, requests)
        self._out: list[bytes] = []

    def begin(self) -> None:
        """Send the first calls."""
        self.in_flight = len(self.calls)
        self.sent = [now()] * len(self.calls)
        self.write(b"".join(self.calls))

    def answered(self, slot: int) -> None:
        moment = now()
        self.load.latencies.append(moment - self.sent[slot])
        if self.load.stopped:
            self.in_flight -= 1
        else:
            self.sent[slot] = moment
            self._out.append(self.calls[slot])

    def flush(self) -> None:
        if self._out:
            self.write(b"".join(self._out))
            self._out.clear()


class Open(Connection):
    """Sends when it is due, whether or not there were answers; what waits for a slot counts from when it was due."""

    def __init__(self, load: Load, requests: Sequence[Request]) -> None:
        super().__init__(load, requests)
        self._free = list(range(len(self.calls)))
        self._waiting: deque[float] = deque()
        self._out: list[bytes] = []

    def offer(self, due: float) -> None:
        """Send a call that was due at a moment, or as soon as a slot is free."""
        if self._free:
            self._send(self._free.pop(), due)
        else:
            self._waiting.append(due)

    def answered(self, slot: int) -> None:
        self.in_flight -= 1
        self.load.latencies.append(now() - self.sent[slot])
        if self._waiting and not self.load.stopped:
            self._send(slot, self._waiting.popleft())
        else:
            self._free.append(slot)

    def flush(self) -> None:
        if self._out:
            self.write(b"".join(self._out))
            self._out.clear()

    def _send(self, slot: int, due: float) -> None:
        self.in_flight += 1
        self.sent[slot] = due
        self._out.append(self.calls[slot])


class Subscriber(Connection):
    """Counts what is broadcast."""

    _PREFIX: Final = b'42["message",'

    def __init__(self, load: Load, data: Any) -> None:
        super().__init__(load)
        self._data = data
        self._known: bytes | None = None

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        message = frame.get_payload_as_bytes()
        if message == self._known:
            self.load.delivered += 1
        elif message.startswith(self._PREFIX):
            if json.loads(message[2:]) != ["message", self._data]:
                self.load.fail(f"a wrong broadcast: {message[:200]!r}")
            self._known = message
            self.load.delivered += 1
        else:
            self.other(message)


class Publisher(Closed):
    """Asks for broadcasts, and takes no notice of its own copies."""

    def other(self, message: bytes) -> None:
        if not message.startswith(b'42["message",'):
            super().other(message)


async def connect(url: str, make: Callable[[], C]) -> C:
    """Open a connection and join it."""
    address = url.replace("http", "ws", 1) + "/socket.io/?EIO=4&transport=websocket"
    _, connection = await ws_connect(make, address, websocket_handshake_timeout=LIMIT)
    assert isinstance(connection, Connection)
    await asyncio.wait_for(connection.joined, LIMIT)
    return connection  # type: ignore[return-value]  # picows says no more than that it is a listener


async def connect_all(url: str, make: Callable[[], C], count: int) -> list[C]:
    """Open many connections, some at a time."""
    connections: list[C] = []
    while len(connections) < count:
        some = min(_AT_ONCE, count - len(connections))
        connections += await asyncio.gather(*(connect(url, make) for _ in range(some)))
    return connections


async def answer_all(load: Load, connections: Sequence[Connection]) -> None:
    """Wait until nothing is in flight."""
    load.stopped = True
    end = now() + LIMIT
    while left := sum(connection.in_flight for connection in connections):
        if now() > end or load.errors:
            load.fail(f"{left} calls were not answered")
            return
        await asyncio.sleep(0.01)
