"""The fast carrier: picows reads the frames, we write them, and nothing stands in between.

uvicorn hands an upgrade request to a `Door`. Where it is for the Socket.IO endpoint, the connection becomes a
`FastWire` on picows; else uvicorn's own implementation serves it, for whatever else is mounted.

This module is the one place that touches what picows does not promise: its protocol class, which takes the connection
of another server, and that it reports faults of the client to its logger.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final, cast

from picows import WSFrame, WSListener, WSMsgType, WSTransport
from picows.picows import WSProtocol  # type: ignore[attr-defined]  # private

from jackfield._transport.eio import Refused
from jackfield._transport.engine import Engine
from jackfield._transport.message import SHORT, TEXT_HEADS, Message, binary_frame, close_frame, text_frame
from jackfield._transport.peer import PROTOCOL_ERROR, Reader, Wire
from jackfield._transport.request import Request

RESTART: Final = 1012
TOO_LARGE: Final = 1009
BAD_FRAME: Final = 1002
_FIRST_CODE: Final = 1000

_FRAMES_PER_WRITE: Final = 64
_LARGE: Final = 8 * 1024
_GOODBYE: Final = 2.0
"""Seconds that a client has to close its side, or to read what is left, before the connection is cut off."""

_TEXT: Final = WSMsgType.TEXT
_BINARY: Final = WSMsgType.BINARY
_CLOSE: Final = WSMsgType.CLOSE
_CONTINUATION: Final = WSMsgType.CONTINUATION

Attach = Callable[[Wire], Reader]


class FastWire(WSListener):
    """One websocket.

    Args:
        attach: Tells who reads it, once it is open.
        connections: Where it registers for the shutdown.
        max_size: Bytes of one message, in however many frames.
        max_fragments: Frames of one message.
    """

    __slots__ = (
        "_attach",
        "_closing",
        "_connections",
        "_flusher",
        "_loop",
        "_max_fragments",
        "_max_size",
        "_out",
        "_parts",
        "_raw",
        "_text_parts",
        "_timer",
        "reader",
    )

    def __init__(self, attach: Attach, connections: set[Any], *, max_size: int, max_fragments: int) -> None:
        self.reader: Reader
        self._attach = attach
        self._connections = connections
        self._max_size = max_size
        self._max_fragments = max_fragments
        self._loop = asyncio.get_running_loop()
        self._out: list[bytes] = []
        self._parts: list[bytes] | None = None
        self._text_parts = False
        self._closing = False
        self._timer: asyncio.TimerHandle | None = None
        self._raw: asyncio.Transport

    # What the session asks.

    @property
    def backlog(self) -> int:
        """Bytes that the client has not read yet."""
        return self._raw.get_write_buffer_size() + sum(map(len, self._out))

    def text(self, data: bytes) -> None:
        """Send a text message, with all others of this turn of the event loop in one write."""
        # The way of every reply: `_put(text_frame(data))`, written out.
        size = len(data)
        if size >= SHORT:
            self._put(text_frame(data))
            return
        out = self._out
        if not out:
            self._loop.call_soon(self._flush)
        out.append(TEXT_HEADS[size] + data)

    def buffer(self, data: bytes) -> None:
        """Send a binary message."""
        self._put(binary_frame(data))

    def message(self, message: Message) -> None:
        """Send a message that others get too."""
        self._put(message.frames)

    def close(self, code: int, reason: str) -> None:
        """Close with a code; the connection is cut off if the client does not follow."""
        if not self._closing:
            self._flush()
            self._closing = True
            self._raw.write(close_frame(code, reason))
            self.cut_off_soon()

    def shutdown(self) -> None:
        """Close since the server goes away; uvicorn calls this."""
        self.close(RESTART, "")

    def cut_off_soon(self) -> None:
        """Give the client a moment to close its side."""
        self._closing = True
        if self._timer is None:
            self._timer = self._loop.call_later(_GOODBYE, self._raw.abort)

    # What picows tells.

    def on_ws_connected(self, transport: WSTransport) -> None:
        """Take note that frames can be exchanged."""
        self._raw = cast(_Shield, transport.underlying_transport).raw
        self._connections.add(self)
        self.reader = self._attach(self)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Take a frame; nearly all are whole messages of text."""
        if frame.rsv1 or frame.rsv2 or frame.rsv3:
            self._fault(BAD_FRAME, "a reserved bit is set")
        elif frame.msg_type is _TEXT and frame.fin and self._parts is None:
            self.reader.text(frame.get_payload_as_bytes())
        else:
            self._rare(frame)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """Take note that the connection has gone."""
        self.gone()

    def gone(self) -> None:
        """Take note that the connection has gone."""
        self._connections.discard(self)
        self._closing = True
        self._out.clear()
        self._parts = None
        if self._timer is not None:
            self._timer.cancel()
        self.reader.lost()

    def pause_writing(self) -> None:
        """Take note that the client does not read as fast as it is written to."""
        self.reader.paused()

    def resume_writing(self) -> None:
        """Take note that it does again."""
        self.reader.resumed()

    def _rare(self, frame: WSFrame) -> None:
        kind = frame.msg_type
        if kind == _CLOSE:
            self._closed_by_client(frame)
        elif kind == _CONTINUATION or self._parts is not None:
            self._fragment(kind, frame)
        elif not frame.fin:
            self._parts = [frame.get_payload_as_bytes()]
            self._text_parts = kind == _TEXT
        elif kind == _BINARY:
            self.reader.buffer(frame.get_payload_as_bytes())

    def _fragment(self, kind: WSMsgType, frame: WSFrame) -> None:
        if kind not in (_CONTINUATION, _TEXT, _BINARY):
            return
        if self._parts is None or kind != _CONTINUATION:
            self._fault(BAD_FRAME, "a fragment out of place")
            return
        parts = self._parts
        parts.append(frame.get_payload_as_bytes())
        if len(parts) > self._max_fragments:
            self._fault(PROTOCOL_ERROR, "too many fragments")
        elif sum(map(len, parts)) > self._max_size:
            self._fault(TOO_LARGE, "message too large")
        elif frame.fin:
            self._parts = None
            if self._text_parts:
                self.reader.text(b"".join(parts))
            else:
                self.reader.buffer(b"".join(parts))

    def _closed_by_client(self, frame: WSFrame) -> None:
        if not self._closing:
            self._flush()
            code = cast(int, frame.get_close_code())  # 0 if there was none
            self._raw.write(close_frame(max(code, _FIRST_CODE), ""))
        self.cut_off_soon()
        self.reader.lost()
        self._raw.close()

    def _fault(self, code: int, reason: str) -> None:
        self._parts = None
        self.close(code, reason)
        self.reader.lost()

    def _put(self, frame: bytes) -> None:
        out = self._out
        if not out:
            self._loop.call_soon(self._flush)
        out.append(frame)
        if len(out) > _FRAMES_PER_WRITE or len(frame) > _LARGE:
            self._flush()

    def _flush(self) -> None:
        out = self._out
        if out:
            if not self._closing:
                self._raw.write(b"".join(out) if len(out) > 1 else out[0])
            out.clear()


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
        self._wire.gone()


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
        request = Request(
            query,
            headers,
            address=str(peername[0]) if isinstance(peername, tuple) else "",
            secure=self._transport.get_extra_info("sslcontext") is not None,
            transport="websocket",
        )
        try:
            engine.cors_headers(request.headers.get("origin"))
            attach = engine.admit_websocket(request)
        except Refused as refused:
            engine.refused(str(refused))
            _refuse(self._transport, refused)
            return
        limits = engine.limits
        wire = FastWire(attach, self._connections, max_size=limits.message_size, max_fragments=limits.fragments)
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
