"""Somebody at the door: a plugin that tells clients what the server sees of them, and clients of any address."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from tests.support.plugins import write_plugin
from tests.support.wire import Wire

HERE = "127.0.0.1"
PROXY = "127.0.0.2"
"""An address of this machine that tests take for a proxy's."""
ANYBODY = '[[access.rules]]\nfunctions = "*"\n'
"""Who is let in may call everything."""
FRONT = """
    import json

    from jackfield import Call, Principal, Service, hookimpl

    service = Service("api.front")


    @service.function
    async def whoami(call: Call) -> str:
        return call.principal.id


    @hookimpl
    def jackfield_services():
        return [service]


    @hookimpl
    async def jackfield_authenticate(handshake):
        if "name" in handshake.auth:
            return Principal(handshake.auth["name"])
        seen = (handshake.address, handshake.secure, handshake.local, handshake.headers.get("cookie"))
        return Principal(json.dumps(seen))
"""


def write_front(folder: Path) -> Path:
    """Write the plugin."""
    return write_plugin(folder, "front", FRONT, namespaces=["api.front"])


@dataclass(frozen=True)
class Reply:
    """How a request was answered; 101 is a websocket."""

    status: int
    headers: Mapping[str, str]
    text: str = ""


async def poll(
    url: str,
    headers: Mapping[str, str] | None = None,
    *,
    sid: str = "",
    body: str | None = None,
    source: str = HERE,
) -> Reply:
    """Send a request of polling: a POST if there is a body."""
    address = f"{url}/socket.io/?EIO=4&transport=polling" + (f"&sid={sid}" if sid else "")
    method = "GET" if body is None else "POST"
    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(local_addr=(source, 0))) as http,
        http.request(method, address, headers=headers, data=body) as response,
    ):
        return Reply(response.status, response.headers, await response.text())


async def opened(url: str, source: str = HERE) -> str:
    """Open a session by polling, and return its id."""
    reply = await poll(url, source=source)
    assert reply.status == 200
    return str(json.loads(reply.text[1:])["sid"])


async def knock(url: str, headers: Mapping[str, str] | None = None, *, sid: str = "", source: str = HERE) -> Reply:
    """Ask for a websocket, and close it."""
    try:
        async with fronted(url, headers, sid=sid, source=source):
            return Reply(101, {})
    except InvalidStatus as refused:
        response = refused.response
        return Reply(response.status_code, dict(response.headers), (response.body or b"").decode())


@asynccontextmanager
async def fronted(
    url: str, headers: Mapping[str, str] | None = None, *, sid: str = "", source: str = HERE
) -> AsyncIterator[Wire]:
    """Open a websocket; without a session it is one of its own, which has not said CONNECT yet."""
    address = url.replace("http", "ws", 1) + "/socket.io/?EIO=4&transport=websocket" + (f"&sid={sid}" if sid else "")
    named = dict(headers or {})
    async with connect(
        address, additional_headers=named, compression=None, ping_interval=None, local_addr=(source, 0)
    ) as socket:
        wire = Wire(socket)
        if not sid:
            assert str(await wire.receive()).startswith("0{")
        yield wire
