"""One Engine.IO session on its carrier: what is sent and heard, its timer, and its waiting poll."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from jackfield._transport import eio
from jackfield._transport.backlog import WATERLINE, Backlog
from jackfield._transport.eio import EngineError, Machine, Phase
from jackfield._transport.message import Message
from jackfield._transport.request import Request
from jackfield._transport.wire import NORMAL, PROTOCOL_ERROR, Receiver, Wire

SLOW_READER: Final = 4008

CLIENT_LEFT: Final = "client disconnect"
SERVER_CLOSED: Final = "server disconnect"
TRANSPORT_CLOSED: Final = "transport close"
PING_TIMEOUT: Final = "ping timeout"
BROKE_PROTOCOL: Final = "parse error"
READ_TOO_SLOWLY: Final = "slow reader"

_LINGER: Final = 5.0
"""Seconds that a session which was closed keeps what a poll may still fetch."""


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
        "_gone",
        "_poll",
        "_timer",
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
        self._backlog = Backlog(backlog, patience, self._waiting, self._too_slow)
        self._gone = gone
        self._poll: asyncio.Future[None] | None = None
        self._timer = asyncio.get_running_loop().call_later(machine.due - _now(), self._tick)

    @property
    def sid(self) -> str:
        """The session's id, a secret."""
        return self.machine.sid

    @property
    def congested(self) -> bool:
        """Whether the client does not keep up with what it is sent."""
        return self._backlog.behind

    # What the server says.

    def send(self, text: bytes, buffers: tuple[bytes, ...] = ()) -> None:
        """Send a message: its text with Engine.IO's digit in front, and the Buffers that follow it."""
        if self.wire is None:
            self.queue(text)
        else:
            self.wire.text(text)
        for buffer in buffers:
            self.send_buffer(buffer)

    def send_buffer(self, buffer: bytes) -> None:
        """Send one Buffer: a message of its own, or one that the text before has announced."""
        if self.wire is None:
            self.queue(eio.encode_buffer(buffer))
        else:
            self.wire.buffer(buffer)

    def offer(self, message: Message, *, volatile: bool) -> bool:
        """Send what nobody asked for: a client that does not keep up misses it, or is closed if its backlog is full.

        Args:
            message: What to send.
            volatile: Whether the client may miss it.

        Returns:
            False if the client misses it.
        """
        if self._backlog.behind:
            if volatile:
                return False
            if self._backlog.full:
                self._too_slow()
                return True
        if self.wire is None:
            self.send(message.text, message.buffers)
        else:
            self.wire.message(message)
        return True

    async def drained(self) -> None:
        """Return when the client keeps up, or has gone."""
        await self._backlog.ended()

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
        if self.machine.size < WATERLINE:
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
        if self.machine.open:
            self._backlog.begin()

    def resumed(self) -> None:
        """Take note that the client keeps up again."""
        self._backlog.end()

    def _control(self, packet: bytes) -> None:
        due = self.machine.due
        try:
            self.machine.control(packet)
        except EngineError as error:
            self.fault(str(error))
        else:
            if not self.machine.open:
                self._left()
            elif self.machine.due != due:  # an answer to a ping has put off the next one
                self._timer.cancel()
                self._tick()

    def queue(self, packet: bytes) -> None:
        """Keep a packet for the next poll."""
        if not self.machine.open:
            return
        self.machine.queue(packet)
        if self.machine.size > WATERLINE:
            self.paused()
        self.end_poll()

    def end_poll(self) -> None:
        """Let a poll that waits return with what there is."""
        if self._poll is not None and not self._poll.done():
            self._poll.set_result(None)

    def _waiting(self) -> int:
        return self.machine.size if self.wire is None else self.wire.backlog

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
        self._backlog.close()
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


class _Nobody:
    """Hears what a client says whose session is over."""

    def text(self, data: bytes) -> None:
        """Hear nothing."""

    def buffer(self, data: bytes) -> None:
        """Hear nothing."""

    def closed(self, reason: str) -> None:
        """Hear nothing."""


_NOBODY: Final = _Nobody()


def _now() -> float:
    return asyncio.get_running_loop().time()
