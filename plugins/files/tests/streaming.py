"""Streams by hand over a websocket: a client that does nothing by itself, and so can do anything."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from websockets.exceptions import ConnectionClosed

from tests.support.wire import Wire, wire

NAMESPACE = "api.files"


class Gone(Exception):
    """The connection has been cut."""


class Refused(Exception):
    """What the server answered with, in the place of a result."""

    def __init__(self, error: dict[str, Any]) -> None:
        self.error = error
        self.code: str = error["code"]
        self.message: str = error["message"]
        super().__init__(f"{self.code}: {self.message}")


class Connection:
    """One connection, with what was received on it and not asked for yet.

    Args:
        opened: The websocket.

    Attributes:
        progress: What the server has told of how far calls are.
        sent: How many items `upload` has sent.
    """

    def __init__(self, opened: Wire) -> None:
        self._wire = opened
        self._id = 0
        self._waiting: list[tuple[str, Any]] = []
        self.progress: list[dict[str, Any]] = []
        self.sent = 0

    async def call(self, function: str, data: Any = None, **fields: Any) -> Any:
        """Call a function, and return its result.

        Raises:
            Refused: It failed.
        """
        opened = await self.open(function, data=data, **fields)
        return opened["data"]

    async def open(self, function: str, **fields: Any) -> dict[str, Any]:
        """Send an envelope, and return the whole answer."""
        self._id += 1
        envelope = {"event": f"{NAMESPACE}.{function}", "id": self._id, **fields}
        await self._wire.send(f"42{self._id}{json.dumps(['event', envelope])}")
        answer = await self._next(f"ack{self._id}")
        if "error" in answer:
            raise Refused(answer["error"])
        assert isinstance(answer, dict)
        return answer

    async def frame(self, **fields: Any) -> None:
        """Send a frame of the newest stream; `data` may be a Buffer."""
        frame = {"id": self._id, **fields}
        buffers: list[bytes] = []
        if isinstance(frame.get("data"), bytes):
            buffers.append(frame["data"])
            frame["data"] = {"_placeholder": True, "num": 0}
        head = f"45{len(buffers)}-" if buffers else "42"
        await self._wire.send(head + json.dumps(["stream", frame]), *buffers)

    async def answer(self) -> dict[str, Any]:
        """Return the next frame of the newest stream that is no progress.

        Raises:
            Refused: It is an error.
        """
        while True:
            frame = await self._next("stream")
            assert isinstance(frame, dict)
            if frame["id"] != self._id:
                continue
            if not self._is_progress(frame):
                return frame

    async def upload(
        self, items: Iterable[Any], *, cut_after: int | None = None, told: int = 0, end: bool = True, **fields: Any
    ) -> Any:
        """Upload: send items as the server lets it, then the end, and return the result.

        Args:
            items: The object that begins it, and Buffers.
            cut_after: Cut the connection after so many items, in the middle of the next one.
            told: Before that, wait until the server has told of so many bytes, if `progress` was asked for.
            end: Whether to say that this was all; else nothing is returned.
            fields: More fields of the envelope.

        Raises:
            Refused: The server ended it.
            Gone: The connection was cut.
        """
        opened = await self.open("upload", **fields)
        assert opened["stream"] == "client"
        credit = opened["credit"]
        for item in items:
            while not credit:
                credit = (await self.answer())["credit"]
            if self.sent == cut_after:
                while told > max((step["done"] for step in self.progress), default=0):
                    self._is_progress(await self._next("stream"))
                await self.cut(item)
            await self.frame(data=item)
            credit -= 1
            self.sent += 1
        if not end:
            return None
        await self.frame(end=True)
        return await self.end()

    async def end(self) -> Any:
        """Return the result of the newest stream, whatever comes before its end.

        Raises:
            Refused: It has failed.
        """
        while "end" not in (frame := await self.answer()):
            pass
        return frame.get("data")

    async def download(self, data: Any, *, credit: int = 4) -> AsyncIterator[bytes]:
        """Download: yield Buffers, and let the server send as many more."""
        opened = await self.open("download", data=data, credit=credit)
        assert opened["stream"] == "server"
        while "end" not in (frame := await self.answer()):
            yield frame["data"]
            await self.frame(credit=1)

    async def cut(self, item: Any = None) -> None:
        """Cut the connection as a cable is cut, after the head of an item whose Buffer never comes."""
        if isinstance(item, bytes):
            frame = {"id": self._id, "data": {"_placeholder": True, "num": 0}}
            await self._wire.send(f"451-{json.dumps(['stream', frame])}")
        self._wire.socket.transport.abort()
        raise Gone

    def _is_progress(self, frame: dict[str, Any]) -> bool:
        if "error" in frame:
            raise Refused(frame["error"])
        if "progress" in frame:
            self.progress.append(frame["progress"])
        return "progress" in frame

    async def _next(self, name: str) -> Any:
        for index, (found, argument) in enumerate(self._waiting):
            if found == name:
                del self._waiting[index]
                return argument
        while True:
            found, argument = await self._receive()
            if found == name:
                return argument
            self._waiting.append((found, argument))

    async def _receive(self) -> tuple[str, Any]:
        try:
            message = await self._wire.receive()
            assert isinstance(message, str)
            kind, rest = message[1], message[2:]
            count = 0
            if kind in "56":
                number, _, rest = rest.partition("-")
                count = int(number)
            digits = rest[: len(rest) - len(rest.lstrip("0123456789"))]
            arguments = json.loads(rest[len(digits) :])
            buffers = [await self._wire.receive() for _ in range(count)]
        except ConnectionClosed:
            raise Gone from None
        arguments = [_filled(argument, buffers) for argument in arguments]
        return (f"ack{digits}", arguments[0]) if kind in "36" else (arguments[0], arguments[1])


@asynccontextmanager
async def connection(url: str) -> AsyncIterator[Connection]:
    """Open a connection."""
    async with wire(url) as opened:
        yield Connection(opened)


def in_pieces(content: bytes, size: int) -> list[bytes]:
    """Cut bytes into pieces."""
    return [content[at : at + size] for at in range(0, len(content), size)]


def _filled(value: Any, buffers: Sequence[str | bytes]) -> Any:
    if isinstance(value, dict):
        if value.get("_placeholder"):
            return buffers[value["num"]]
        return {key: _filled(inner, buffers) for key, inner in value.items()}
    return [_filled(inner, buffers) for inner in value] if isinstance(value, list) else value
