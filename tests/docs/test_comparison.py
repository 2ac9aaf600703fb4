"""What the README says of python-socketio by itself is so, with the version that jackfield uses.

Should one of these fail after an update, python-socketio has changed, and the table in the README is to follow.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import socketio
import uvicorn

SHORT = 0.5
"""Seconds in which an answer would have come."""


@asynccontextmanager
async def bare(server: socketio.AsyncServer) -> AsyncIterator[socketio.AsyncSimpleClient]:
    """Serve python-socketio by itself, and connect a client."""
    config = uvicorn.Config(
        socketio.ASGIApp(server), port=0, log_level="critical", lifespan="off", ws="websockets-sansio"
    )
    http = uvicorn.Server(config)
    task = asyncio.ensure_future(http.serve())
    async with asyncio.timeout(10):
        while not http.started:  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(0.01)
    port = http.servers[0].sockets[0].getsockname()[1]
    try:
        async with socketio.AsyncSimpleClient() as client:
            await client.connect(f"http://127.0.0.1:{port}", transports=["websocket"])
            yield client
    finally:
        http.should_exit = True
        await task


@pytest.fixture(name="sio")
def _sio() -> socketio.AsyncServer:
    return socketio.AsyncServer(async_mode="asgi")


async def answered(client: socketio.AsyncSimpleClient, event: str, data: Any = None) -> bool:
    """Tell whether an event is acknowledged."""
    with contextlib.suppress(socketio.exceptions.TimeoutError):
        await client.call(event, data, timeout=SHORT)
        return True
    return False


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_a_handler_that_raises_is_not_answered(sio: socketio.AsyncServer) -> None:
    """The client waits in vain."""
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)

    async def crash(sid: str, data: Any = None) -> None:
        raise RuntimeError

    sio.on("crash", crash)

    async with bare(sio) as client:
        assert not await answered(client, "crash")


async def test_an_unknown_event_is_not_answered(sio: socketio.AsyncServer) -> None:
    """The client waits in vain."""
    async with bare(sio) as client:
        assert not await answered(client, "nobody")


async def test_a_plain_handler_holds_everybody_up(sio: socketio.AsyncServer) -> None:
    """It runs in the event loop."""

    def block(sid: str, data: Any = None) -> None:
        time.sleep(SHORT)

    sio.on("block", block)

    async def ping(sid: str, data: Any = None) -> None:
        pass

    sio.on("ping", ping)

    async with bare(sio) as client:
        await client.emit("block")
        before = time.monotonic()
        await client.call("ping")
        assert time.monotonic() - before > SHORT / 2


async def test_the_later_handler_replaces_the_earlier(sio: socketio.AsyncServer) -> None:
    """Without a word."""

    async def first(sid: str, data: Any = None) -> str:
        return "first"

    async def second(sid: str, data: Any = None) -> str:
        return "second"

    sio.on("event", first)
    sio.on("event", second)
    async with bare(sio) as client:
        assert await client.call("event") == "second"


async def test_a_handler_runs_on_when_its_client_has_gone(sio: socketio.AsyncServer) -> None:
    """Nobody stops it."""
    begun, gone, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def disconnect(sid: str, reason: str) -> None:
        gone.set()

    sio.on("disconnect", disconnect)

    async def work(sid: str, data: Any = None) -> None:
        begun.set()
        await gone.wait()
        await asyncio.sleep(SHORT)
        ended.set()

    sio.on("work", work)

    async with bare(sio) as client:
        await client.emit("work")
        await asyncio.wait_for(begun.wait(), 10)
        await client.disconnect()
        await asyncio.wait_for(ended.wait(), 10)
