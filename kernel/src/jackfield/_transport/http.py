"""uvicorn's HTTP, with limits on what comes before a request is known: its head must be small and come soon.

Made for whichever parser is installed; httptools has no limits of its own, h11 has one for the size.
"""

from __future__ import annotations

import asyncio
import logging
import resource
from importlib.util import find_spec
from typing import Any, Final

from jackfield._settings import Limits
from jackfield._throttle import Throttle

_REASONS: Final = {408: "Request Timeout", 431: "Request Header Fields Too Large", 503: "Service Unavailable"}

_scarcity: Final = Throttle()
log: Final = logging.getLogger("jackfield.transport")


def implementation() -> str:
    """Return the name of the HTTP parser that is used."""
    return "httptools" if find_spec("httptools") else "h11"


def make_protocol(limits: Limits, reserve: int = 0) -> type[asyncio.Protocol]:
    """Return the protocol class for uvicorn.

    Args:
        limits: The limits of the protocol.
        reserve: How many of the process's file descriptors its connections leave to others.
    """
    return _httptools(limits, reserve) if implementation() == "httptools" else _h11(limits, reserve)


def _refuse(transport: asyncio.Transport, status: int, more: str = "") -> None:
    if not transport.is_closing():
        transport.write(
            f"HTTP/1.1 {status} {_REASONS[status]}\r\n{more}content-length: 0\r\nconnection: close\r\n\r\n".encode()
        )
        transport.close()


def _is_too_much(transport: asyncio.Transport, reserve: int) -> bool:
    """Refuse a connection for which there is no file descriptor to spare; tell whether it was."""
    if not reserve:
        return False
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    # The kernel gives out the lowest number that is free.
    if most == resource.RLIM_INFINITY or transport.get_extra_info("socket").fileno() < most - reserve:
        return False
    if _scarcity.ready(None):
        log.warning("connections are refused: the process may have %d file descriptors (ulimit -n)", most)
    _refuse(transport, 503, "retry-after: 5\r\n")
    return True


class _HeadTimer:
    """Closes a connection whose request does not begin to make sense in time."""

    def __init__(self, transport: asyncio.Transport, seconds: float) -> None:
        self._handle = asyncio.get_running_loop().call_later(seconds, _refuse, transport, 408)

    def stop(self) -> None:
        """Take note that the head is complete, or the connection gone."""
        self._handle.cancel()


def _httptools(limits: Limits, reserve: int) -> type[asyncio.Protocol]:
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol  # noqa: PLC0415 - an optional parser

    class HttpProtocol(HttpToolsProtocol):
        head_timer: _HeadTimer | None = None
        head_size = 0
        in_head = True

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            if not _is_too_much(transport, reserve):
                self._expect_head()

        def connection_lost(self, exc: Exception | None) -> None:
            self._head_complete()
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            self.head_size += len(data)
            super().data_received(data)
            if self.in_head and self.head_size > limits.header_size:
                _refuse(self.transport, 431)

        def on_message_begin(self) -> None:
            self._expect_head()
            super().on_message_begin()

        def on_headers_complete(self) -> None:
            size = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
            if len(self.headers) > limits.headers or size > limits.header_size:
                _refuse(self.transport, 431)
                raise ValueError("the head is too large")  # ends the parser; nothing more is answered
            self._head_complete()
            super().on_headers_complete()

        def on_response_complete(self) -> None:
            self.head_size = 0
            super().on_response_complete()

        def send_400_response(self, msg: str) -> None:
            if not self.transport.is_closing():
                super().send_400_response(msg)

        def _expect_head(self) -> None:
            self.in_head = True
            if self.head_timer is None:
                self.head_timer = _HeadTimer(self.transport, limits.request_timeout)

        def _head_complete(self) -> None:
            self.in_head = False
            self.head_size = 0
            if self.head_timer is not None:
                self.head_timer.stop()
                self.head_timer = None

    return HttpProtocol


def _h11(limits: Limits, reserve: int) -> type[asyncio.Protocol]:
    import h11  # noqa: PLC0415 - uvicorn's own, where there is no other parser
    from uvicorn.protocols.http.h11_impl import H11Protocol  # noqa: PLC0415 - an optional parser

    class HttpProtocol(H11Protocol):
        head_timer: _HeadTimer | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            if not _is_too_much(transport, reserve):
                self.head_timer = _HeadTimer(self.transport, limits.request_timeout)

        def connection_lost(self, exc: Exception | None) -> None:
            self._head_complete()
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            if self.conn.their_state is h11.IDLE and self.head_timer is None:
                self.head_timer = _HeadTimer(self.transport, limits.request_timeout)
            super().data_received(data)
            if self.conn.their_state is not h11.IDLE:
                self._head_complete()

        def _head_complete(self) -> None:
            if self.head_timer is not None:
                self.head_timer.stop()
                self.head_timer = None

    return HttpProtocol
