"""How a websocket comes to the fast carrier: uvicorn hands an upgrade request to a `Door`.

Where it is for the Socket.IO endpoint, the connection becomes a `FastWire` on picows; else uvicorn's own implementation
serves it, for whatever else is mounted.

This module is the one place that touches what picows does not promise: its protocol class, which takes the connection
of another server, and that it reports faults of the client to its logger.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from picows.picows import WSProtocol  # type: ignore[attr-defined]  # private

from jackfield._transport.eio import Refused
from jackfield._transport.engine import Engine
from jackfield._transport.fast import FastWire
from jackfield._transport.request import Request


class _Shield:
    """The transport as picows sees it: closing it is the wire's business, and its socket may be a Unix one.

    It is its own socket, whose options uvicorn has set already, and its own logger, which hears of faults only.
    """

    __slots__ = ("raw", "wire")

    def __init__(self, raw: asyncio.Transport, wire: FastWire) -> None:
        self.raw = raw
        self.wire = wire

    def get_extra_info(self, name: str) -> object:
        return self if name == "socket" else self.raw.get_extra_info(name)

    def setsockopt(self, *option: int) -> None:
        pass

    def getsockopt(self, *option: int) -> int:
        return 0

    def fileno(self) -> int:
        return int(self.raw.get_extra_info("socket").fileno())

    def get_write_buffer_size(self) -> int:
        return self.raw.get_write_buffer_size()

    def write(self, data: bytes) -> None:
        self.raw.write(data)

    def writelines(self, parts: list[bytes]) -> None:
        self.raw.writelines(parts)

    def close(self) -> None:
        # The client broke the protocol and has been told so. What it still sends is read and dropped for a moment:
        # with unread data the kernel would reset the connection, and the close code be lost.
        self.raw.set_protocol(_Deaf(self.wire))
        self.wire.cut_off_soon()

    abort = close

    def isEnabledFor(self, level: int) -> bool:
        return False

    def info(self, *message: object) -> None:
        pass

    log = debug = warning = info

    def error(self, *message: object) -> None:
        self.wire.cut_off_soon()

    exception = error


class _Deaf(asyncio.Protocol):
    """Reads on after the last word."""

    def __init__(self, wire: FastWire) -> None:
        self._wire = wire

    def connection_lost(self, exc: Exception | None) -> None:
        self._wire.on_ws_disconnected()


class Door:
    """What uvicorn makes for an upgrade request: it reads the request, and hands the connection on.

    Args:
        engines: The Engine.IO servers by their paths.
        other: Makes uvicorn's own protocol, for any other path.
        connections: What uvicorn shuts down.
    """

    def __init__(self, engines: Mapping[str, Engine], other: Callable[[], Any], connections: set[Any]) -> None:
        self._engines = engines
        self._other = other
        self._connections = connections
        self._next: Any = None
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Take the connection."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Take the request, put together by uvicorn from what it has parsed; then whatever comes before we are gone."""
        if self._next is None:
            self._open(data)
            asyncio.get_running_loop().call_soon(self._hand_on)
        elif isinstance(self._next, WSProtocol):
            _feed(self._next, data)
        else:
            self._next.data_received(data)

    def eof_received(self) -> bool:
        """Let the connection close."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Pass it on."""
        if self._next is not None:
            self._next.connection_lost(exc)

    def pause_writing(self) -> None:
        """Pass it on."""
        if self._next is not None:
            self._next.pause_writing()

    def resume_writing(self) -> None:
        """Pass it on."""
        if self._next is not None:
            self._next.resume_writing()

    def _hand_on(self) -> None:
        if self._next is not None and not self._transport.is_closing():
            self._transport.set_protocol(self._next)

    def _open(self, data: bytes) -> None:
        head, *lines = data.removesuffix(b"\r\n\r\n").split(b"\r\n")
        path, _, query = head.split(b" ")[1].decode("latin-1").partition("?")
        engine = self._engines.get(path.rstrip("/"))
        if engine is None:
            self._next = self._other()
            self._next.connection_made(self._transport)
            self._next.data_received(data)
            return
        headers = [(name.lower(), value.strip()) for name, _, value in (line.partition(b":") for line in lines)]
        peername = self._transport.get_extra_info("peername")
        address, secure = engine.trust.client(
            str(peername[0]) if isinstance(peername, tuple) else "",
            self._transport.get_extra_info("sslcontext") is not None,
            headers,
        )
        request = Request(query, headers, address=address, secure=secure, transport="websocket")
        try:
            engine.vet(request)
            attach = engine.admit_websocket(request)
        except Refused as refused:
            engine.refused(str(refused))
            _refuse(self._transport, refused)
            return
        limits = engine.limits
        wire = FastWire(
            self._transport,
            engine.turn,
            attach,
            self._connections,
            engine.traffic,
            max_size=limits.message_size,
            max_fragments=limits.fragments,
        )
        shield = _Shield(self._transport, wire)
        protocol = _make_protocol(wire, shield, limits.message_size)
        self._next = protocol
        protocol.connection_made(shield)
        # Only what the handshake itself needs: picows reads `Upgrade` and `Connection` more narrowly than browsers
        # write them, and holds every header to be UTF-8.
        _feed(protocol, _handshake(dict(headers)))


def _make_protocol(wire: FastWire, reports: _Shield, max_size: int) -> WSProtocol:
    return WSProtocol(
        None,  # host and port, of a client
        None,  # path, of a client
        False,
        lambda _: wire,
        reports,
        False,
        None,  # websocket_handshake_timeout
        False,
        0,
        0,
        1,
        True,
        max_size,
        None,  # extra_headers
        0,  # read_buffer_init_size: the least; it grows as it has to
    )


def _feed(protocol: WSProtocol, data: bytes) -> None:
    while data:
        room = protocol.get_buffer(len(data))
        part = data[: len(room)]
        room[: len(part)] = part
        protocol.buffer_updated(len(part))
        data = data[len(part) :]


def _handshake(headers: dict[bytes, bytes]) -> bytes:
    return b"".join(
        (
            b"GET / HTTP/1.1\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-version: ",
            headers.get(b"sec-websocket-version", b""),
            b"\r\nsec-websocket-key: ",
            headers.get(b"sec-websocket-key", b""),
            b"\r\n\r\n",
        )
    )


def _refuse(transport: asyncio.Transport, refused: Refused) -> None:
    lines = [
        f"HTTP/1.1 {refused.status} Refused",
        "content-type: application/json",
        f"content-length: {len(refused.body)}",
        "connection: close",
        *(f"{name}: {value}" for name, value in refused.headers.items()),
    ]
    transport.write("\r\n".join(lines).encode() + b"\r\n\r\n" + refused.body)
    transport.close()
