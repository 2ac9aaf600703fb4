"""Socket.IO by hand over a websocket, to say what no stock client would."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

LIMIT = 20.0


class Wire:
    """One websocket that speaks Engine.IO; pings are answered."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket

    async def send(self, *messages: str | bytes) -> None:
        """Send messages as they are."""
        for message in messages:
            await self.socket.send(message)

    async def receive(self) -> str | bytes:
        """Return the next message that is no ping."""
        async with asyncio.timeout(LIMIT):
            while (message := await self.socket.recv()) == "2":
                await self.socket.send("3")
            return message

    async def join(self, auth: str = "") -> str | bytes:
        """Send CONNECT and return the answer."""
        await self.send(f"40{auth}")
        return await self.receive()

    async def ask(self, packet: str, *buffers: bytes) -> Any:
        """Send a packet `42…`/`45…` whose ack id is 7, and return what it is acknowledged with."""
        await self.send(packet, *buffers)
        while True:
            message = await self.receive()
            if isinstance(message, str) and message.startswith("437["):
                return json.loads(message[3:])[0]

    async def closed(self) -> int:
        """Wait until the server closes, and return the close code."""
        try:
            while True:
                await self.receive()
        except ConnectionClosed:
            return self.socket.close_code or 0


@asynccontextmanager
async def wire(url: str, *, join: bool = True) -> AsyncIterator[Wire]:
    """Open a websocket; with `join` also connect to the namespace `/`."""
    address = url.replace("http", "ws", 1) + "/socket.io/?EIO=4&transport=websocket"
    async with connect(address, max_size=None, compression=None, ping_interval=None) as socket:
        opened = Wire(socket)
        assert str(await opened.receive()).startswith("0{")
        if join:
            assert str(await opened.join()).startswith("40{")
        yield opened
