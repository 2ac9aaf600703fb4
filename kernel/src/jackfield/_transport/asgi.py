"""The ASGI carriers: polling over HTTP, and a websocket for servers that the fast carrier does not fit.

`Application` is the Socket.IO endpoint as an ASGI application. It serves under uvicorn here, and can be mounted in
any other ASGI application.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from typing import Any, Final, TypeAlias

from jackfield._limited import first
from jackfield._route import AsgiApp
from jackfield._settings import Limits
from jackfield._transport import eio
from jackfield._transport.backlog import WATERLINE
from jackfield._transport.eio import EngineError, Refused
from jackfield._transport.engine import Engine
from jackfield._transport.message import Message
from jackfield._transport.peer import Peer
from jackfield._transport.request import Request, Transport
from jackfield._transport.trust import Trust
from jackfield._transport.turn import Pace
from jackfield._transport.wire import Reader

Scope: TypeAlias = MutableMapping[str, Any]
Event: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Event]]
Send: TypeAlias = Callable[[Event], Awaitable[None]]

ABORT: Final = "jackfield.abort"
"""The extension of a websocket's scope that holds a function which cuts the connection off."""

_TOO_LARGE: Final = 1009
_TRY_LATER: Final = 1013
_GOODBYE: Final = 2.0
_SLOWEST: Final = 1000
"""Bytes a second that the body of a request must bring, once its time is up."""
_AT_ONCE: Final = 4  # packets of a POST between two looks at the clock
TEXT: Final = "text/plain; charset=UTF-8"
_JSON: Final = "application/json"

NOTHING_HERE: Final = Refused(404, 3, "Nothing here: connect with a Socket.IO client")


class Application:
    """The Socket.IO endpoint.

    Args:
        engines: The Engine.IO servers, each on the path of its own settings.
        beside: Serves all other paths; without it they are 404.
    """

    def __init__(self, engines: Sequence[Engine], beside: AsgiApp | None = None) -> None:
        self._engines = {engine.settings.path: engine for engine in engines}
        self._beside = beside

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if scope["type"] not in ("http", "websocket"):
            return
        engine = self._engines.get(split(scope)[1].rstrip("/"))
        if engine is None:
            if self._beside is None:
                await answer(scope, send, NOTHING_HERE)
            else:
                await self._beside(scope, receive, send)
            return
        request = _request(engine.trust, scope)
        try:
            cors = engine.vet(request)
            if scope["type"] == "websocket":
                await _websocket(engine, scope, request, receive, send)
            else:
                await _http(engine, scope["method"], request, cors, receive, send)
        except Refused as refused:
            engine.refused(str(refused))
            await answer(scope, send, refused)


