"""A frame that waits to be read: picows lends its own only for as long as it tells of it."""

from __future__ import annotations

from typing import Final, NamedTuple, cast

from picows import WSFrame, WSMsgType


class Frame(NamedTuple):
    """A frame of a websocket.

    Attributes:
        kind: Its opcode; None stands for the end of the connection.
        fin: Whether it ends its message.
        data: Its payload.
        code: The code with which a client closes; 0 if it gave none.
        reserved: Whether a reserved bit is set.
    """

    kind: WSMsgType | None
    fin: bool = True
    data: bytes = b""
    code: int = 0
    reserved: bool = False


END: Final = Frame(None)


def copy(frame: WSFrame) -> Frame:
    """Return the frame as one that can be kept."""
    kind = frame.msg_type
    code = cast(int, frame.get_close_code()) if kind == WSMsgType.CLOSE else 0
    reserved = bool(frame.rsv1 or frame.rsv2 or frame.rsv3)
    return Frame(kind, frame.fin, frame.get_payload_as_bytes(), code, reserved)
