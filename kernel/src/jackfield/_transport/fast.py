"""The fast carrier: picows reads the frames, we write them, and nothing stands in between.

How a connection comes to it is told in `door`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import Any, Final

from picows import WSFrame, WSListener, WSMsgType, WSTransport

from jackfield._transport.frame import END, Frame, copy
from jackfield._transport.message import (
    SHORT,
    TEXT_HEADS,
    Message,
    binary_frame,
    binary_head,
    close_frame,
    text_frame,
)
from jackfield._transport.turn import Turn
from jackfield._transport.wire import PROTOCOL_ERROR, Reader, Traffic, Wire

RESTART: Final = 1012
TOO_LARGE: Final = 1009
BAD_FRAME: Final = 1002
_FIRST_CODE: Final = 1000

_FRAMES_PER_WRITE: Final = 64
_LARGE: Final = 8 * 1024
_HUGE: Final = 128 * 1024
_BULK: Final = 512 * 1024
"""Bytes of Buffers that wait for one another: written together they cost little more than one. It is half of what may
wait for a client by default, and Buffers that are huge themselves wait for none, so that nobody is cut off for it."""
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
        raw: The connection.
        turn: When it is read, and flushed.
        attach: Tells who reads it, once it is open.
        connections: Where it registers for the shutdown.
        traffic: What counts the bytes that it sends.
        max_size: Bytes of one message, in however many frames.
        max_fragments: Frames of one message.
    """

    __slots__ = (
        "_attach",
        "_bulk",
        "_closing",
        "_connections",
        "_gathers",
        "_kept",
        "_loop",
        "_max_fragments",
        "_max_size",
        "_out",
        "_parts",
        "_raw",
        "_text_parts",
        "_timer",
        "_traffic",
        "_turn",
        "reader",
    )

    def __init__(
        self,
        raw: asyncio.Transport,
        turn: Turn,
        attach: Attach,
        connections: set[Any],
        traffic: Traffic,
        *,
        max_size: int,
        max_fragments: int,
    ) -> None:
        self.reader: Reader
        self._turn = turn
        self._attach = attach
        self._connections = connections
        self._traffic = traffic
        self._max_size = max_size
        self._max_fragments = max_fragments
        self._loop = asyncio.get_running_loop()
        self._out: list[bytes] = []
        self._bulk = 0
        self._kept: deque[Frame] | None = None
        self._parts: list[bytes] | None = None
        self._text_parts = False
        self._closing = False
        self._timer: asyncio.TimerHandle | None = None
        self._raw = raw
        # asyncio's own transports join the parts or, in Python 3.12.0 to 3.12.8, never say that it is enough.
        self._gathers = type(raw).__module__.startswith("uvloop")

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
            self._turn.add(self)
        out.append(TEXT_HEADS[size] + data)

    def buffer(self, data: bytes) -> None:
        """Send a binary message; a large one is handed on as it is, with those that follow it soon."""
        size = len(data)
        if size <= _LARGE:
            self._put(binary_frame(data))
            return
        out = self._out
        if not out:
            self._turn.add(self)
        out += (binary_head(size), data)
        self._bulk += size
        if self._bulk >= _BULK or size > _HUGE:
            self.flush()

    def message(self, message: Message) -> None:
        """Send a message that others get too."""
        self._put(message.frames)

    def close(self, code: int, reason: str) -> None:
        """Close with a code; the connection is cut off if the client does not follow."""
        if not self._closing:
            self.flush()
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
        self._connections.add(self)
        self.reader = self._attach(self)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Take a frame; nearly all are whole messages of text."""
        turn = self._turn
        if self._closing and frame.msg_type is not _CLOSE:
            return  # Nobody is answered any more, and who goes on sending all the same is not to fill what is kept.
        if (now := monotonic()) > turn.until and turn.over(now):
            self._keep(copy(frame))
        elif frame.msg_type is _TEXT and frame.fin and not (frame.rsv1 or frame.rsv2 or frame.rsv3 or self._parts):
            self.reader.text(frame.get_payload_as_bytes())
        else:
            self._take(copy(frame))

    def on_ws_disconnected(self, transport: WSTransport | None = None) -> None:
        """Take note that the connection has gone, when all that came by it has been read."""
        if self._kept is None:
            self.gone()
        else:
            self._keep(END)

    def read_on(self, until: float) -> bool:
        """Read what was kept, one frame at least, until that time at the latest; tell whether nothing is left."""
        kept = self._kept
        while kept:
            self._take(kept.popleft())
            if kept and monotonic() > until:
                return False
        self._kept = None
        if not self._raw.is_closing():
            self._raw.resume_reading()
        return True

    def fail(self, error: Exception) -> None:
        """Take note that reading or writing has failed by no fault of the client."""
        self._loop.call_exception_handler({"message": "a websocket failed", "exception": error})
        self._kept = None
        if self._raw.is_closing():
            self.gone()
        else:
            self.cut_off_soon()

    def _keep(self, frame: Frame) -> None:
        if self._kept is None:
            self._kept = deque()
            self._turn.wait(self)
            if not self._raw.is_closing():
                self._raw.pause_reading()
        self._kept.append(frame)

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

    def _take(self, frame: Frame) -> None:
        kind = frame.kind
        if kind is None:
            self.gone()
        elif frame.reserved:
            self._fault(BAD_FRAME, "a reserved bit is set")
        elif kind == _CLOSE:
            self._closed_by_client(frame.code)
        elif self._closing or kind not in (_CONTINUATION, _TEXT, _BINARY):
            return
        elif kind == _CONTINUATION or self._parts is not None:
            self._fragment(frame)
        elif not frame.fin:
            self._parts = [frame.data]
            self._text_parts = kind == _TEXT
        elif kind == _TEXT:
            self.reader.text(frame.data)
        else:
            self.reader.buffer(frame.data)

    def _fragment(self, frame: Frame) -> None:
        if self._parts is None or frame.kind != _CONTINUATION:
            self._fault(BAD_FRAME, "a fragment out of place")
            return
        parts = self._parts
        parts.append(frame.data)
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

    def _closed_by_client(self, code: int) -> None:
        if not self._closing:
            self.flush()
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
            self._turn.add(self)
        out.append(frame)
        if len(out) > _FRAMES_PER_WRITE or len(frame) > _LARGE:
            self.flush()

    def flush(self) -> None:
        """Write what is to be sent."""
        out = self._out
        if out:
            if not self._closing:
                self._traffic.sent += sum(map(len, out))
                if self._bulk and self._gathers:
                    self._raw.writelines(out)
                else:
                    self._raw.write(b"".join(out))
            out.clear()
            self._bulk = 0
