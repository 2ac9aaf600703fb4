"""Engine.IO by hand, over HTTP and over a websocket, so that a test says each byte and sees each byte."""

from __future__ import annotations

import asyncio
import contextlib
import json
import urllib.parse
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

LIMIT = 10.0
SEPARATOR = "\x1e"

TEXT, BINARY, CLOSE = 1, 2, 8


@dataclass(frozen=True)
class Endpoint:
    """Where a server listens, and the path of its protocol."""

    host: str
    port: int
    path: str

    @classmethod
    def at(cls, url: str, path: str = "/socket.io") -> Endpoint:
        """Return where the server with this URL serves a path."""
        where = urllib.parse.urlsplit(url)
        assert where.hostname is not None
        assert where.port is not None
        return cls(where.hostname, where.port, path)

    def target(self, transport: str, **query: str) -> str:
        """Return path and query of a request of Engine.IO version 4; `query` adds to it, or takes over."""
        return self.raw_target(EIO="4", transport=transport, **query)

    def raw_target(self, **query: str) -> str:
        """Return path and query with nothing added."""
        return f"{self.path}/?{urllib.parse.urlencode(query)}"


# ------------------------------------------------------------------- HTTP


@dataclass(frozen=True)
class Answer:
    """The answer to a request."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        """The body, as text."""
        return self.body.decode()

    @property
    def json(self) -> Any:
        """The body, as JSON."""
        return json.loads(self.body)


class Request:
    """A request that is on its way: the server has been sent all of it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def answer(self) -> Answer:
        """Wait for the answer."""
        try:
            async with asyncio.timeout(LIMIT):
                head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                first, *lines = head.rstrip().split("\r\n")
                headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
                return Answer(int(first.split()[1]), headers, await self._body(headers))
        finally:
            self._writer.close()

    async def _body(self, headers: dict[str, str]) -> bytes:
        if headers.get("transfer-encoding") != "chunked":
            return await self._reader.readexactly(int(headers.get("content-length", "0")))
        body = b""
        while size := int(await self._reader.readline(), 16):
            body += await self._reader.readexactly(size)
            await self._reader.readline()
        return body


async def ask(
    endpoint: Endpoint, method: str, target: str, body: bytes = b"", headers: Mapping[str, str] | None = None
) -> Request:
    """Send a request on a connection of its own, and return when all of it is sent."""
    reader, writer = await asyncio.open_connection(endpoint.host, endpoint.port)
    lines = {"Host": f"{endpoint.host}:{endpoint.port}", "Connection": "close"}
    if method != "GET":
        lines |= {"Content-Type": "text/plain;charset=UTF-8", "Content-Length": str(len(body))}
    lines |= headers or {}
    head = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in lines.items()), "", ""]
    writer.write("\r\n".join(head).encode("latin-1") + body)
    await writer.drain()
    return Request(reader, writer)


async def fetch(
    endpoint: Endpoint, method: str, target: str, body: bytes = b"", headers: Mapping[str, str] | None = None
) -> Answer:
    """Send a request, and return the answer."""
    return await (await ask(endpoint, method, target, body, headers)).answer()


@dataclass(frozen=True)
class Polling:
    """A session that is carried by HTTP requests."""

    endpoint: Endpoint
    opened: dict[str, Any]

    @property
    def target(self) -> str:
        """Path and query of the requests of this session."""
        return self.endpoint.target("polling", sid=self.opened["sid"])

    async def poll(self) -> Request:
        """Send a request for packets, and leave it waiting."""
        return await ask(self.endpoint, "GET", self.target)

    async def get(self) -> Answer:
        """Wait for packets, and return them as they came."""
        return await (await self.poll()).answer()

    async def post(self, *packets: str) -> Answer:
        """Send packets in one request."""
        return await fetch(self.endpoint, "POST", self.target, SEPARATOR.join(packets).encode())

    async def receive(self) -> list[str]:
        """Return the next packets that are no pings, as many as came together; pings are answered."""
        while True:
            answer = await self.get()
            assert answer.status == 200, answer
            packets = answer.text.split(SEPARATOR)
            if "2" in packets:
                assert (await self.post("3")).status == 200
            if others := [packet for packet in packets if packet != "2"]:
                return others


