"""One client, from its Socket.IO CONNECT to its DISCONNECT: packets in, events to the dispatcher, replies out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

from jackfield._errors import CallError
from jackfield._identity import Handshake
from jackfield._json import Json, Value
from jackfield._session import Session
from jackfield._settings import Limits
from jackfield._transport import eio, packet
from jackfield._transport.acks import Acks, gone
from jackfield._transport.packet import (
    Ack,
    Connect,
    Decoder,
    Disconnect,
    Event,
    Packet,
    PacketError,
    Unreadable,
    refused,
)
from jackfield._transport.peer import CLIENT_LEFT, SERVER_CLOSED, Peer
from jackfield._transport.wire import PROTOCOL_ERROR, Traffic

NAMESPACE: Final = "/"
_MAX_REFUSALS: Final = 3
_INVALID_TEXT: Final = 1007
_GRACE: Final = 0.25
"""Seconds after a client's time in which what it has sent is read, which a busy server may not have come to."""


class Host(Protocol):
    """What a link needs of the Socket.IO server."""

    limits: Limits

    @property
    def traffic(self) -> Traffic:
        """What counts the bytes of messages."""

    async def admit(self, link: Link, handshake: Handshake) -> Session:
        """Return the session of a client that may come in, or raise the `CallError` that it is told."""

    async def settle(self, link: Link) -> None:
        """Make the client known to the rooms, which sets `sid`, or raise the `CallError` that it is told."""

    def arrived(self, link: Link) -> None:
        """Tell the dispatcher that the client knows that it is in."""

    def left(self, link: Link, session: Session, reason: str) -> None:
        """Tell the dispatcher and the rooms that the client is out."""

    def serves(self, namespace: str) -> bool:
        """Tell whether somebody serves a namespace."""

    def dispatches(self, namespace: str) -> bool:
        """Tell whether a namespace is the dispatcher's."""

    def elsewhere(self, link: Link) -> Elsewhere:
        """Return who takes the packets for namespaces that are not the dispatcher's."""

    def acknowledged(self, link: Link, ack: Ack) -> bool:
        """Take an answer that no request waits for; tell whether anybody else does."""

    def protocol_error(self, error: PacketError) -> None:
        """Log that a client broke the protocol."""

    async def join(self, link: Link, room: str) -> None:
        """Put the client into a room."""

    async def leave(self, link: Link, room: str) -> None:
        """Take the client out of a room."""


class Elsewhere(Protocol):
    """Who takes packets for namespaces that are not the dispatcher's."""

    def take(self, packet: Packet) -> None:
        """Take a packet; raise `PacketError` if the client may not send it."""

    def follow(self, link: Link) -> None:
        """Take note of the link that stands for the client from now on."""

    def closed(self, reason: str) -> None:
        """Take note that the client has gone."""