class AsgiWire:
    """One websocket of an ASGI server.

    Args:
        send: The server's channel.
        abort: Cuts the connection off, if the server can.
        engine: Whose messages it carries; a host may take larger ones than the engine does.
    """

    def __init__(self, send: Send, abort: Callable[[], None] | None, engine: Engine) -> None:
        self.reader: Reader
        self._send = send
        self._abort = abort
        self._max_size = engine.limits.message_size
        self._traffic = engine.traffic
        self._turn = engine.turn
        self._out: deque[tuple[int, Event]] = deque()
        self._size = 0
        self._writer: asyncio.Task[None] | None = None
        self._reading: asyncio.Task[None] | None = None
        self._closing = False

    @property
    def backlog(self) -> int:
        """Bytes that the server has not taken yet."""
        return self._size

    def text(self, data: bytes) -> None:
        """Send a text message."""
        self._put(len(data), {"type": "websocket.send", "text": data.decode()})

    def buffer(self, data: bytes) -> None:
        """Send a binary message."""
        self._put(len(data), {"type": "websocket.send", "bytes": data})

    def message(self, message: Message) -> None:
        """Send a message that others get too."""
        self.text(message.text)
        for buffer in message.buffers:
            self.buffer(buffer)

    def close(self, code: int, reason: str) -> None:
        """Close with a code; the connection is cut off if the client does not follow."""
        if not self._closing:
            self._put(0, {"type": "websocket.close", "code": code, "reason": reason})
            self._closing = True
            asyncio.get_running_loop().call_later(_GOODBYE, self._cut_off)

    async def read(self, receive: Receive) -> None:
        """Tell the reader what comes, until the connection has gone."""
        self._reading = asyncio.current_task()
        pace = Pace(self._turn)
        try:
            while (event := await receive())["type"] == "websocket.receive":
                await pace.keep()
                text = event.get("text")
                data = event["bytes"] if text is None else text.encode()
                if len(data) > self._max_size:
                    self.close(_TOO_LARGE, "message too large")
                    self.reader.lost()
                elif text is None:
                    self.reader.buffer(data)
                else:
                    self.reader.text(data)
        finally:
            pace.end()
            self._closing = True
            self._reading = None
            self._out.clear()
            if self._writer is not None:
                self._writer.cancel()
            self.reader.lost()

    def _put(self, size: int, event: Event) -> None:
        if self._closing:
            return
        self._out.append((size, event))
        self._size += size
        if self._writer is None:
            self._writer = asyncio.get_running_loop().create_task(self._write())
        if self._size > WATERLINE:
            self.reader.paused()

    async def _write(self) -> None:
        try:
            while self._out:
                size, event = self._out.popleft()
                await self._send(event)
                self._size -= size
                self._traffic.sent += size
                if self._size <= WATERLINE:
                    self.reader.resumed()
        except Exception:  # noqa: BLE001 - where the connection is gone, servers raise what they like
            self._out.clear()
        finally:
            self._writer = None

    def _cut_off(self) -> None:
        if self._abort is not None:
            self._abort()
        if self._reading is not None:
            self._reading.cancel()


async def _http(
    engine: Engine, method: str, request: Request, cors: Mapping[str, str], receive: Receive, send: Send
) -> None:
    if method == "OPTIONS":
        await respond(send, 200, b"", TEXT, {**cors, **_preflight(request)})
        return
    try:
        body = await _polling(engine, method, request, receive)
    except Refused as refused:
        refused.headers.update(cors)
        raise
    if body is not None:
        if method == "GET":
            engine.traffic.sent += len(body)
        await respond(send, 200, body, TEXT, cors)


async def _polling(engine: Engine, method: str, request: Request, receive: Receive) -> bytes | None:
    """Return the answer to a request; None if the client has hung up before there was one."""
    transport, sid = eio.read_query(request.query, engine.settings.transports)
    if transport != "polling":
        raise eio.bad_request("A websocket must be asked for by an upgrade")
    if method == "GET":
        return await _poll(engine.open(request) if sid is None else engine.session(sid, request), receive)
    if method != "POST" or sid is None:
        raise Refused(400, 2, "Bad handshake method")
    await _post(engine, engine.session(sid, request), request, receive)
    return b"ok"


async def _poll(peer: Peer, receive: Receive) -> bytes | None:
    waiting = peer.park()
    if waiting is not None:
        try:
            await first(waiting, _hung_up(receive))
        finally:
            peer.unpark()
        if not waiting.done():
            return None
    return eio.write_payload(peer.fetch())


async def _post(engine: Engine, peer: Peer, request: Request, receive: Receive) -> None:
    if not peer.machine.polled:
        raise eio.bad_request("Session upgraded")
    if peer.posting:
        peer.fault("two posts at once")
        raise eio.bad_request("Two posts at once")
    peer.posting = True
    pace = Pace(engine.turn, 0.001)  # others may post as much at the same time, and share a turn
    try:
        packets = eio.read_payload(await _body(engine.limits, request, receive))
        for start in range(0, len(packets), _AT_ONCE):
            await pace.keep()
            peer.post(packets[start : start + _AT_ONCE])
    except (Refused, EngineError) as error:
        peer.fault(str(error))
        raise error if isinstance(error, Refused) else eio.bad_request(str(error)) from None
    finally:
        pace.end()
        peer.posting = False


