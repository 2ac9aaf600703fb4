"""What the kernel needs of a client's connection, whatever carries it."""

from __future__ import annotations

from typing import Protocol

from jackfield._json import Json, Value


class Connection(Protocol):
    """One client's connection; transports implement it."""

    @property
    def sid(self) -> str:
        """The connection's public id, the one that the client knows too."""

    @property
    def congested(self) -> bool:
        """Whether so much waits for the client to read it that `drained` would wait too."""

    def emit(self, event: str, payload: Json) -> None:
        """Queue a Socket.IO event with one argument; nothing happens once the client is gone."""

    def acknowledge(self, ack: bytes, text: bytes, buffers: tuple[bytes, ...] = ()) -> None:
        """Queue the acknowledgement of a packet: JSON, and its Buffers; `ack` is as the client wrote it."""

    async def drained(self) -> None:
        """Return as soon as the client has read enough for more to be sent, or has gone."""

    def abort(self, why: str) -> None:
        """End the connection of a client that does what no client should."""

    def close(self, code: int, why: str) -> None:
        """End the connection with a close code of the websocket."""

    async def join(self, room: str) -> None:
        """Put the client into a room."""

    async def leave(self, room: str) -> None:
        """Take the client out of a room."""

    async def request(self, event: str, payload: Json, timeout: float) -> Value:
        """Emit an event and return what the client acknowledges it with; `timeout` in seconds.

        Raises:
            CallError: `deadline_exceeded` when the client does not answer, `unavailable` when it goes away.
        """
