"""One Engine.IO session on its carrier: its timers, its waiting poll, and the backlog of a client that reads slowly."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

from jackfield._transport import eio
from jackfield._transport.eio import EngineError, Machine, Phase
from jackfield._transport.message import Message
from jackfield._transport.request import Request

NORMAL: Final = 1000
PROTOCOL_ERROR: Final = 1008
SLOW_READER: Final = 4008

CLIENT_LEFT: Final = "client disconnect"
SERVER_CLOSED: Final = "server disconnect"
TRANSPORT_CLOSED: Final = "transport close"
PING_TIMEOUT: Final = "ping timeout"
BROKE_PROTOCOL: Final = "parse error"
READ_TOO_SLOWLY: Final = "slow reader"

_WATERLINE: Final = 64 * 1024
"""Bytes past which a poll's queue counts as backlog; transports have the same by default."""
_LINGER: Final = 5.0
"""Seconds that a session which was closed keeps what a poll may still fetch."""
_PROBE_TIMEOUT: Final = 10.0
_CHECK: Final = 1.0


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


class Peer:
    """The client on the other side of one session.

    Args:
        machine: The session's state.
        request: What it was opened with.
        backlog: Bytes that may wait for a client that does not read.
        patience: Seconds that it may take to read on.
        gone: Called when the session is over, and again when no poll may come for what it has left.
    """

    __slots__ = (
        "_backlog",
        "_check",
        "_gone",
        "_patience",
        "_paused_at",
        "_poll",
        "_timer",
        "_waiters",
        "faulty",
        "machine",
        "posting",
        "receiver",
        "request",
        "wire",
    )

    receiver: Receiver

    def __init__(
        self, machine: Machine, request: Request, *, backlog: int, patience: float, gone: Callable[[Peer], None]
    ) -> None:
        self.machine = machine
        self.request = request
        self.wire: Wire | None = None
        self.faulty = False
        self.posting = False
        self._backlog = backlog
        self._patience = patience
        self._gone = gone
        self._poll: asyncio.Future[None] | None = None
        self._paused_at: float | None = None
        self._check: asyncio.TimerHandle | None = None
        self._waiters: list[asyncio.Future[None]] | None = None
        self._timer = asyncio.get_running_loop().call_later(machine.due - _now(), self._tick)

    @property
    def sid(self) -> str:
        """The session's id, a secret."""
        return self.machine.sid

    @property
    def congested(self) -> bool:
        """Whether the client does not keep up with what it is sent."""
        return self._paused_at is not None

    # What the server says.

    def send(self, text: bytes, buffers: tuple[bytes, ...] = ()) -> None:
        """Send a message: its text with Engine.IO's digit in front, and the Buffers that follow it."""
        wire = self.wire
        if wire is None:
            self.queue(text)
            for buffer in buffers:
                self.queue(eio.encode_buffer(buffer))
        else:
            wire.text(text)
            for buffer in buffers:
                wire.buffer(buffer)

    def offer(self, message: Message, *, volatile: bool) -> None:
        """Send what nobody asked for: a client that does not keep up misses it, or is closed if its backlog is full.

        Args:
            message: What to send.
            volatile: Whether the client may miss it.
        """
        if self._paused_at is not None:
            if volatile:
                return
            if self._waiting() > self._backlog:
                self._too_slow()
                return
        if self.wire is None:
            self.send(message.text, message.buffers)
        else:
            self.wire.message(message)

    async def drained(self) -> None:
        """Return when the client keeps up, or has gone."""
        while self._paused_at is not None and self.machine.open:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            if self._waiters is None:
                self._waiters = []
            self._waiters.append(waiter)
            await waiter

    def close(self, reason: str = SERVER_CLOSED, code: int = NORMAL, why: str = "", *, linger: bool = True) -> None:
        """End the session.

        Args:
            reason: What the application is told.
            code: The close code of a websocket.
            why: What the client is told beside it.
            linger: Whether a poll that comes soon still gets what is queued; one that waits gets it anyway.
        """
        if self.machine.open:
            self.machine.close(linger=linger or self._poll is not None)
            if self.wire is not None:
                self.wire.close(code, why)
            self._over(reason)

    def fault(self, why: str, code: int = PROTOCOL_ERROR) -> None:
        """End the session of a client that breaks the protocol."""
        self.faulty = True
        self.close(BROKE_PROTOCOL, code, why, linger=False)

    # What the client says.

    def text(self, data: bytes) -> None:
        """Take a packet of text from the carrier."""
        if data[:1] == eio.MESSAGE:
            self.receiver.text(data)
        elif self.machine.open:
            self._control(data)

    def buffer(self, data: bytes) -> None:
        """Take a Buffer from the carrier."""
        self.receiver.buffer(data)

    def park(self) -> asyncio.Future[None] | None:
        """Let a poll in; it is to wait for the future, if there is one, and then to `fetch`.

        Raises:
            Refused: Another poll is waiting, or the session is carried by a websocket.
        """
        machine = self.machine
        self._tick_if_due()
        if not machine.polled:
            raise eio.unknown_session() if machine.phase is Phase.CLOSED else eio.bad_request("Session upgraded")
        if self._poll is not None:
            self.fault("two polls at once")
            raise eio.bad_request("Two polls at once")
        if not machine.size and machine.phase in (Phase.POLLING, Phase.PROBING):
            self._poll = asyncio.get_running_loop().create_future()
        return self._poll

    def unpark(self) -> None:
        """Take note that the poll which was let in waits no more."""
        self._poll = None

    def fetch(self) -> list[bytes]:
        """Return the packets for a poll."""
        packets = self.machine.take()
        if self.machine.size < _WATERLINE:
            self.resumed()
        if self.machine.phase is Phase.CLOSED:
            self._gone(self)
        # An empty answer is one that asks the client to stop polling: its websocket takes over, or it has left.
        return packets or [eio.NOOP]

    def post(self, packets: list[bytes]) -> None:
        """Take the packets of a POST.

        Raises:
            Refused: Some packet breaks the protocol; the session is over.
        """
        self._tick_if_due()
        for packet in packets:
            if not self.machine.open:
                break
            try:
                buffer = eio.decode_buffer(packet)
            except EngineError as error:
                self.fault(str(error))
                break
            if buffer is None:
                self.text(packet)
            else:
                self.buffer(buffer)
        if self.faulty:
            raise eio.bad_request("Bad packet")

    # What its carriers tell.

    def carried_by(self, wire: Wire) -> None:
        """Be carried by a websocket from now on."""
        self.wire = wire
        wire.reader = self
        if self.machine.phase is not Phase.WEBSOCKET:
            for packet in self.machine.upgrade():
                buffer = eio.decode_buffer(packet)
                if buffer is None:
                    wire.text(packet)
                else:
                    wire.buffer(buffer)
            self.end_poll()
            self.resumed()

    def lost(self) -> None:
        """Take note that the websocket has gone."""
        if self.machine.open:
            self.machine.close(linger=False)
            self._over(TRANSPORT_CLOSED)

    def paused(self) -> None:
        """Take note that the client does not keep up."""
        if self._paused_at is None and self.machine.open:
            self._paused_at = _now()
            self._check = asyncio.get_running_loop().call_later(_CHECK, self._look)

    def resumed(self) -> None:
        """Take note that the client keeps up again."""
        if self._paused_at is not None:
            self._paused_at = None
            self._forget_backlog()

    def _control(self, packet: bytes) -> None:
        try:
            self.machine.control(packet)
        except EngineError as error:
            self.fault(str(error))
        else:
            if self.machine.open:
                self._timer.cancel()  # an answer to a ping has put off the next one
                self._tick()
            else:
                self._left()

    def queue(self, packet: bytes) -> None:
        """Keep a packet for the next poll."""
        if not self.machine.open:
            return
        self.machine.queue(packet)
        if self.machine.size > _WATERLINE:
            self.paused()
        self.end_poll()

    def end_poll(self) -> None:
        """Let a poll that waits return with what there is."""
        if self._poll is not None and not self._poll.done():
            self._poll.set_result(None)

    def _waiting(self) -> int:
        return self.machine.size if self.wire is None else self.wire.backlog

    def _look(self) -> None:
        """Judge a client that has not kept up for a second or more."""
        if self._paused_at is None:
            return
        if self._waiting() > self._backlog or _now() - self._paused_at > self._patience:
            self._too_slow()
        else:
            self._check = asyncio.get_running_loop().call_later(_CHECK, self._look)

    def _too_slow(self) -> None:
        self.close(READ_TOO_SLOWLY, SLOW_READER, READ_TOO_SLOWLY, linger=False)

    def _left(self) -> None:
        """End it as the client asked."""
        if self.wire is not None:
            self.wire.close(NORMAL, "")
        self._over(CLIENT_LEFT)

    def _tick_if_due(self) -> None:
        if _now() >= self.machine.due:
            self._timer.cancel()
            self._tick()

    def _tick(self) -> None:
        try:
            ping = self.machine.tick()
        except TimeoutError:
            self.close(PING_TIMEOUT, linger=False)
            return
        if ping is not None:
            if self.wire is None:
                self.queue(ping)
            else:
                self.wire.text(ping)
        if self.machine.open:
            self._timer = asyncio.get_running_loop().call_later(self.machine.due - _now(), self._tick)

    def _over(self, reason: str) -> None:
        self._timer.cancel()
        self._forget_backlog()
        if self.machine.phase is Phase.CLOSING:
            self._timer = asyncio.get_running_loop().call_later(_LINGER, self._give_up)
        self._gone(self)
        self.end_poll()
        self.wire = None
        receiver, self.receiver = self.receiver, _NOBODY
        receiver.closed(reason)

    def _give_up(self) -> None:
        self.machine.phase = Phase.CLOSED
        self._gone(self)

    def _forget_backlog(self) -> None:
        if self._check is not None:
            self._check.cancel()
            self._check = None
        waiters, self._waiters = self._waiters, None
        for waiter in waiters or ():
            if not waiter.done():
                waiter.set_result(None)


