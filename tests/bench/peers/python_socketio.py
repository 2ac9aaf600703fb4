"""python-socketio as it comes, on uvicorn[standard]: answers what it is sent, and checks nothing."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import Any

import socketio
import uvicorn

sio = socketio.AsyncServer(async_mode="asgi")


async def event(sid: str, envelope: dict[str, Any]) -> dict[str, Any]:
    """Answer with the data of the envelope."""
    return {"data": envelope["data"]}


async def broadcast(sid: str, data: Any) -> dict[str, Any]:
    """Send the data to everybody."""
    await sio.emit("message", data)
    return {"data": None}


async def items(sid: str, data: dict[str, Any]) -> dict[str, Any]:
    """Emit so many numbered items with a text."""
    text = data["text"]
    await emit_all(sid, data, lambda n: {"n": n, "text": text})
    return {"data": None}


async def give(sid: str, data: dict[str, Any]) -> dict[str, Any]:
    """Emit so many Buffers of a size."""
    blocks = [bytes([fill]) * data["size"] for fill in range(4)]
    await emit_all(sid, data, lambda n: blocks[n % len(blocks)])
    return {"data": None}


async def take(sid: str, block: bytes) -> dict[str, Any]:
    """Answer how many bytes a Buffer has."""
    return {"data": len(block)}


async def emit_all(sid: str, data: dict[str, Any], item: Callable[[int], Any]) -> None:
    """Emit items in a loop.

    The client acknowledges the last of each half of a window before that of the next one is sent, so that no more
    than a window waits for it.
    """
    half = data["window"] // 2
    acknowledged = asyncio.Semaphore(1)
    for n in range(data["count"]):
        if (n + 1) % half:
            await sio.emit("item", item(n), to=sid)
        else:
            await acknowledged.acquire()
            await sio.emit("item", item(n), to=sid, callback=acknowledged.release)
    await acknowledged.acquire()


for handler in (event, broadcast, items, give, take):
    sio.on(handler.__name__, handler)

if __name__ == "__main__":
    uvicorn.run(socketio.ASGIApp(sio), host="127.0.0.1", port=int(sys.argv[1]), log_level="error", lifespan="off")