class Link:
    """One client; the dispatcher's `Connection` once the client has connected.

    Args:
        host: The Socket.IO server.
        peer: The client's Engine.IO session.
    """

    __slots__ = (
        "_acks",
        "_buffers_timer",
        "_connecting",
        "_decoder",
        "_elsewhere",
        "_host",
        "_refusals",
        "_timer",
        "_traffic",
        "peer",
        "session",
        "sid",
    )

    def __init__(self, host: Host, peer: Peer) -> None:
        self.peer = peer
        self.sid = ""
        self.session: Session | None = None
        self._host = host
        self._traffic = host.traffic
        self._decoder = Decoder(host.limits.depth, host.limits.message_size)
        self._connecting: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._buffers_timer: asyncio.TimerHandle | None = None
        self._refusals = 0
        self._acks = Acks(host.limits.requests)
        self._elsewhere: Elsewhere | None = None
        self.expect_connect()

    # The dispatcher's side.

    @property
    def congested(self) -> bool:
        """Whether the client does not keep up with what it is sent."""
        return self.peer.congested

    async def drained(self) -> None:
        """Return when the client keeps up, or has gone."""
        await self.peer.drained()

    def abort(self, why: str) -> None:
        """End the connection of a client that does what no client should."""
        self.peer.fault(why)

    def close(self, code: int, why: str) -> None:
        """End the connection with a close code of the websocket."""
        self.peer.close(SERVER_CLOSED, code, why)

    def emit(self, event: str, payload: Json) -> None:
        """Send an event with one argument."""
        self.peer.send(*packet.event(event, payload))

    def acknowledge(self, ack: bytes, text: bytes, buffers: tuple[bytes, ...] = ()) -> None:
        """Acknowledge a packet."""
        wire = self.peer.wire
        if wire is None or buffers:
            self.peer.send(*packet.acknowledgement(ack, text, buffers))
        else:
            wire.text(b"43%b[%b]" % (ack, text))

    async def request(self, event: str, payload: Json, timeout: float) -> Value:
        """Emit an event and return what the client acknowledges it with."""
        if self.session is None:
            raise gone()
        return await self._acks.ask(
            event, lambda number: self.peer.send(*packet.event(event, payload, number)), timeout
        )

    def next_ack(self) -> int:
        """Return the number under which the client is to answer the next request."""
        return self._acks.next_number()

    async def join(self, room: str) -> None:
        """Put the client into a room."""
        await self._host.join(self, room)

    async def leave(self, room: str) -> None:
        """Take the client out of a room."""
        await self._host.leave(self, room)

    # The client's side.

    def text(self, data: bytes) -> None:
        """Take a message's text."""
        self._traffic.received += len(data)
        session = self.session
        if session is None or not self._decoder.event(data, session.receive):
            self._read(data)

    def _read(self, data: bytes) -> None:
        try:
            self._take(self._decoder.text(data), len(data) - len(eio.MESSAGE))
        except PacketError as error:
            self._fault(error, PROTOCOL_ERROR if _is_text(data) else _INVALID_TEXT)

    def buffer(self, data: bytes) -> None:
        """Take a Buffer."""
        self._traffic.received += len(data)
        try:
            self._take(self._decoder.buffer(data), len(data))
        except PacketError as error:
            self._fault(error, PROTOCOL_ERROR)

    def closed(self, reason: str) -> None:
        """Take note that the session is over."""
        self._forget()
        self._leave(reason)
        if self._elsewhere is not None:
            self._elsewhere.closed(reason)

    def _take(self, packet: Packet | None, size: int) -> None:
        if self.session is None and size > self._host.limits.auth_size:
            raise PacketError("too much before CONNECT")
        self._await_buffers()
        if packet is not None:
            self._handle(packet)
        elif self.session is None and self._elsewhere is None:
            raise PacketError("Buffers before CONNECT")

    def _fault(self, error: PacketError, code: int) -> None:
        self._host.protocol_error(error)
        self.peer.fault(str(error), code)

    def _await_buffers(self) -> None:
        if not self._decoder.waiting:
            if self._buffers_timer is not None:
                self._buffers_timer.cancel()
                self._buffers_timer = None
        elif self._buffers_timer is None:
            self._buffers_timer = _later(self._host.limits.buffers_timeout, self._lack)

    def _lack(self) -> None:
        self._buffers_timer = _later(_GRACE, self.peer.fault, "Buffers that do not come")

    def _handle(self, packet: Packet) -> None:
        if isinstance(packet, Connect) and not self._host.serves(packet.namespace):
            self.peer.send(refused(packet.namespace, "Invalid namespace"))
        elif not self._host.dispatches(packet.namespace):
            if self._elsewhere is None:
                self._elsewhere = self._host.elsewhere(self)
            self._elsewhere.take(packet)
        elif isinstance(packet, Connect):
            self._connect(packet)
        elif self.session is None:
            raise PacketError("a packet before CONNECT")
        elif isinstance(packet, Event):
            self.session.receive(packet.event, packet.ack, packet.buffers)
        elif isinstance(packet, Ack):
            self._acknowledged(packet)
        elif isinstance(packet, Unreadable):
            self.session.refuse(packet.error, packet.ack, packet.said)
        elif isinstance(packet, Disconnect):
            self.peer.receiver = self._successor()
            self._forget()
            self._leave(CLIENT_LEFT)

    def _connect(self, asked: Connect) -> None:
        if self.session is not None or self._connecting is not None:
            raise PacketError("CONNECT twice")
        self.stop_waiting()
        request = self.peer.request
        handshake = Handshake(
            auth=asked.auth,
            headers=dict(request.headers),
            address=request.address,
            transport=request.transport,
            secure=request.secure,
        )
        self._connecting = asyncio.get_running_loop().create_task(self._let_in(handshake))

    async def _let_in(self, handshake: Handshake) -> None:
        try:
            session = await self._host.admit(self, handshake)
            # The rooms hear of the client only now: before, broadcasts would reach somebody who may be refused.
            await self._host.settle(self)
        except CallError as error:
            self.peer.send(refused(NAMESPACE, error.message, _refusal(error)))
            self._refusals += 1
            self.expect_connect()
            if self._refusals >= _MAX_REFUSALS:
                self.peer.close()
            return
        finally:
            self._connecting = None
        self.session = session
        self.peer.send(packet.connected(NAMESPACE, self.sid))
        self._host.arrived(self)

    def _leave(self, reason: str) -> None:
        session, self.session = self.session, None
        if session is not None:
            self._host.left(self, session, reason)

    def _successor(self) -> Link:
        """Return the link for a client that has left, should it come back on the same session: as another client."""
        link = type(self)(self._host, self.peer)
        link._refusals = self._refusals
        link._acks = Acks(self._host.limits.requests, self._acks.last)
        if self._elsewhere is not None:
            link._elsewhere = self._elsewhere
            self._elsewhere.follow(link)
        return link

    def _acknowledged(self, ack: Ack) -> None:
        if not self._acks.answered(ack) and not self._host.acknowledged(self, ack):
            self._acks.count_stray()

    def expect_connect(self) -> None:
        """Close the session unless the client connects in time."""
        self.stop_waiting()
        self._timer = _later(self._host.limits.connect_timeout, self._too_late)

    def _too_late(self) -> None:
        self._timer = _later(_GRACE, self.peer.close)

    def stop_waiting(self) -> None:
        """Take note that the client connects."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _forget(self) -> None:
        """Let go of whatever waits for this client."""
        self.stop_waiting()
        if self._buffers_timer is not None:
            self._buffers_timer.cancel()
            self._buffers_timer = None
        if self._connecting is not None:
            self._connecting.cancel()
        self._acks.give_up()


def _later(seconds: float, act: Callable[..., object], *arguments: object) -> asyncio.TimerHandle:
    return asyncio.get_running_loop().call_later(seconds, act, *arguments)


def _is_text(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _refusal(error: CallError) -> dict[str, object]:
    shape = error.as_dict()
    del shape["message"]
    return shape
