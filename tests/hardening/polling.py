"""Engine.IO by hand over HTTP, to say what no stock client would."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp

LIMIT = 20.0


class Polling:
    """One session by long-polling."""

    def __init__(self, http: aiohttp.ClientSession, address: str, sid: str) -> None:
        self.sid = sid
        self._http = http
        self._address = f"{address}&sid={sid}"
        self._received: list[str] = []

    async def post(self, *messages: str | bytes) -> int:
        """Send messages in one request, and return its status."""
        body = "\x1e".join(
            message if isinstance(message, str) else "b" + base64.b64encode(message).decode() for message in messages
        )
        async with asyncio.timeout(LIMIT), self._http.post(self._address, data=body.encode()) as response:
            await response.read()
            return response.status

    async def receive(self) -> str | None:
        """Return the next message that is no ping, or None once the session is closed."""
        while True:
            if not self._received:
                async with asyncio.timeout(LIMIT), self._http.get(self._address) as response:
                    if response.status != 200:
                        return None
                    self._received = (await response.text()).split("\x1e")
            message = self._received.pop(0)
            if message == "1":
                return None
            if message == "2":
                await self.post("3")
            elif message not in ("", "6"):
                return message


@asynccontextmanager
async def polling(url: str, *, join: bool = True, headers: dict[str, str] | None = None) -> AsyncIterator[Polling]:
    """Open a session; with `join` also connect to the namespace `/`."""
    address = f"{url}/socket.io/?EIO=4&transport=polling"
    async with aiohttp.ClientSession(headers=headers) as http:
        async with asyncio.timeout(LIMIT), http.get(address) as response:
            opened = json.loads((await response.text())[1:])
        session = Polling(http, address, opened["sid"])
        if join:
            await session.post("40")
            assert str(await session.receive()).startswith("40{")
        yield session
