"""What the kernel uses of python-socketio, uvicorn and picows without having been promised it.

A release that moves any of this fails here, with the name of what has moved, rather than in production. The names
are those of `_transport/`: `border`, `namespaces` and `rooms` touch python-socketio, `door` and `fast` touch
picows, `http` and `server` touch uvicorn; a new one there needs a line here.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import engineio
import engineio.async_drivers.asgi
import engineio.async_socket
import engineio.packet
import engineio.payload
import pytest
import socketio
import uvicorn
from picows import WSListener
from picows.picows import WSProtocol  # type: ignore[attr-defined]  # private
from socketio.async_pubsub_manager import AsyncPubSubManager
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from jackfield._settings import Limits, ServerSettings
from jackfield._transport import border, door, eio, namespaces, peer, rooms
from jackfield._transport.border import Border
from jackfield._transport.engine import Engine
from jackfield._transport.rooms import LocalDelivery, local
from tests.interop.inside import greeter, listening
from tests.support.client import connected
from tests.support.dispatching import make_dispatcher

CALLS: list[tuple[Callable[..., Any], tuple[object, ...], dict[str, object], bool]] = [
    (socketio.AsyncServer._handle_connect, ("self", "eio_sid", "/", {}), {}, True),
    (socketio.AsyncServer._handle_disconnect, ("self", "eio_sid", "/", "reason"), {}, True),
    (socketio.AsyncServer._handle_event, ("self", "eio_sid", "/", 1, ["name"]), {}, True),
    (socketio.AsyncServer._handle_ack, ("self", "eio_sid", "/", 1, []), {}, True),
    (socketio.AsyncServer._send_packet, ("self", "eio_sid", "packet"), {}, True),
    (socketio.AsyncServer.shutdown, ("self",), {}, True),
    (socketio.AsyncServer._engineio_server_class, ("self",), {}, False),
    (socketio.AsyncServer.instrument, ("self",), {}, False),
    (socketio.AsyncManager.initialize, ("self",), {}, False),
    (socketio.AsyncManager.set_server, ("self", "server"), {}, False),
    (socketio.AsyncManager.is_sid_room, ("self", "/", "room"), {}, False),
    (AsyncPubSubManager._publish, ("self", {}), {}, True),
    (AsyncPubSubManager._handle_emit, ("self", {}), {}, True),
    (socketio.AsyncServer.start_background_task, ("self", print), {}, False),
    (socketio.AsyncServer.disconnect, ("self", "sid", "/", True), {}, True),
    (socketio.AsyncManager.connect, ("self", "eio_sid", "/"), {}, True),
    (socketio.AsyncManager.disconnect, ("self", "sid", "/"), {"ignore_queue": True}, True),
    (socketio.AsyncManager.enter_room, ("self", "sid", "/", "room"), {}, True),
    (socketio.AsyncManager.leave_room, ("self", "sid", "/", "room"), {}, True),
    (socketio.AsyncManager.trigger_callback, ("self", "sid", 1, []), {}, True),
    (socketio.AsyncManager.get_participants, ("self", "/", None), {}, False),
    (socketio.AsyncManager.eio_sid_from_sid, ("self", "sid", "/"), {}, False),
    (socketio.AsyncManager.sid_from_eio_sid, ("self", "eio_sid", "/"), {}, False),
    (socketio.AsyncManager.basic_enter_room, ("self", "sid", "/", "room"), {"eio_sid": None}, False),
    (socketio.AsyncManager.basic_leave_room, ("self", "sid", "/", "room"), {}, False),
    (socketio.AsyncManager.basic_disconnect, ("self", "sid", "/"), {}, False),
    (socketio.AsyncManager._generate_ack_id, ("self", "sid", print), {}, False),
    (uvicorn.Server.startup, ("self",), {"sockets": None}, True),
    (uvicorn.Server.capture_signals, ("self",), {}, False),
    (uvicorn.Server.serve, ("self", []), {}, True),
    (WebSocketsSansIOProtocol.handle_connect, ("self", "event"), {}, False),
    (WebSocketsSansIOProtocol.handle_cont, ("self", "event"), {}, False),
    (WebSocketsSansIOProtocol.handle_parser_exception, ("self",), {}, False),
    (HttpToolsProtocol.on_message_begin, ("self",), {}, False),
    (HttpToolsProtocol.on_headers_complete, ("self",), {}, False),
    (HttpToolsProtocol.on_response_complete, ("self",), {}, False),
    (HttpToolsProtocol.send_400_response, ("self", "message"), {}, False),
    (H11Protocol.data_received, ("self", b""), {}, False),
]
"""Function, arguments as the kernel or its base class gives them, and whether it is a coroutine function."""


@pytest.fixture(name="server")
def _server() -> Border:
    return Border(ServerSettings(cors_origins=("https://good.example",)), Limits(message_size=1234))


@pytest.mark.parametrize(
    ("function", "arguments", "named", "is_async"), CALLS, ids=[function.__qualname__ for function, *_ in CALLS]
)
def test_a_function_is_called_as_before(
    function: Callable[..., Any], arguments: tuple[object, ...], named: dict[str, object], is_async: bool
) -> None:
    """Every function that is called or overridden takes the same arguments, and is awaited or not as before."""
    inspect.signature(function).bind(*arguments, **named)
    assert inspect.iscoroutinefunction(function) is is_async


# ------------------------------------------------------------------- python-socketio


def test_the_sessions_are_ours(server: Border) -> None:
    """python-socketio makes its Engine.IO server by a method, takes what that gives, and has no other."""
    assert isinstance(server.eio, Engine)
    assert server.eio.limits.message_size == 1234
    assert server.namespaces == ["/"]
    assert server.environ == {}


def test_python_socketio_asks_nothing_else_of_engineio() -> None:
    """Whatever python-socketio's server and managers call on `eio`, ours has, save what only its admin page patches."""
    calls = set()
    for module in (socketio.async_server, socketio.base_server, socketio.base_manager, socketio.async_pubsub_manager):
        calls |= set(re.findall(r"self(?:\.server)?\.eio\.(\w+)", inspect.getsource(module)))
    # `attach` is for other frameworks, and sessions that keep data are not offered.
    unused = {"attach", "get_session", "handle_request"}
    calls.discard("send_packet")  # of the manager's own broadcast, in whose place ours is
    assert "send" in calls
    assert {name for name in calls - unused if not hasattr(Engine, name)} == set()


