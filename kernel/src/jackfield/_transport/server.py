"""uvicorn, with our hand on its start and its stop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Final

import uvicorn

from jackfield._errors import StartError
from jackfield._settings import Limits, ServerSettings
from jackfield._throttle import QUIET
from jackfield._transport.border import Border

_BACKLOG: Final = 2048
_GOODBYE: Final = 2
"""Seconds that connections have to close, once all calls have ended, before they are cut off."""


class HttpServer:
    """The listening socket and what is behind it.

    Args:
        settings: Where to listen.
        limits: The limits of the protocol.
        border: The Socket.IO server.
    """

    def __init__(self, settings: ServerSettings, limits: Limits, border: Border) -> None:
        logging.getLogger("uvicorn.error").addFilter(QUIET)
        self._sockets = _listen(settings)
        self._task: asyncio.Task[None] | None = None
        self._server = _Server(
            uvicorn.Config(
                border.app,
                interface="asgi3",
                loop="none",
                http="auto",
                ws="websockets-sansio",
                ws_max_size=limits.message_size,
                ws_ping_interval=None,  # Engine.IO has pings of its own
                ws_per_message_deflate=False,
                lifespan="off",
                log_config=None,
                access_log=False,  # the path holds session ids, which are secrets
                server_header=False,
                date_header=False,
                backlog=_BACKLOG,
                timeout_graceful_shutdown=_GOODBYE,
            )
        )

    @property
    def url(self) -> str:
        """Where clients connect; the port is the real one, whatever was asked for."""
        host, port = self._sockets[0].getsockname()[:2]
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    async def start(self) -> None:
        """Accept connections; returns when the server does."""
        self._task = asyncio.get_running_loop().create_task(self._server.serve(self._sockets), name="http")
        listening = asyncio.ensure_future(self._server.listening.wait())
        await asyncio.wait([self._task, listening], return_when=asyncio.FIRST_COMPLETED)
        listening.cancel()
        if self._task.done():
            self._task.result()

    async def stop(self) -> None:
        """Close every connection, websockets with 1012, and return when that is done."""
        self._server.should_exit = True
        await self.ended()

    async def ended(self) -> None:
        """Return when the server has ended, which it does not do by itself unless something is wrong."""
        if self._task is not None:
            await asyncio.shield(self._task)


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to the kernel: uvicorn would raise them anew after a graceful stop."""
        yield


def implementations() -> dict[str, str]:
    """Return which implementations are live: `websocket`, `http`, `loop`."""
    return {
        "websocket": "websockets",
        "http": "httptools" if find_spec("httptools") else "h11",
        "loop": "uvloop" if find_spec("uvloop") else "asyncio",
    }


def _listen(settings: ServerSettings) -> list[socket.socket]:
    where = f"{settings.host}:{settings.port}"
    try:
        found = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise StartError([f"cannot listen on {where}: {error.strerror} (server.host)"]) from None
    family, _, _, _, address = found[0]
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(address)
    except OSError as error:
        listener.close()
        raise StartError([f"cannot listen on {where}: {error.strerror} (server.host, server.port)"]) from None
    listener.setblocking(False)
    return [listener]
