"""A loopback HTTP proxy that does what badly configured ones do."""

from __future__ import annotations

import asyncio
import contextlib
import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass
class Faults:
    """What the proxy does.

    Attributes:
        upgrade: Whether it passes `Upgrade` on.
        cookie: Whether it keeps clients with one server by a cookie; else it takes one after the other.
        hold: Seconds for which it holds back answers to polls.
        body: Bytes of the largest body that it takes.
        source: The address that it calls the server from.
        cut: Whether it closes websockets at once.
    """

    upgrade: bool = True
    cookie: bool = False
    hold: float = 0.0
    body: int = 100_000_000
    source: str = "127.0.0.1"
    cut: bool = False


class Gateway:
    """Takes one request a connection, and passes it on.

    Args:
        ports: The servers.
        faults: What it does.
    """

    def __init__(self, ports: Sequence[int], faults: Faults) -> None:
        self._ports = ports
        self._faults = faults
        self._turn = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve a connection."""
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                await self._request(reader, writer)
        finally:  # also when the proxy ends in the middle of it
            writer.close()

    async def _request(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        faults = self._faults
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(found[1]) if (found := re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)) else 0
        if length > faults.body:
            writer.write(b"HTTP/1.1 413 Too Large\r\nConnection: close\r\nContent-Length: 6\r\n\r\n<html>")
            await writer.drain()
            return
        if not faults.upgrade:
            head = re.sub(rb"(?i)\r\n(?:upgrade|connection): [^\r]*", b"", head)
        chosen = found[1] if (found := re.search(rb"server=(\d)", head)) and faults.cookie else None
        self._turn = int(chosen) if chosen else (self._turn + 1) % len(self._ports)
        server = self._turn
        onward_reader, onward = await asyncio.open_connection(
            "127.0.0.1", self._ports[server], local_addr=(faults.source, 0)
        )
        try:
            onward.write(head + await reader.readexactly(length))
            if re.search(rb"(?i)\r\nupgrade:", head):
                await self._tunnel(reader, writer, onward_reader, onward)
            else:
                await self._answer(writer, onward_reader, server, held=head.startswith(b"GET"))
        finally:
            onward.close()

    async def _tunnel(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        onward_reader: asyncio.StreamReader,
        onward: asyncio.StreamWriter,
    ) -> None:
        writer.write(await onward_reader.readuntil(b"\r\n\r\n"))
        if self._faults.cut:
            return
        tasks = [asyncio.create_task(_copy(reader, onward)), asyncio.create_task(_copy(onward_reader, writer))]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()

    async def _answer(
        self, writer: asyncio.StreamWriter, onward_reader: asyncio.StreamReader, server: int, *, held: bool
    ) -> None:
        head = await onward_reader.readuntil(b"\r\n\r\n")
        found = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
        assert found
        body = await onward_reader.readexactly(int(found[1]))
        if held and body.startswith(b"43"):
            await asyncio.sleep(self._faults.hold)
        cookie = f"Set-Cookie: server={server}\r\n".encode() if self._faults.cookie else b""
        writer.write(head[:-2] + cookie + b"\r\n" + body)
        await writer.drain()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()


@contextmanager
def gateway(urls: Sequence[str], faults: Faults) -> Iterator[str]:
    """Run a proxy before servers in a thread of its own, and yield its address."""
    started: list[str] = []
    up, loop = threading.Event(), asyncio.new_event_loop()

    async def run() -> None:
        proxy = Gateway([int(url.rpartition(":")[2]) for url in urls], faults)
        listening = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
        started.append(f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}")
        stop.add_done_callback(lambda _: listening.close())
        up.set()
        await stop
        leftovers = asyncio.all_tasks() - {asyncio.current_task()}
        for task in leftovers:
            task.cancel()
        await asyncio.gather(*leftovers, return_exceptions=True)

    stop: asyncio.Future[None] = loop.create_future()
    thread = threading.Thread(target=lambda: loop.run_until_complete(run()))
    thread.start()
    try:
        assert up.wait(10)
        yield started[0]
    finally:
        loop.call_soon_threadsafe(stop.set_result, None)
        thread.join()
        loop.close()