def test_reasons_are_socketios_own() -> None:
    """A reason that python-socketio has a word for is told in that word."""
    reason = socketio.AsyncServer.reason
    assert (peer.CLIENT_LEFT, peer.SERVER_CLOSED) == (reason.CLIENT_DISCONNECT, reason.SERVER_DISCONNECT)
    assert (peer.TRANSPORT_CLOSED, peer.PING_TIMEOUT) == (reason.TRANSPORT_CLOSE, reason.PING_TIMEOUT)


def test_stock_clients_read_sixteen_packets() -> None:
    """The number is that of python-engineio, unless a server in this process has raised it."""
    assert f"max_decode_packets = {eio._PACKETS_PER_POLL}\n" in inspect.getsource(engineio.payload)


def test_the_admin_page_is_refused(server: Border) -> None:
    """It would rewrite engineio's classes, and silently show nothing."""
    with pytest.raises(NotImplementedError, match="admin page"):
        server.instrument(auth=False)


async def test_the_manager_names_clients(server: Border) -> None:
    """`connect` gives a client its public id and puts it into the namespace's room; `disconnect` takes it out."""
    sid = await server.manager.connect("eio", "/")
    assert isinstance(sid, str)
    assert sid != "eio"
    assert list(server.manager.get_participants("/", None)) == [(sid, "eio")]
    assert server.manager.rooms["/"].keys() == {None, sid}
    await server.manager.enter_room(sid, "/", "room")
    assert list(server.manager.get_participants("/", "room")) == [(sid, "eio")]
    await server.manager.disconnect(sid, "/", ignore_queue=True)
    assert list(server.manager.get_participants("/", None)) == []
    assert server.manager.rooms == {}
    assert server.manager._joined == {}


async def test_a_room_that_was_left_is_forgotten(server: Border) -> None:
    """What is remembered of a client's rooms follows python-socketio's own tables."""
    sid = await server.manager.connect("eio", "/")
    for room in ("a", "b"):
        await server.manager.enter_room(sid, "/", room)
    await server.manager.leave_room(sid, "/", "a")
    assert server.manager._joined == {("/", sid): {"b"}}
    await server.manager.close_room("b", "/")
    assert server.manager._joined == {}


@pytest.mark.parametrize("base", [socketio.AsyncManager, AsyncPubSubManager])
def test_any_manager_delivers_in_our_way(base: type[Any]) -> None:
    """A manager keeps its own methods, and what it calls of the basic manager's is ours."""

    class Theirs(base):  # type: ignore[misc]  # python-socketio is untyped
        def own(self) -> str:
            return "kept"

    manager = local(Theirs())
    assert isinstance(manager, Theirs)
    assert isinstance(manager, LocalDelivery)
    assert manager.own() == "kept"
    order = type(manager).__mro__
    assert order.index(base if base is not socketio.AsyncManager else Theirs) < order.index(LocalDelivery)
    assert order.index(LocalDelivery) < order.index(socketio.AsyncManager)


def test_no_other_seam_is_used() -> None:
    """Whatever is touched of python-socketio's server and managers is named in this file."""
    text = "".join(Path(str(m.__file__)).read_text(encoding="utf-8") for m in (border, namespaces, rooms))
    used = set(re.findall(r"\b(?:_server|server|manager|super\(\))\.((?!__)_?[a-z_]+)\b", text))
    ours = {
        "eio",
        "dispatches",
        "next_ack",
        "deliver",
        "emit",
        "limits",
        "cors_origins",
        "manager",
        "callbacks",
        "environ",
    }
    here = Path(__file__).read_text(encoding="utf-8")
    assert {name for name in used - ours if not re.search(rf"\b{name}\b", here)} == set()


