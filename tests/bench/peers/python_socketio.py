"""python-socketio as it comes, on uvicorn[standard]: answers what it is sent, and checks nothing."""

from __future__ import annotations

import sys
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


sio.on("event", event)
sio.on("broadcast", broadcast)

if __name__ == "__main__":
    uvicorn.run(socketio.ASGIApp(sio), host="127.0.0.1", port=int(sys.argv[1]), log_level="error", lifespan="off")
