"""An ordinary python-socketio client, and what tests like to know of it."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import socketio

LIMIT = 20.0


class Client:
    """A connected client that keeps every event it was sent."""

    def __init__(self, sio: socketio.AsyncClient) -> None:
        self.sio = sio
        self.received: dict[str, asyncio.Queue[Any]] = defaultdict(asyncio.Queue)

        async def keep(event: str, *arguments: Any) -> None:
            self.received[event].put_nowait(arguments[0] if len(arguments) == 1 else arguments)

        sio.on("*", keep)

    async def call(self, event: str, data: Any = None, **fields: Any) -> Any:
        """Call a function with an acknowledgement, and return the reply."""
        return await self.sio.call("event", {"event": event, "data": data, **fields}, timeout=LIMIT)

    async def send(self, argument: Any, *, event: str = "event") -> Any:
        """Emit any argument with an acknowledgement, and return the reply."""
        return await self.sio.call(event, argument, timeout=LIMIT)

    async def emit(self, argument: Any, *, event: str = "event") -> None:
        """Emit any argument without an acknowledgement."""
        await self.sio.emit(event, argument)

    async def next(self, event: str) -> Any:
        """Return the next event of this name, waiting for it."""
        async with asyncio.timeout(LIMIT):
            return await self.received[event].get()


@asynccontextmanager
async def connected(
    url: str, *transports: str, http_session: aiohttp.ClientSession | None = None, **options: Any
) -> AsyncIterator[Client]:
    """Connect a client; by default as stock clients do: polling, then the upgrade.

    Args:
        url: The server's.
        transports: Which carriers to use.
        http_session: Whose headers and cookies every request shows.
        options: More arguments of `AsyncClient.connect`, such as `auth`.
    """
    sio = socketio.AsyncClient(reconnection=False, http_session=http_session)
    client = Client(sio)
    try:
        await sio.connect(url, transports=list(transports) or None, **options)
        yield client
    finally:
        await sio.disconnect()
        if http_session is None and sio.eio.http is not None:  # python-engineio leaves it open where nobody was reached
            await sio.eio.http.close()