async def _body(limits: Limits, request: Request, receive: Receive) -> bytes:
    limit = limits.message_size
    announced = request.headers.get("content-length", "0")
    if not announced.isdecimal() or int(announced) > limit:
        raise _too_large(limit)
    loop = asyncio.get_running_loop()
    start = loop.time()
    body = bytearray()
    while True:
        try:
            async with asyncio.timeout_at(start + limits.request_timeout + len(body) / _SLOWEST):
                event = await receive()
        except TimeoutError:
            raise Refused(408, 3, "The body comes too slowly", {"connection": "close"}) from None
        if event["type"] == "http.disconnect":
            raise eio.bad_request("The body has ended too soon")
        body += event.get("body", b"")
        if len(body) > limit:
            raise _too_large(limit)
        if not event.get("more_body", False):
            return bytes(body)


async def _websocket(engine: Engine, scope: Scope, request: Request, receive: Receive, send: Send) -> None:
    attach = engine.admit_websocket(request)
    await receive()
    await send({"type": "websocket.accept"})
    wire = AsgiWire(send, scope.get("extensions", {}).get(ABORT), engine)
    try:
        wire.reader = attach(wire)
    except Refused as refused:  # others have taken the last place meanwhile
        engine.refused(str(refused))
        await send({"type": "websocket.close", "code": _TRY_LATER, "reason": "no room"})
        return
    await wire.read(receive)


def split(scope: Scope) -> tuple[str, str]:
    """Return where the application is mounted, and the path below that; some hosts have taken the first off already."""
    path, root = str(scope["path"]), str(scope.get("root_path", "")).rstrip("/")
    return root, path.removeprefix(root) if path.startswith(f"{root}/") else path


def sender(trust: Trust, scope: Scope) -> tuple[str, bool]:
    """Return the address of a request's client, and whether it came over TLS."""
    client = scope.get("client")
    secure = scope.get("scheme") in ("https", "wss")
    return trust.client(str(client[0]) if client else "", secure, scope["headers"])


def _request(trust: Trust, scope: Scope) -> Request:
    address, secure = sender(trust, scope)
    transport: Transport = "websocket" if scope["type"] == "websocket" else "polling"
    query = scope["query_string"].decode("latin-1")
    return Request(query, scope["headers"], address=address, secure=secure, transport=transport)


def _preflight(request: Request) -> dict[str, str]:
    headers = {"access-control-allow-methods": "OPTIONS, GET, POST"}
    asked = request.headers.get("access-control-request-headers")
    return headers if asked is None else {**headers, "access-control-allow-headers": asked}


def _too_large(limit: int) -> Refused:
    return Refused(413, 3, f"A body may have {limit} bytes (limits.message_size)", {"connection": "close"})


async def _hung_up(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def answer(scope: Scope, send: Send, refused: Refused) -> None:
    """Answer a request that is not served."""
    if scope["type"] == "http":
        await respond(send, refused.status, refused.body, _JSON, refused.headers)
    elif "websocket.http.response" in scope.get("extensions", {}):
        await respond(send, refused.status, refused.body, _JSON, refused.headers, prefix="websocket.")
    else:
        await send({"type": "websocket.close", "code": 1008})


async def respond(
    send: Send, status: int, body: bytes, kind: str, headers: Mapping[str, str], prefix: str = ""
) -> None:
    """Answer a request, with what no cache is to keep."""
    lines = {"content-type": kind, "content-length": str(len(body)), "cache-control": "no-store", **headers}
    await send(
        {
            "type": f"{prefix}http.response.start",
            "status": status,
            "headers": [(name.encode("latin-1"), value.encode("latin-1")) for name, value in lines.items()],
        }
    )
    await send({"type": f"{prefix}http.response.body", "body": body})
