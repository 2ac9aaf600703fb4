"""What the kernel uses of python-socketio and engineio without having been promised it.

A release that moves any of this fails here, with the name of what has moved, rather than in production. The
names are those of `_transport/border.py` and `_transport/websocket.py`; a new one there needs a line here.
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
import engineio.exceptions
import engineio.packet
import engineio.payload
import pytest
import socketio
import uvicorn

from jackfield import Call, Service
from jackfield._settings import Limits, ServerSettings
from jackfield._transport import border, websocket
from jackfield._transport.border import Border
from tests.interop.inside import listening
from tests.support.client import connected
from tests.support.dispatching import make_dispatcher

SCOPE: dict[str, Any] = {"type": "http", "method": "GET", "path": "/socket.io/", "query_string": b"", "headers": []}

CALLS: list[tuple[Callable[..., Any], tuple[object, ...], dict[str, object], bool]] = [
    (socketio.AsyncServer._handle_eio_connect, ("self", "sid", {}), {}, True),
    (socketio.AsyncServer._handle_eio_message, ("self", "sid", "2[]"), {}, True),
    (socketio.AsyncServer._handle_eio_disconnect, ("self", "sid", "reason"), {}, True),
    (socketio.AsyncServer.shutdown, ("self",), {}, True),
    (socketio.AsyncManager.connect, ("self", "sid", "/"), {}, True),
    (socketio.AsyncManager.disconnect, ("self", "sid", "/"), {"ignore_queue": True}, True),
    (engineio.AsyncServer.handle_request, ("self", {}, None, None), {}, True),
    (engineio.AsyncServer.create_queue, ("self",), {}, False),
    (engineio.AsyncServer.generate_id, ("self",), {}, False),
    (engineio.AsyncServer._log_error_once, ("self", "message", "key"), {}, False),
    (engineio.async_socket.AsyncSocket.close, ("self",), {"wait": False}, True),
    (engineio.async_socket.AsyncSocket.poll, ("self",), {}, True),
    (engineio.async_socket.AsyncSocket._websocket_handler, ("self", "ws"), {}, True),
    (engineio.async_drivers.asgi.WebSocket.__init__, ("self", "handler", "server"), {}, False),
    (engineio.async_drivers.asgi.WebSocket.__call__, ("self", {}), {}, True),
    (engineio.async_drivers.asgi.WebSocket.close, ("self",), {}, True),
    (engineio.packet.Packet.__init__, ("self", engineio.packet.MESSAGE, "text"), {}, False),
    (uvicorn.Server.startup, ("self",), {"sockets": None}, True),
    (uvicorn.Server.capture_signals, ("self",), {}, False),
    (uvicorn.Server.serve, ("self", []), {}, True),
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


@pytest.mark.parametrize("name", ["_handle_eio_connect", "_handle_eio_message", "_handle_eio_disconnect"])
async def test_engineio_calls_what_the_border_overrides(server: Border, name: str) -> None:
    """python-socketio registers these methods for Engine.IO's events, so that ours are called in their place."""
    event = name.removeprefix("_handle_eio_")
    assert getattr(Border, name) is not getattr(socketio.AsyncServer, name)
    assert server.eio.handlers[event] == getattr(server, name)
    ours, theirs = inspect.signature(getattr(Border, name)), inspect.signature(getattr(socketio.AsyncServer, name))
    assert list(ours.parameters) == list(theirs.parameters)


async def test_options_reach_engineio(server: Border) -> None:
    """What the configuration says is what Engine.IO goes by."""
    eio = server.eio
    assert eio.async_mode == "asgi"
    assert (eio.max_http_buffer_size, eio.ping_interval, eio.ping_timeout) == (1234, 25.0, 20.0)
    assert eio.transports == ["polling", "websocket"]
    assert (eio.cors_allowed_origins, eio.cors_credentials) == (server._allows_origin, True)
    assert server.namespaces == ["/"]
    assert eio.sockets == {}
    assert server.environ == {}
    assert server.reason.CLIENT_DISCONNECT == "client disconnect"


async def test_origins_are_asked_with_the_request(server: Border, monkeypatch: pytest.MonkeyPatch) -> None:
    """Engine.IO asks a function about an origin, and goes by its answer."""
    asked: list[tuple[object, ...]] = []

    def allowed(*arguments: object) -> bool:
        asked.append(arguments)
        return False

    monkeypatch.setattr(server.eio, "cors_allowed_origins", allowed)
    environ = {"HTTP_ORIGIN": "https://evil.example"}
    assert server.eio._cors_allowed_origins(environ) == []
    assert asked == [("https://evil.example", environ)]


