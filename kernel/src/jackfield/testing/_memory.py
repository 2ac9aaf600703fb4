"""A connection without a network: what the two ends say to each other are the packets that a websocket would carry."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Final, cast

from socketio.packet import ACK, BINARY_ACK, BINARY_EVENT, CONNECT, CONNECT_ERROR, DISCONNECT, EVENT, Packet

from jackfield._transport import eio
from jackfield._transport.backlog import WATERLINE
from jackfield._transport.engine import Engine
from jackfield._transport.message import Message
from jackfield._transport.request import Request
from jackfield._transport.wire import Reader, Traffic
from jackfield.client._errors import ConnectError, Refused
from jackfield.client._link import Hear, Link
from jackfield.client._place import Place
from jackfield.client._token import fresh
from jackfield.testing._kernel import GivenKernel

_LEAVES: Final = (eio.MESSAGE + str(DISCONNECT).encode(), eio.CLOSE)


class ServerEnd:
    """The server's end: the transport writes to it as to any websocket.

    Args:
        client: The other end.
        traffic: What counts the bytes that are sent.
    """

    reader: Reader

    def __init__(self, client: ClientEnd, traffic: Traffic) -> None:
        self._client = client
        self._traffic = traffic
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[tuple[bool, bytes]] = deque()
        self._size = 0
        self._behind = self._held = self._scheduled = self._closing = False

    @property
    def backlog(self) -> int:
        """Bytes that the client has not read yet."""
        return self._size

    def text(self, data: bytes) -> None:
        """Send a text message."""
        self._put(False, data)

    def buffer(self, data: bytes) -> None:
        """Send a binary message."""
        self._put(True, data)

    def message(self, message: Message) -> None:
        """Send a message that others get too."""
        self.text(message.text)
        for buffer in message.buffers:
            self.buffer(buffer)

    def close(self, code: int, reason: str) -> None:
        """Close, once the client has read what is on its way."""
        del code, reason
        self._closing = True
        self._schedule()

    def hold(self) -> None:
        """Let everything wait: the client reads no more."""
        self._held = True

    def let_go(self) -> None:
        """Deliver what waits: the client reads on."""
        self._held = False
        self._schedule()

    def _put(self, binary: bool, data: bytes) -> None:
        if self._closing:
            return
        self._traffic.sent += len(data)
        self._waiting.append((binary, data))
        self._size += len(data)
        if self._size > WATERLINE and not self._behind:
            self._behind = True
            self.reader.paused()
        self._schedule()

    def _schedule(self) -> None:
        if not self._held and not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._deliver)

    def _deliver(self) -> None:
        self._scheduled = False
        while self._waiting and not self._held:
            binary, data = self._waiting.popleft()
            self._size -= len(data)
            self._client.receive(binary, data)
        if self._held:
            return
        if self._closing:
            self._client.closed()
        elif self._behind:
            self._behind = False
            self.reader.resumed()


class ClientEnd:
    """The client's end, with the packets of python-socketio: what carries a link of the client.

    Args:
        engine: The server.
        hear: Told of the events that the server emits.
    """

    def __init__(self, engine: Engine, hear: Hear) -> None:
        self.too_large = False
        self.link = Link(self)
        self.connected: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.server = ServerEnd(self, engine.traffic)
        self._hear = hear
        self._largest = engine.limits.message_size
        self._loop = asyncio.get_running_loop()
        self._callbacks: dict[int, Callable[..., None]] = {}
        self._acks = 0
        self._partial: Packet | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._over = False

    # What the link asks of its carrier.

    async def emit(self, event: str, argument: dict[str, Any], answered: Callable[..., None] | None) -> None:
        """Send an event."""
        number = None
        if answered is not None:
            self._acks = number = self._acks + 1
            self._callbacks[number] = answered
        self._send(Packet(EVENT, data=[event, argument], id=number))

    async def written(self) -> None:
        """Return when all that was emitted has arrived."""
        await asyncio.sleep(0)

    async def leave(self) -> None:
        """Say good-bye."""
        for packet in _LEAVES:
            self._post(False, packet)
        await asyncio.sleep(0)

    async def release(self) -> None:
        """Close the connection."""
        self.cut()

    def end(self) -> None:
        """End what would go on by itself."""
        for task in self._tasks:
            task.cancel()

    # What the test does.

    def enter(self, auth: object) -> None:
        """Ask to be let in, which `connected` tells of."""
        self._send(Packet(CONNECT, data=auth))

    def cut(self) -> None:
        """End the connection as a cable is cut: nothing is said any more, on either side."""
        if not self._over:
            self._over = True
            self._loop.call_soon(self.server.reader.lost)
            self._loop.call_soon(self.link.end)

    # What the server's end delivers.

    def receive(self, binary: bool, data: bytes) -> None:
        """Take a message."""
        if self._over:
            return
        if binary:
            if self._partial is not None and self._partial.add_attachment(data):
                packet, self._partial = self._partial, None
                self._take(packet)
        elif data == eio.PING:
            self._post(False, eio.PONG)
        elif data[:1] == eio.MESSAGE:
            packet = Packet(encoded_packet=data[1:].decode())
            if packet.attachment_count:
                self._partial = packet
            else:
                self._take(packet)

    def closed(self) -> None:
        """Take note that the server has closed."""
        if not self.connected.done():
            self.connected.set_exception(ConnectError("the server has closed the connection"))
        # What came before is taken first.
        self.cut()

    def _take(self, packet: Packet) -> None:
        if packet.packet_type == CONNECT:
            if not self.connected.done():
                self.connected.set_result(None)
        elif packet.packet_type == CONNECT_ERROR:
            self._refused(packet.data if isinstance(packet.data, dict) else {"message": str(packet.data)})
        elif packet.packet_type == DISCONNECT:
            self.closed()
        elif packet.packet_type in (EVENT, BINARY_EVENT):
            task = self._loop.create_task(self._answer(packet))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        elif packet.packet_type in (ACK, BINARY_ACK) and (answered := self._callbacks.pop(packet.id, None)):
            self._loop.call_soon(answered, *packet.data)  # after the events that came before it

    def _refused(self, said: dict[str, Any]) -> None:
        if not self.connected.done():
            error = {"code": "unknown", **(said.get("data") or {}), "message": str(said.get("message", ""))}
            self.connected.set_exception(Refused(error))

    async def _answer(self, packet: Packet) -> None:
        event, *arguments = packet.data
        answer = await self.link.heard(event, tuple(arguments), self._hear)
        if packet.id is not None:
            self._send(Packet(ACK, data=[] if answer is None else [answer], id=packet.id))

    def _send(self, packet: Packet) -> None:
        encoded = packet.encode()
        text, *buffers = encoded if isinstance(encoded, list) else [encoded]
        self._post(False, eio.MESSAGE + text.encode())
        for buffer in buffers:
            self._post(True, bytes(buffer))

    def _post(self, binary: bool, data: bytes) -> None:
        if not self._over:
            self._loop.call_soon(self._arrive, binary, data)

    def _arrive(self, binary: bool, data: bytes) -> None:
        if self._over:
            return
        if len(data) > self._largest:
            self.too_large = True
            self.cut()
        elif binary:
            self.server.reader.buffer(data)
        else:
            self.server.reader.text(data)


class InMemory:
    """A kernel that nobody outside of this process reaches.

    Args:
        kernel: The kernel, loaded.
    """

    def __init__(self, kernel: GivenKernel) -> None:
        self._kernel = kernel
        self.url = "http://localhost"

    def served(self) -> AbstractAsyncContextManager[None]:
        """Be in service while a block runs."""
        return self._kernel.attached()

    async def connect(self, place: Place, hear: Hear) -> Link:
        """Connect a client."""
        return await _connect(self._kernel.engine, place, hear)

    def cut(self, link: Link) -> None:
        """End a connection as a cable is cut."""
        _end(link).cut()

    def hold(self, link: Link) -> None:
        """Let what the server sends wait."""
        _end(link).server.hold()

    def let_go(self, link: Link) -> None:
        """Take what waits."""
        _end(link).server.let_go()


def _end(link: Link) -> ClientEnd:
    return cast(ClientEnd, link.carrier)


async def _connect(engine: Engine, place: Place, hear: Hear) -> Link:
    """Connect to a server in this process.

    Raises:
        Refused: The server does not let the client in.
        ConnectError: It takes no connections.
    """
    token = await fresh(place.token, place.limit)
    headers = [
        (name.lower().encode(), value.encode()) for name, value in {"host": "localhost", **place.headers}.items()
    ]
    address, secure = engine.trust.client("127.0.0.1", False, headers)
    request = Request("EIO=4&transport=websocket", headers, address=address, secure=secure, transport="websocket")
    client = ClientEnd(engine, hear)
    try:
        engine.vet(request)
        client.server.reader = engine.admit_websocket(request)(client.server)
    except eio.Refused as error:
        raise ConnectError(f"the server takes no connection ({error})") from None
    client.link.token = token
    client.enter(place.auth if token is None else {"token": token})
    try:
        async with asyncio.timeout(place.limit):
            await client.connected
    except TimeoutError:
        client.cut()
        raise ConnectError(f"the server said nothing for {place.limit:g} s") from None
    except BaseException:
        client.cut()
        raise
    return client.link
