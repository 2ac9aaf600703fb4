"""Engine.IO, protocol version 4, without I/O: what a session may hear and say, and when it has ended.

A `Machine` is one session. Carriers tell it what has come and ask it what to send; it does no I/O and owns no
timer, it only says when it wants to be looked at again (`due`). Polling, websocket and the upgrade from one to the
other share it.

A packet here is bytes as a poll carries it: a digit and text, or `b` and base64 for a Buffer.
"""

from __future__ import annotations

import binascii
import enum
import math
from base64 import b64encode
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl

import orjson

CLOSE: Final = b"1"
PING: Final = b"2"
PONG: Final = b"3"
MESSAGE: Final = b"4"
UPGRADE: Final = b"5"
NOOP: Final = b"6"
PROBE: Final = b"2probe"
PROBE_ANSWER: Final = b"3probe"
_BUFFER: Final = b"b"
_SEPARATOR: Final = b"\x1e"
_PACKETS_PER_POLL: Final = 16
"""python-engineio's client ends a connection whose poll brings more."""


class EngineError(Exception):
    """Something that no Engine.IO client says; its session is to be closed."""


class Refused(Exception):
    """A request that is not served.

    Args:
        status: The HTTP status of the answer.
        code: Engine.IO's number for the fault.
        message: What is wrong, for a person.
        headers: More headers of the answer.
    """

    def __init__(self, status: int, code: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.headers = dict(headers or {})
        self.body = orjson.dumps({"code": code, "message": message})


def unknown_session() -> Refused:
    """Return the refusal of a request for a session that is not, or no more."""
    return Refused(400, 1, "Session ID unknown")


def bad_request(message: str = "Bad request", status: int = 400) -> Refused:
    """Return the refusal of a request that makes no sense."""
    return Refused(status, 3, message)


def forbidden(message: str = "Forbidden") -> Refused:
    """Return the refusal of somebody who may not ask this."""
    return Refused(403, 4, message)


def read_query(query: str, transports: Sequence[str]) -> tuple[str, str | None]:
    """Return the transport that a request asks for, and the session that it belongs to, if it belongs to one.

    Raises:
        Refused: The parameters are not those of an Engine.IO client.
    """
    try:
        parameters = dict(reversed(parse_qsl(query, keep_blank_values=True, max_num_fields=64)))
    except ValueError:
        raise bad_request() from None
    if parameters.get("EIO") != "4":
        raise Refused(400, 5, "Unsupported protocol version")
    transport = parameters.get("transport", "")
    if transport not in transports:
        raise Refused(400, 0, "Transport unknown")
    return transport, parameters.get("sid")


@dataclass(frozen=True, slots=True)
class Terms:
    """What every session is told when it opens.

    Args:
        ping_interval: Seconds between two pings.
        ping_timeout: Seconds that a client has to answer one.
        max_payload: Bytes of the largest message that is taken.
    """

    ping_interval: float
    ping_timeout: float
    max_payload: int


class Phase(enum.Enum):
    """What carries a session."""

    POLLING = enum.auto()
    PROBING = enum.auto()  # polling, with a websocket that wants to take over
    UPGRADING = enum.auto()  # the websocket is ready: polls end, and no new one waits
    WEBSOCKET = enum.auto()
    CLOSING = enum.auto()  # over, but a poll may still fetch what was queued
    CLOSED = enum.auto()


class Machine:
    """One session.

    Args:
        sid: Its id, a secret between client and server.
        terms: What it is told.
        clock: Seconds that only ever grow.
        websocket: Whether a websocket opens it.

    Attributes:
        phase: What carries it.
        size: Bytes that wait for a poll.
        due: When `tick` wants to be called, on the clock.
    """

    __slots__ = ("_awaiting_pong", "_clock", "_queue", "_terms", "due", "phase", "sid", "size")

    def __init__(self, sid: str, terms: Terms, clock: Callable[[], float], *, websocket: bool) -> None:
        self.sid = sid
        self.phase = Phase.WEBSOCKET if websocket else Phase.POLLING
        self.size = 0
        self.due = clock() + terms.ping_interval
        self._terms = terms
        self._clock = clock
        self._queue: deque[bytes] | None = None if websocket else deque()
        self._awaiting_pong = False

    @property
    def open(self) -> bool:
        """Whether messages can still be exchanged."""
        return self.phase not in (Phase.CLOSING, Phase.CLOSED)

    @property
    def polled(self) -> bool:
        """Whether polls are answered."""
        return self.phase not in (Phase.WEBSOCKET, Phase.CLOSED)

    def greeting(self, *, upgrades: bool) -> bytes:
        """Return the packet that opens the session."""
        return b"0" + orjson.dumps(
            {
                "sid": self.sid,
                "upgrades": ["websocket"] if upgrades else [],
                "pingInterval": math.ceil(self._terms.ping_interval * 1000),
                "pingTimeout": math.ceil(self._terms.ping_timeout * 1000),
                "maxPayload": self._terms.max_payload,
            }
        )

    def control(self, packet: bytes) -> None:
        """Take a packet that is no message from the session's own carrier.

        Raises:
            EngineError: No client says this.
        """
        if packet == PONG:
            if self._awaiting_pong:
                self._awaiting_pong = False
                self.due = self._clock() + self._terms.ping_interval
        elif packet == CLOSE:
            self.phase = Phase.CLOSED
        elif packet != NOOP:
            raise EngineError("no packet that an Engine.IO client sends")

    def probe(self) -> bool:
        """Let a websocket try to take over; tell whether it may."""
        if self.phase is Phase.POLLING:
            self.phase = Phase.PROBING
            return True
        return False

    def probed(self) -> None:
        """Take note that the websocket works."""
        self.phase = Phase.UPGRADING

    def probe_failed(self) -> None:
        """Go on by polling alone, since the websocket that was to take over is gone."""
        if self.phase in (Phase.PROBING, Phase.UPGRADING):
            self.phase = Phase.POLLING

    def upgrade(self) -> list[bytes]:
        """Let the websocket take over, and return what waits to be sent by it."""
        self.phase = Phase.WEBSOCKET
        waiting = list(self._queue or ())
        self._queue = None
        self.size = 0
        return waiting

    def queue(self, packet: bytes) -> None:
        """Keep a packet for the next poll."""
        if self._queue is not None:
            self._queue.append(packet)
            self.size += len(packet)

    def take(self) -> list[bytes]:
        """Return what a poll brings: no more packets than stock clients read, and none if none waits."""
        queue = self._queue or ()
        taken = [self._queue.popleft() for _ in range(min(len(queue), _PACKETS_PER_POLL))] if self._queue else []
        self.size -= sum(map(len, taken))
        if self.phase is Phase.CLOSING and len(taken) < _PACKETS_PER_POLL:
            taken.append(CLOSE)
            self.phase = Phase.CLOSED
        return taken

    def close(self, *, linger: bool) -> None:
        """End the session; where it lingers, polls still fetch what is queued, and a goodbye with the last of it."""
        if self.open:
            self.phase = Phase.CLOSING if linger and self.phase is not Phase.WEBSOCKET else Phase.CLOSED

    def tick(self) -> bytes | None:
        """Return the ping to send, if it is time for one.

        Raises:
            TimeoutError: The client has not answered the last one.
        """
        now = self._clock()
        if now < self.due or not self.open:
            return None
        if self._awaiting_pong:
            raise TimeoutError
        self._awaiting_pong = True
        self.due = now + self._terms.ping_timeout
        return PING


def encode_buffer(buffer: bytes) -> bytes:
    """Return the packet that carries a Buffer in a poll."""
    return _BUFFER + b64encode(buffer)


def decode_buffer(packet: bytes) -> bytes | None:
    """Return the Buffer that a packet of a poll carries; None if it carries text.

    Raises:
        EngineError: It claims to, but is no base64.
    """
    if packet[:1] != _BUFFER:
        return None
    try:
        return binascii.a2b_base64(packet[1:], strict_mode=True)
    except binascii.Error:
        raise EngineError("a Buffer that is no base64") from None


def read_payload(body: bytes) -> list[bytes]:
    """Return the packets of a POST.

    Raises:
        EngineError: It is not UTF-8.
    """
    if not body.isascii():
        try:
            body.decode()
        except UnicodeDecodeError:
            raise EngineError("a payload that is not UTF-8") from None
    return body.split(_SEPARATOR)


def write_payload(packets: Sequence[bytes]) -> bytes:
    """Return the body of a poll's answer."""
    return _SEPARATOR.join(packets)
