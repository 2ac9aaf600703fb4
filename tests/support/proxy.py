"""A loopback TCP proxy that cuts, holds up or delays what goes through it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit


class Proxy:
    """Passes bytes on, both ways, until it is told otherwise.

    Args:
        port: Where to.

    Attributes:
        open: Whether it takes new connections; others are ended without a word.
        delay: Seconds for which it keeps what it has read before it passes it on.
        accepted: How many connections it has taken.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._passing = asyncio.Event()
        self._passing.set()
        self.open = True
        self.delay = 0.0
        self.accepted = 0

    def cut(self) -> None:
        """End every connection without a word."""
        for writer in self._writers:
            writer.transport.abort()

    def stall(self) -> None:
        """Keep what comes, as a network does that has lost the way."""
        self._passing.clear()

    def go_on(self) -> None:
        """Pass on what was kept, and what comes."""
        self._passing.set()

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take a connection."""
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """End everything."""
        self.open = False
        self.go_on()
        while self._tasks:  # some may only now have reached the server
            self.cut()
            await asyncio.wait(self._tasks, timeout=0.1)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self.open:
            writer.transport.abort()
            return
        self.accepted += 1
        try:
            onward_reader, onward = await asyncio.open_connection("127.0.0.1", self._port)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, onward}
        async with asyncio.TaskGroup() as group:
            group.create_task(self._pass_on(reader, onward))
            group.create_task(self._pass_on(onward_reader, writer))
        self._writers -= {writer, onward}

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                if self.delay:
                    await asyncio.sleep(self.delay)
                await self._passing.wait()
                writer.write(data)
                await writer.drain()
        writer.close()


@asynccontextmanager
async def proxied(url: str) -> AsyncIterator[tuple[str, Proxy]]:
    """Yield the address of a proxy before a server, which is the server's with another port, and the proxy."""
    port = urlsplit(url).port
    assert port is not None, url
    proxy = Proxy(port)
    listening = await asyncio.start_server(proxy.accept, "127.0.0.1", 0)
    try:
        yield url.replace(f":{port}", f":{listening.sockets[0].getsockname()[1]}"), proxy
    finally:
        listening.close()
        await proxy.close()
