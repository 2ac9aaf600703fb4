"""The border to python-socketio, and the one place that touches what it does not promise.

python-socketio keeps the Engine.IO sessions (handshake, polling, upgrade, pings), the rooms and the client
managers. What a client says is read here instead: strictly, without a task a packet, and never through
python-socketio's own event handlers, which leave exceptions and unknown events unanswered.

`tests/interop/test_border.py` fails when a release moves what is used here.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping, MutableMapping
from typing import Any, Final, TypeAlias

import engineio
import engineio.packet
import engineio.payload
import socketio

from jackfield._dispatch import Dispatcher
from jackfield._errors import CallError, Code
from jackfield._identity import Handshake
from jackfield._json import Json, Value
from jackfield._session import Session
from jackfield._settings import Limits, ServerSettings
from jackfield._throttle import QUIET, Throttle
from jackfield._transport import packet, websocket
from jackfield._transport.packet import Ack, Connect, Decoder, Disconnect, Event, PacketError, Unreadable

Environ: TypeAlias = Mapping[str, Any]  # a WSGI environment, as engineio makes it
Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]

NAMESPACE: Final = "/"
_MAX_REFUSALS: Final = 3
_PACKETS_PER_POST: Final = 1000

log: Final = logging.getLogger("jackfield.transport")


class Link:
    """One client on its Engine.IO session; the dispatcher's `Connection` once the client has connected."""

    def __init__(self, server: Border, eio_sid: str, environ: Environ) -> None:
        self.eio_sid = eio_sid
        self.environ = environ
        self.sid = ""
        self.session: Session | None = None
        self.connecting: asyncio.Task[None] | None = None
        self.refusals = 0
        self.decoder = Decoder(server.limits.depth, server.limits.message_size)
        self._server = server
        self._ack_ids = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Value]] = {}
        self._timer: asyncio.TimerHandle | None = None

    def emit(self, event: str, payload: Json) -> None:
        """Queue a Socket.IO event with one argument."""
        self.send(packet.event(event, payload))

    def acknowledge(self, ack: int, payload: Json) -> None:
        """Queue the acknowledgement of a packet."""
        self.send(packet.acknowledgement(ack, payload))

    async def request(self, event: str, payload: Json, timeout: float) -> Value:
        """Emit an event and return what the client acknowledges it with."""
        if self.session is None:
            raise _gone()
        if len(self._waiting) >= self._server.limits.requests:
            raise CallError(
                Code.RESOURCE_EXHAUSTED,
                f"{self._server.limits.requests} requests wait for this client's answer (limits.requests).",
            )
        ack = next(self._ack_ids)
        future: asyncio.Future[Value] = asyncio.get_running_loop().create_future()
        self._waiting[ack] = future
        try:
            self.send(packet.event(event, payload, ack))
            async with asyncio.timeout(timeout):
                return await future
        except TimeoutError:
            raise CallError(
                Code.DEADLINE_EXCEEDED, f"The client did not answer {event!r} within {timeout:g} s."
            ) from None
        finally:
            del self._waiting[ack]

    def acknowledged(self, ack: Ack) -> bool:
        """Take the client's answer to a request; tell whether somebody waits for it."""
        future = self._waiting.get(ack.id)
        if future is None or future.done():
            return False
        arguments = ack.arguments
        future.set_result(None if not arguments else arguments[0] if len(arguments) == 1 else list(arguments))
        return True

    def send(self, messages: list[str | bytes]) -> None:
        """Queue Engine.IO messages, one right after the other."""
        socket = self._server.eio.sockets.get(self.eio_sid)
        if socket is not None and not socket.closed:
            for message in messages:
                socket.queue.put_nowait(engineio.packet.Packet(engineio.packet.MESSAGE, message))

    def expect_connect(self) -> None:
        """Close the session unless the client connects in time."""
        self.connect_in_time()
        self._timer = asyncio.get_running_loop().call_later(
            self._server.limits.connect_timeout, self._server.close_soon, self.eio_sid
        )

    def connect_in_time(self) -> None:
        """Stop waiting for the client to connect."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def successor(self) -> Link:
        """Return the link for a client that has left, should it come back on the same session: as another client."""
        link = Link(self._server, self.eio_sid, self.environ)
        link.refusals = self.refusals
        link._ack_ids = self._ack_ids
        return link

    def forget(self) -> None:
        """Let go of whatever waits for this client."""
        self.connect_in_time()
        if self.connecting is not None:
            self.connecting.cancel()
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(_gone())


class Border(socketio.AsyncServer):  # type: ignore[misc]  # python-socketio is untyped
    """python-socketio's server, with our reading of packets in the place of its own.

    Args:
        settings: Where the server listens, and to whom.
        limits: The limits of the protocol.
    """

    def __init__(self, settings: ServerSettings, limits: Limits) -> None:
        quiet = logging.getLogger("jackfield.socketio")
        quiet.setLevel(logging.ERROR)
        quiet.addFilter(QUIET)
        # A client with much to say by polling sends it in one request; past this number engineio drops all of it.
        engineio.payload.Payload.max_decode_packets = _PACKETS_PER_POST
        self.limits = limits
        self._origins = frozenset(settings.cors_origins)
        self._path = f"{settings.path}/"
        self._dispatcher: Dispatcher
        self._links: dict[str, Link] = {}
        self._throttle = Throttle()
        self._closing: set[asyncio.Task[None]] = set()
        super().__init__(
            async_mode="asgi",
            logger=quiet,
            engineio_logger=quiet,
            namespaces=[NAMESPACE],
            transports=list(settings.transports),
            ping_interval=settings.ping_interval,
            ping_timeout=settings.ping_timeout,
            max_http_buffer_size=limits.message_size,
            cors_allowed_origins=self._allows_origin,
            cors_credentials="*" not in self._origins,
        )
        self.eio._async = {**self.eio._async, "websocket": websocket.WebSocket}
        self.eio._log_error_once = self._refused
        self.eio.create_queue = websocket.Outbox

    def serve(self, dispatcher: Dispatcher) -> None:
        """Say who takes what clients send."""
        self._dispatcher = dispatcher

    async def app(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the Socket.IO path as an ASGI application; anything else is 404."""
        if not f"{scope['path']}/".startswith(self._path):
            await _not_found(scope, send)
            return
        try:
            await self.eio.handle_request(scope, receive, send)
        except Exception as error:  # noqa: BLE001 - what engineio cannot read makes it raise, and ends the connection
            self._refused(str(error), type(error).__name__)

    def close_soon(self, eio_sid: str) -> None:
        """Close a session, with nothing to wait for."""
        self._spawn(self._close(eio_sid))

    async def close_polls(self) -> None:
        """End every session that is not carried by a websocket, in Engine.IO's own way."""
        for eio_sid, socket in list(self.eio.sockets.items()):
            if not socket.upgraded:
                await self._close(eio_sid)

    async def _close(self, eio_sid: str, code: int = websocket.NORMAL) -> None:
        socket = self.eio.sockets.get(eio_sid)
        if socket is not None:
            await websocket.close(socket, code)

    def _allows_origin(self, origin: str, environ: Environ | None = None) -> bool:
        return "*" in self._origins or origin in self._origins

    def _refused(self, message: str, key: str) -> None:
        # The message holds what the client sent, or the session's id, which is a secret; the key is one of a few words.
        if self._throttle.ready(key):
            log.info("a client's request was refused: %s", key)

    # What follows overrides python-socketio's own handlers of Engine.IO events.

    async def _handle_eio_connect(self, eio_sid: str, environ: Environ) -> None:
        await super()._handle_eio_connect(eio_sid, environ)
        self._links[eio_sid] = link = Link(self, eio_sid, environ)
        link.expect_connect()

    async def _handle_eio_message(self, eio_sid: str, data: object) -> None:
        link = self._links.get(eio_sid)
        if link is None:
            return
        try:
            self._take(link, data)
        except PacketError as error:
            if self._throttle.ready("protocol"):
                log.info("a client broke the protocol and is closed: %s", error)
            await self._close(eio_sid, websocket.PROTOCOL_ERROR)

    async def _handle_eio_disconnect(self, eio_sid: str, reason: str) -> None:
        link = self._links.pop(eio_sid, None)
        if link is not None:
            link.forget()
            await self._leave(link, reason)
        self.environ.pop(eio_sid, None)
        socket = self.eio.sockets.get(eio_sid)
        if socket is not None and not socket.upgraded:
            # engineio leaves a poll that is waiting to its timeout, and stock clients wait for it before they end.
            # Soon, so that the request that brought the end is answered first: they end with the poll.
            noop = engineio.packet.Packet(engineio.packet.NOOP)
            asyncio.get_running_loop().call_soon(socket.queue.put_nowait, noop)

    def _take(self, link: Link, data: object) -> None:
        if not isinstance(data, str | bytes):  # engineio reads JSON where it finds some
            raise PacketError("no packet header")
        if link.session is None and len(data) > self.limits.auth_size:
            raise PacketError("too much before CONNECT")
        packet = link.decoder.feed(data)
        if packet is None:
            if link.session is None:
                raise PacketError("Buffers before CONNECT")
        elif isinstance(packet, Connect):
            self._connect(link, packet)
        elif packet.namespace != NAMESPACE or link.session is None:
            raise PacketError("a packet before CONNECT, or for a namespace that the client is not in")
        elif isinstance(packet, Event):
            link.session.receive(packet.name, packet.arguments, packet.ack, buffers=packet.buffers)
        elif isinstance(packet, Ack):
            if not link.acknowledged(packet) and self._throttle.ready("ack"):
                log.debug("a client acknowledged what nobody asked")
        elif isinstance(packet, Unreadable):
            link.session.refuse(packet.error, packet.ack)
        elif isinstance(packet, Disconnect):
            self._spawn(self._leave(link, self.reason.CLIENT_DISCONNECT))
            link.forget()
            self._links[link.eio_sid] = successor = link.successor()
            successor.expect_connect()

    def _connect(self, link: Link, asked: Connect) -> None:
        if asked.namespace != NAMESPACE:
            link.send([packet.refused(asked.namespace, "Invalid namespace", {"code": Code.NOT_FOUND})])
            return
        if link.session is not None or link.connecting is not None:
            raise PacketError("CONNECT twice")
        link.connect_in_time()
        link.connecting = asyncio.get_running_loop().create_task(self._let_in(link, asked))

    async def _let_in(self, link: Link, asked: Connect) -> None:
        try:
            session = await self._dispatcher.connect(link, _handshake(link.environ, asked))
        except CallError as error:
            link.send([packet.refused(NAMESPACE, error.message, _refusal(error))])
            link.refusals += 1
            link.expect_connect()
            if link.refusals >= _MAX_REFUSALS:
                self.close_soon(link.eio_sid)
            return
        finally:
            link.connecting = None
        # The manager hears of the client only now: before, broadcasts would reach somebody who may be refused.
        link.sid = await self.manager.connect(link.eio_sid, NAMESPACE)
        link.session = session
        link.send([packet.connected(NAMESPACE, link.sid)])
        self._dispatcher.connected(session)

    def _leave(self, link: Link, reason: str) -> Coroutine[Any, Any, None]:
        """End the client's session now; what is returned also takes it out of its rooms."""
        session, link.session = link.session, None
        if session is not None:
            self._dispatcher.disconnect(session, reason)
        return self._forget_rooms(link.sid if session is not None else None)

    async def _forget_rooms(self, sid: str | None) -> None:
        if sid is not None:
            await self.manager.disconnect(sid, NAMESPACE, ignore_queue=True)

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)


def _handshake(environ: Environ, asked: Connect) -> Handshake:
    scope = environ["asgi.scope"]
    client = scope.get("client")
    return Handshake(
        auth=asked.auth,
        headers={name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]},
        address=client[0] if client else "",
        transport="websocket" if scope["type"] == "websocket" else "polling",
        secure=scope.get("scheme") in ("https", "wss"),
    )


def _refusal(error: CallError) -> dict[str, object]:
    shape = error.as_dict()
    del shape["message"]
    return shape


def _gone() -> CallError:
    return CallError(Code.UNAVAILABLE, "The client has gone.")


async def _not_found(scope: Scope, send: Send) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1000})
        return
    await send({"type": "http.response.start", "status": 404, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": b"Nothing here: connect with a Socket.IO client.\n"})