async def open_polling(endpoint: Endpoint) -> Polling:
    """Open a session by polling."""
    answer = await fetch(endpoint, "GET", endpoint.target("polling"))
    assert (answer.status, answer.text[:1]) == (200, "0")
    return Polling(endpoint, json.loads(answer.text[1:]))


# ------------------------------------------------------------------- websocket


def frame(payload: bytes, opcode: int, *, final: bool = True) -> bytes:
    """Return a frame as a client sends it, masked with zeroes."""
    if len(payload) < 126:
        length = bytes([0x80 | len(payload)])
    elif len(payload) < 2**16:
        length = b"\xfe" + len(payload).to_bytes(2)
    else:
        length = b"\xff" + len(payload).to_bytes(8)
    return bytes([0x80 * final | opcode]) + length + bytes(4) + payload


class Socket:
    """A websocket.

    Args:
        connection: The open connection.
        pace: How frames that are sent together go out: in one `burst`, or one a `tick` of the server's loop.
    """

    def __init__(self, connection: ClientConnection, pace: str) -> None:
        self.connection = connection
        self._pace = pace

    async def send(self, *packets: str | bytes) -> None:
        """Send packets; that the server closes meanwhile is seen by `closed`."""
        frames = [frame(p.encode(), TEXT) if isinstance(p, str) else frame(p, BINARY) for p in packets]
        with contextlib.suppress(ConnectionClosed):
            if self._pace == "burst":
                self.connection.transport.write(b"".join(frames))
                return
            for one in frames:
                self.connection.transport.write(one)
                await (await self.connection.ping())  # the answer says that the server has read the frame before it

    async def receive_any(self) -> str | bytes:
        """Return the next packet, a ping too."""
        async with asyncio.timeout(LIMIT):
            return await self.connection.recv()

    async def receive(self) -> str | bytes:
        """Return the next packet that is no ping; pings are answered."""
        while (packet := await self.receive_any()) == "2":
            await self.send("3")
        return packet

    async def closed(self, *, silent: bool = False) -> list[str | bytes]:
        """Wait until the server closes, and return what it sent before.

        Args:
            silent: Whether pings go unanswered; else the end is never that of a session that was given up.
        """
        packets = []
        try:
            async with asyncio.timeout(LIMIT):
                while True:
                    packets.append(await (self.receive_any() if silent else self.receive()))
        except ConnectionClosed:
            return packets


@asynccontextmanager
async def websocket(
    endpoint: Endpoint, target: str, pace: str = "burst", headers: Mapping[str, str] | None = None
) -> AsyncIterator[Socket]:
    """Open a websocket at a target."""
    address = f"ws://{endpoint.host}:{endpoint.port}{target}"
    options: dict[str, Any] = {"compression": None, "ping_interval": None, "max_size": None, "max_queue": None}
    async with connect(address, additional_headers=headers, **options) as connection:
        yield Socket(connection, pace)


@asynccontextmanager
async def open_websocket(endpoint: Endpoint, pace: str = "burst") -> AsyncIterator[Socket]:
    """Open a session by websocket, past its handshake."""
    async with websocket(endpoint, endpoint.target("websocket"), pace) as socket:
        assert str(await socket.receive_any()).startswith("0{")
        yield socket


async def refused_websocket(endpoint: Endpoint, target: str, headers: Mapping[str, str] | None = None) -> int:
    """Try to open a websocket, and return the status of the answer; 101 if it opened, which it should not have."""
    try:
        async with websocket(endpoint, target, headers=headers):
            return 101
    except InvalidStatus as refused:
        return refused.response.status_code


async def is_refused(endpoint: Endpoint, target: str) -> bool:
    """Try to open a websocket; tell whether it is refused, or else closed with nothing said."""
    try:
        async with websocket(endpoint, target) as socket:
            return await socket.closed() == []
    except InvalidStatus as refused:
        return 400 <= refused.response.status_code < 500
