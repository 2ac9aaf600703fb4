"""A server that speaks Socket.IO, and says what a test wants, or nothing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

from aiohttp import web
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

Answer: TypeAlias = Callable[[str, Any], Iterable[Any]]
"""Given an event and its argument, returns what to send: `("ack", value)` or an event with its argument."""

_OPEN = {"sid": "s", "upgrades": [], "pingInterval": 25_000, "pingTimeout": 20_000, "maxPayload": 1_000_000}


@asynccontextmanager
async def deaf_server(answer: Answer = lambda event, argument: ()) -> AsyncIterator[str]:
    """Yield its address. It lets everybody in over a websocket, and answers as `answer` says: by default never."""

    async def speak(socket: ServerConnection) -> None:
        await socket.send("0" + json.dumps(_OPEN))
        while True:
            try:
                message = await socket.recv()
            except ConnectionClosed:
                return
            assert isinstance(message, str)
            if message.startswith("40"):
                await socket.send('40{"sid":"s"}')
            elif message.startswith("42"):
                ack, _, rest = message[2:].partition("[")
                event, argument = json.loads(f"[{rest}")
                for name, said in answer(event, argument):
                    head = f"43{ack}" if name == "ack" else "42"
                    await socket.send(head + json.dumps([said] if name == "ack" else [name, said]))

    async with serve(speak, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


@asynccontextmanager
async def hasty_server() -> AsyncIterator[str]:
    """Yield the address of a server that is polled; it answers a call and closes the session in one response."""
    said: asyncio.Queue[str] = asyncio.Queue()

    async def get(request: web.Request) -> web.Response:
        if "sid" not in request.query:
            return web.Response(text="0" + json.dumps(_OPEN))
        return web.Response(text=await said.get())

    async def post(request: web.Request) -> web.Response:
        packet = (await request.text()).partition("\x1e")[0]
        if packet.startswith("40"):
            said.put_nowait('40{"sid":"s"}')
        elif packet.startswith("42"):
            said.put_nowait(f'43{packet[2:].partition("[")[0]}[{{"data":"bye"}}]\x1e1')
        return web.Response(text="ok")

    app = web.Application()
    app.add_routes([web.get("/socket.io/", get), web.post("/socket.io/", post)])
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