async def test_a_session_is_what_it_was(server: Border) -> None:
    """A session knows whether it is closed and what carries it, and its queue is made by `create_queue`."""
    session = engineio.async_socket.AsyncSocket(server.eio, "sid")
    assert (session.closed, session.closing, session.upgraded, session.upgrading) == (False, False, False, False)
    assert isinstance(session.queue, websocket.Outbox)
    assert session.sid == "sid"


async def test_closing_a_session_tells_of_it_first(server: Border, monkeypatch: pytest.MonkeyPatch) -> None:
    """`close` triggers `disconnect` with the session still there, then queues a CLOSE, and ends what is written."""
    session = engineio.async_socket.AsyncSocket(server.eio, "sid")
    server.eio.sockets["sid"] = session
    told: list[tuple[object, ...]] = []

    async def disconnected(sid: str, reason: str) -> None:
        told.append((sid, reason, session.closed))

    monkeypatch.setitem(server.eio.handlers, "disconnect", disconnected)
    await websocket.close(session, 4000)
    assert told == [("sid", "server disconnect", False)]
    assert session.closed
    assert [packet.packet_type for packet in await session.poll()] == [engineio.packet.CLOSE]
    assert await session.poll() == []


@pytest.mark.parametrize(
    ("waiting", "portions"),
    [(3, [3]), (16, [16]), (17, [16, 1]), (50, [16, 16, 16, 2])],
)
async def test_a_poll_takes_what_stock_clients_read(server: Border, waiting: int, portions: list[int]) -> None:
    """`poll` takes packets until its queue says that there is none, which ours does after sixteen."""
    session = engineio.async_socket.AsyncSocket(server.eio, "sid")
    packets = [engineio.packet.Packet(engineio.packet.MESSAGE, str(number)) for number in range(waiting)]
    for packet in packets:
        session.queue.put_nowait(packet)
    polls = [await session.poll() for _ in portions]
    assert [len(poll) for poll in polls] == portions
    assert [packet for poll in polls for packet in poll] == packets
    assert session.queue.empty()


async def test_the_last_poll_takes_everything(server: Border) -> None:
    """Once a session ends, there is no later poll for what is left over."""
    session = engineio.async_socket.AsyncSocket(server.eio, "sid")
    for number in range(40):
        session.queue.put_nowait(engineio.packet.Packet(engineio.packet.MESSAGE, str(number)))
    session.queue.put_nowait(None)
    assert len(await session.poll()) == 40
    assert await session.poll() == []


async def test_stock_clients_read_sixteen_packets() -> None:
    """The number is that of python-engineio, unless a server in this process has raised it."""
    source = inspect.getsource(engineio.payload)
    assert f"max_decode_packets = {websocket._PACKETS_PER_POLL}\n" in source


async def test_a_payload_has_a_limit_of_packets() -> None:
    """What the limit is kept in is a class attribute, and past it nothing is decoded."""

    class Small(engineio.payload.Payload):  # type: ignore[misc]  # engineio is untyped
        max_decode_packets = 2

    assert engineio.payload.Payload.max_decode_packets >= 16
    assert [packet.data for packet in Small(encoded_payload="4a\x1e4b").packets] == ["a", "b"]
    with pytest.raises(ValueError, match="Too many packets"):
        Small(encoded_payload="4a\x1e4b\x1e4c")


async def test_packets_are_encoded_by_their_type() -> None:
    """A MESSAGE is text with its number, or bytes as they are."""
    message, noop = engineio.packet.MESSAGE, engineio.packet.NOOP
    assert engineio.packet.Packet(message, "x").encode() == "4x"
    assert engineio.packet.Packet(message, b"x").encode() == b"x"
    assert engineio.packet.Packet(message, b"x").encode(b64=True) == "beA=="
    assert engineio.packet.Packet(noop).encode() == "6"


async def test_the_websocket_class_is_taken_from_the_server(server: Border) -> None:
    """A session makes its websocket from `_async`, with a method of its own, by which ours finds the session."""
    session = engineio.async_socket.AsyncSocket(server.eio, "sid")
    made: list[tuple[object, ...]] = []

    def make(*arguments: object) -> Callable[[object], Any]:
        made.append(arguments)
        return lambda environ: asyncio.sleep(0, environ)

    assert server.eio._async["websocket"] is websocket.WebSocket
    server.eio._async["websocket"] = make
    assert await session._upgrade_websocket({"a": 1}) == {"a": 1}
    ((handler, eio),) = made
    assert getattr(handler, "__self__", None) is session
    assert eio is server.eio