class _Nobody:
    """Hears what a client says whose session is over."""

    def text(self, data: bytes) -> None:
        """Hear nothing."""

    def buffer(self, data: bytes) -> None:
        """Hear nothing."""

    def closed(self, reason: str) -> None:
        """Hear nothing."""


_NOBODY: Final = _Nobody()


class Candidate:
    """A websocket that is to take over a session which is polled."""

    def __init__(self, peer: Peer, wire: Wire) -> None:
        self._peer = peer
        self._wire = wire
        self._chosen = peer.machine.probe()
        self._timer = asyncio.get_running_loop().call_later(_PROBE_TIMEOUT if self._chosen else 0, self._give_up)

    def text(self, data: bytes) -> None:
        """Take the probe, then the word to take over."""
        if data == eio.PROBE and self._chosen and self._peer.machine.open:
            self._wire.text(eio.PROBE_ANSWER)
            self._peer.machine.probed()
            self._peer.end_poll()
        elif data == eio.UPGRADE and self._chosen and self._peer.machine.open:
            self._timer.cancel()
            self._peer.carried_by(self._wire)
        else:
            self._give_up()

    def buffer(self, data: bytes) -> None:
        """Refuse what is no probe."""
        self._give_up()

    def lost(self) -> None:
        """Take note that the connection has gone; the session goes on by polling."""
        self._timer.cancel()
        if self._chosen:
            self._peer.machine.probe_failed()

    def paused(self) -> None:
        """Take note; nothing much is sent yet."""

    def resumed(self) -> None:
        """Take note; nothing much is sent yet."""

    def _give_up(self) -> None:
        self.lost()
        self._wire.close(PROTOCOL_ERROR, "no upgrade")


def _now() -> float:
    return asyncio.get_running_loop().time()