def test_tables_have_the_names_that_are_used(server: Border) -> None:
    """The tables of a manager that are read or changed, and the flag that tells whether it was initialised."""
    assert server.manager.callbacks == {}
    assert server.manager.pending_connect == {}
    assert server.manager.pending_disconnect == {}
    assert server.manager.server is server
    assert server.manager_initialized is False


# ------------------------------------------------------------------- uvicorn and picows


def test_uvicorn_takes_classes_of_ours() -> None:
    """A protocol is a class, or whatever makes one, and a server ends by a flag."""
    config = uvicorn.Config("nowhere:app", http=HttpToolsProtocol, ws=WebSocketsSansIOProtocol, lifespan="off")
    assert uvicorn.Server(config).should_exit is False
    source = inspect.getsource(HttpToolsProtocol.handle_websocket_upgrade)
    for step in ("config=self.config", "connection_made(self.transport)", "data_received(", "set_protocol(protocol)"):
        assert step in source
    assert "connections" in inspect.getsource(uvicorn.server.ServerState)
    assert "connection.shutdown()" in inspect.getsource(uvicorn.Server.shutdown)


async def test_picows_takes_the_connection_of_another_server() -> None:
    """Its protocol class is made with the arguments that we give, reads a request, and tells a logger of faults."""

    class Wire(WSListener):
        connected = 0

        def on_ws_connected(self, transport: object) -> None:
            self.connected += 1

    class Transport:
        """A transport, its socket and a logger, as `fast` has them in one."""

        def __init__(self) -> None:
            self.written = b""
            self.errors = 0

        def get_extra_info(self, name: str) -> object:
            return self if name == "socket" else None

        def setsockopt(self, *option: int) -> None: ...
        def getsockopt(self, *option: int) -> int:
            return 0

        def fileno(self) -> int:
            return -1

        def get_write_buffer_size(self) -> int:
            return 1  # so that it is written by `write`

        def write(self, data: bytes) -> None:
            self.written += data

        def close(self) -> None: ...
        def isEnabledFor(self, level: int) -> bool:
            return False

        def info(self, *message: object) -> None: ...
        def error(self, *message: object) -> None:
            self.errors += 1

        debug = warning = log = info

    wire, transport = Wire(), Transport()
    protocol = door._make_protocol(wire, transport, 100)  # type: ignore[arg-type]  # a stand-in
    assert isinstance(protocol, WSProtocol)
    protocol.connection_made(transport)
    key = b"dGhlIHNhbXBsZSBub25jZQ=="
    door._feed(protocol, door._handshake({b"sec-websocket-version": b"13", b"sec-websocket-key": key}))
    assert transport.written.startswith(b"HTTP/1.1 101 ")
    assert b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in transport.written
    assert wire.connected == 1
    door._feed(protocol, b"\x81\x05hello")  # a frame without a mask
    assert transport.errors == 1
    assert b"\x03\xea" in transport.written  # close code 1002


# ------------------------------------------------------------------- python-socketio beside jackfield


def _globals() -> dict[str, object]:
    return {
        "websocket": engineio.async_drivers.asgi._async["websocket"],
        "engineio's json": engineio.packet.Packet.json,
        "socketio's json": socketio.packet.Packet.json,
        "session": engineio.async_socket.AsyncSocket.__dict__.copy(),
        "server": {name: value for name, value in vars(socketio.AsyncServer).items() if callable(value)},
        "loggers": [logging.getLogger(name).level for name in ("socketio", "socketio.server", "engineio.server")],
        "filters": [logging.getLogger(name).filters for name in ("socketio.server", "engineio.server")],
    }


@asynccontextmanager
async def _raw() -> AsyncIterator[str]:
    """A server of python-socketio's own, as it comes."""
    sio = socketio.AsyncServer(async_mode="asgi", cors_allowed_origins=[])

    @sio.on("hello")  # type: ignore[untyped-decorator]
    async def hello(sid: str, data: str) -> str:
        await sio.emit("news", data)
        return f"python-socketio says {data}"

    server = uvicorn.Server(uvicorn.Config(socketio.ASGIApp(sio), port=0, log_config=None, lifespan="off"))
    task = asyncio.create_task(server.serve())
    try:
        while not server.started:
            assert not task.done()
            await asyncio.sleep(0)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        await task
        await sio.shutdown()


@pytest.mark.parametrize("transports", [(), ("websocket",)], ids=str)
async def test_both_serve_in_one_process(transports: tuple[str, ...]) -> None:
    """A server of python-socketio's own works beside ours, and after it, as it did before."""
    async with _raw() as url, connected(url, *transports) as raw:
        before = _globals()
        async with listening(make_dispatcher(greeter())) as inside, connected(inside.url, *transports) as client:
            assert await client.call("api.here.hello", "x") == {"data": "jackfield says x"}
            assert await raw.send(b"\x00", event="hello") == "python-socketio says b'\\x00'"
            assert await raw.next("news") == b"\x00"
            assert client.received == {}
        assert await raw.send("y", event="hello") == "python-socketio says y"
        assert await raw.next("news") == "y"
        assert _globals() == before