async def test_a_websocket_keeps_what_it_is_made_with() -> None:
    """The base class keeps the handler and ASGI's `send`, and says `websocket.close` when it closes."""
    sent: list[dict[str, object]] = []

    async def send(message: dict[str, object]) -> None:
        sent.append(message)

    async def handler(socket: engineio.async_drivers.asgi.WebSocket) -> None:
        await socket.send("x")
        await socket.close()

    socket = engineio.async_drivers.asgi.WebSocket(handler, None)
    await socket({"asgi.receive": None, "asgi.send": send})
    assert socket.handler is handler
    assert sent == [
        {"type": "websocket.accept"},
        {"type": "websocket.send", "bytes": None, "text": "x"},
        {"type": "websocket.close"},
    ]


async def test_the_request_carries_its_asgi_scope() -> None:
    """The environment of a session holds the scope, from which the handshake is read."""

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": b""}

    environ = await engineio.async_drivers.asgi.translate_request(SCOPE, receive, None)
    assert environ["asgi.scope"] is SCOPE


async def test_the_manager_names_clients(server: Border) -> None:
    """`connect` gives a client its public id and puts it into the namespace's room; `disconnect` takes it out."""
    await socketio.AsyncServer._handle_eio_connect(server, "eio", {"a": 1})
    assert server.environ == {"eio": {"a": 1}}
    sid = await server.manager.connect("eio", "/")
    assert isinstance(sid, str)
    assert sid != "eio"
    assert list(server.manager.get_participants("/", None)) == [(sid, "eio")]
    await server.manager.disconnect(sid, "/", ignore_queue=True)
    assert list(server.manager.get_participants("/", None)) == []


def test_uvicorn_has_the_implementation_that_is_asked_for() -> None:
    """Websockets are served by the sans-I/O implementation, and a server ends by a flag."""
    assert "websockets-sansio" in uvicorn.config.WS_PROTOCOLS
    assert uvicorn.Server(uvicorn.Config("nowhere")).should_exit is False


def test_no_other_seam_is_used() -> None:
    """Whatever the border touches of engineio's server and sessions is named in this file."""
    text = "".join(Path(str(module.__file__)).read_text(encoding="utf-8") for module in (border, websocket))
    used = set(re.findall(r"\b(?:eio|socket|session|manager)\.([a-z_]+)\b", text))
    ours = {"session", "receive", "refuse", "client", "close_code"}
    here = Path(__file__).read_text(encoding="utf-8")
    assert {name for name in used - ours if not re.search(rf"\b{name}\b", here)} == set()


# ------------------------------------------------------------------- python-socketio beside jackfield


def _globals() -> dict[str, object]:
    return {
        "websocket": engineio.async_drivers.asgi._async["websocket"],
        "engineio's json": engineio.packet.Packet.json,
        "socketio's json": socketio.packet.Packet.json,
        "queue": engineio.AsyncServer.create_queue,
        "session": engineio.async_socket.AsyncSocket.__dict__.copy(),
        "server": {name: value for name, value in vars(socketio.AsyncServer).items() if callable(value)},
        "loggers": [logging.getLogger(name).level for name in ("socketio", "socketio.server", "engineio.server")],
        "filters": [logging.getLogger(name).filters for name in ("socketio.server", "engineio.server")],
    }


def _service() -> Service:
    service = Service("api.here")

    @service.function
    async def hello(call: Call, data: str) -> str:
        return f"jackfield says {data}"

    return service


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
        async with listening(make_dispatcher(_service())) as inside, connected(inside.url, *transports) as client:
            assert await client.call("api.here.hello", "x") == {"data": "jackfield says x"}
            assert await raw.send(b"\x00", event="hello") == "python-socketio says b'\\x00'"
            assert await raw.next("news") == b"\x00"
            assert client.received == {}
        assert await raw.send("y", event="hello") == "python-socketio says y"
        assert await raw.next("news") == "y"
        assert _globals() == before


async def test_the_one_thing_that_is_set_for_the_process() -> None:
    """engineio keeps the packets that a request may hold in a class attribute; ours raises it, and nothing lower."""
    Border(ServerSettings(), Limits())
    assert engineio.payload.Payload.max_decode_packets == border._PACKETS_PER_POST >= 16
