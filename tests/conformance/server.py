"""Our transport with the handlers and settings that the public test suites ask for, and no kernel behind it.

`python -m tests.conformance.server --port 3000` prints where it listens, and serves until it is interrupted: Engine.IO
at `/engine.io`, Socket.IO at `/socket.io`.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
from typing import Any, Literal

from jackfield._settings import Limits, ServerSettings
from jackfield._transport.border import Border
from jackfield._transport.engine import Engine
from jackfield._transport.peer import Peer
from jackfield._transport.server import HttpServer

CARRIERS = ("picows", "asgi")

PING_INTERVAL = 0.3
PING_TIMEOUT = 0.2
MAX_PAYLOAD = 1_000_000
CONNECT_TIMEOUT = 1.0


class Echo:
    """Sends every message of one Engine.IO client back."""

    def __init__(self, engine: Engine, peer: Peer) -> None:
        self._peer = peer
        engine.settled(peer)

    def text(self, data: bytes) -> None:
        self._peer.send(data)

    def buffer(self, data: bytes) -> None:
        self._peer.send_buffer(data)

    def closed(self, reason: str) -> None:
        """There is nothing to end."""


def echoing_engine(settings: ServerSettings, limits: Limits) -> Engine:
    """Return an Engine.IO server that sends every message back."""
    engine = Engine(settings, limits)
    engine.receiver = lambda peer: Echo(engine, peer)
    return engine


def echoing_border(settings: ServerSettings, limits: Limits) -> Border:
    """Return a Socket.IO server that shows clients their `auth`, in two namespaces, and echoes in the main one."""
    sio = Border(settings, limits, namespaces=["/", "/custom"])
    sio.always_connect = True  # clients are let in before the handlers run, which emit to them

    # What is sent in one turn of the event loop goes out in one write, and the suite listens for one message at a time:
    # it would miss the second. So the answer to CONNECT gets a turn of its own.

    async def show_auth(sid: str, environ: Any, auth: Any) -> None:
        await asyncio.sleep(0)
        await sio.emit("auth", auth or {}, to=sid)

    async def show_auth_there(sid: str, environ: Any, auth: Any) -> None:
        await asyncio.sleep(0)
        await sio.emit("auth", auth or {}, to=sid, namespace="/custom")

    async def send_back(sid: str, *arguments: Any) -> None:
        await sio.emit("message-back", arguments, to=sid)

    async def acknowledge(sid: str, *arguments: Any) -> tuple[Any, ...]:
        return arguments

    sio.on("connect", show_auth)
    sio.on("connect", show_auth_there, namespace="/custom")
    sio.on("message", send_back)
    sio.on("message-with-ack", acknowledge)
    return sio


async def serve(websocket: Literal["picows", "asgi"], port: int) -> None:
    """Serve both protocols until the process is interrupted."""
    engine_io = ServerSettings(
        port=port,
        path="/engine.io",
        websocket=websocket,
        cors_origins=("*",),
        ping_interval=PING_INTERVAL,
        ping_timeout=PING_TIMEOUT,
    )
    socket_io = engine_io.model_copy(update={"path": "/socket.io"})
    limits = Limits(message_size=MAX_PAYLOAD, connect_timeout=CONNECT_TIMEOUT)
    server = HttpServer(engine_io, limits, echoing_engine(engine_io, limits), echoing_border(socket_io, limits).eio)
    interrupted = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError):  # Windows
            asyncio.get_running_loop().add_signal_handler(number, interrupted.set)
    await server.start()
    print(f"listening on {server.url}", flush=True)
    await interrupted.wait()
    await server.stop()


def main() -> None:
    """Read the command line, and serve."""
    parser = argparse.ArgumentParser(prog="python -m tests.conformance.server", description=__doc__)
    parser.add_argument("--websocket", choices=CARRIERS, default="picows")
    parser.add_argument("--port", type=int, default=3000)
    options = parser.parse_args()
    asyncio.run(serve(options.websocket, options.port))


if __name__ == "__main__":
    main()
