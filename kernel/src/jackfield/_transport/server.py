"""uvicorn, with our hand on its protocols, its start and its stop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from typing import Any, Final, Literal, cast

import uvicorn
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from jackfield._errors import StartError
from jackfield._limited import first
from jackfield._route import AsgiApp
from jackfield._settings import Limits, ServerSettings
from jackfield._throttle import QUIET
from jackfield._transport import http, tls
from jackfield._transport.asgi import ABORT, Application
from jackfield._transport.engine import Engine
from jackfield._transport.listener import address, listen

BACKLOG: Final = 2048
"""Connections that wait to be accepted; the system may allow fewer."""
_RESERVE: Final = 32
"""File descriptors that clients leave to the admin listener and to plugins."""
_GOODBYE: Final = 2
"""Seconds that connections have to close, once all calls have ended, before they are cut off."""


class HttpServer:
    """The listening socket and what is behind it.

    Args:
        settings: Where to listen.
        limits: The limits of the protocol.
        engines: The Engine.IO servers, each on the path of its own settings.
        listener: A socket that listens already, in the place of one that the settings describe.
        beside: Serves the paths that are no engine's.

    Raises:
        StartError: It cannot listen, or not with this certificate.
    """

    def __init__(
        self,
        settings: ServerSettings,
        limits: Limits,
        *engines: Engine,
        listener: socket.socket | None = None,
        beside: AsgiApp | None = None,
    ) -> None:
        logging.getLogger("uvicorn.error").addFilter(QUIET)
        self._settings = settings
        certificate, key = settings.tls_certificate, settings.tls_key
        context = None if certificate is None else tls.server_context(certificate, key)
        self._socket = listen(settings) if listener is None else listener
        self._task: asyncio.Task[None] | None = None
        self._server = _Server(
            uvicorn.Config(
                Application(engines, beside),
                interface="asgi3",
                loop="none",
                http=http.make_protocol(limits, _RESERVE if engines else 0),
                ws=_websocket_protocol(settings, limits, engines),
                ws_max_size=limits.message_size,
                ws_ping_interval=None,  # Engine.IO has pings of its own
                ws_per_message_deflate=False,
                h11_max_incomplete_event_size=limits.header_size,
                ssl_context_factory=None if context is None else lambda *_: context,
                lifespan="off",
                log_config=None,
                access_log=False,  # the path holds session ids, which are secrets
                proxy_headers=False,  # server.trusted_proxies says whose count
                server_header=False,
                date_header=False,
                backlog=BACKLOG,
                timeout_graceful_shutdown=_GOODBYE,
            )
        )
        self._server.config.load()

    @property
    def url(self) -> str:
        """Where clients connect; the port is the real one, whatever was asked for."""
        return address(self._socket, tls=self._settings.tls_certificate is not None)

    async def start(self) -> None:
        """Accept connections; returns when the server does."""
        self._task = asyncio.get_running_loop().create_task(self._server.serve([self._socket]), name="http")
        await first(self._task, self._server.listening.wait())
        if self._task.done():
            self._task.result()

    def stop_listening(self) -> None:
        """Accept no more connections; those that are open stay so."""
        for server in self._server.servers:
            server.close()

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


class _AsgiProtocol(WebSocketsSansIOProtocol):
    """uvicorn's websocket: fragments are counted, who is closed is cut off in the end, and a refusal is sent."""

    max_fragments: int
    cut_off: asyncio.TimerHandle | None = None

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.handshake_exc is not None and not self.transport.is_closing():
            self.transport.write(b"".join(self.conn.data_to_send()))
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.frames = []
        if self.cut_off is not None:
            self.cut_off.cancel()

    def handle_parser_exception(self) -> None:
        super().handle_parser_exception()
        if self.cut_off is None:
            self.cut_off = self.loop.call_later(_GOODBYE, self.transport.abort)

    def handle_connect(self, event: Any) -> None:
        super().handle_connect(event)
        if hasattr(self, "scope"):
            cast(dict[str, Any], self.scope["extensions"])[ABORT] = self.transport.abort

    def handle_cont(self, event: Any) -> None:
        if self.close_sent:
            return
        if len(self.frames) >= self.max_fragments:
            self.frames = []
            self.conn.fail(1008, "too many fragments")
            self.handle_parser_exception()
            return
        super().handle_cont(event)


def implementations(setting: Literal["auto", "picows", "asgi"] = "auto") -> dict[str, str]:
    """Return which implementations are live: `websocket`, `http`, `loop`."""
    return {
        "websocket": "picows" if _is_fast(setting) else "asgi",
        "http": http.implementation(),
        "loop": "uvloop" if find_spec("uvloop") else "asyncio",
    }


def _is_fast(setting: Literal["auto", "picows", "asgi"]) -> bool:
    if setting == "auto":
        return find_spec("picows") is not None
    return setting == "picows"


def _websocket_protocol(settings: ServerSettings, limits: Limits, engines: Sequence[Engine]) -> Any:
    class AsgiProtocol(_AsgiProtocol):
        max_fragments = limits.fragments

    if not _is_fast(settings.websocket):
        return AsgiProtocol
    try:
        from jackfield._transport.door import Door  # noqa: PLC0415 - picows may be missing
    except ImportError:
        raise StartError(["picows is not installed: pip install picows (server.websocket)"]) from None
    by_path = {engine.settings.path: engine for engine in engines}

    def make(config: uvicorn.Config, server_state: Any, app_state: dict[str, Any]) -> Door:
        return Door(by_path, lambda: AsgiProtocol(config, server_state, app_state), server_state.connections)

    return make
