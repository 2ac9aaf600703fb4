"""Real servers that are one through Redis, in this process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, cast

import aiohttp

from jackfield.testing import RunningKernel, serve
from jackfield_redis.manager import RedisManager
from plugins.redis.tests import meeting
from tests.support.client import Client, connected
from tests.support.waiting import eventually, until

LIMIT = 20.0


class Node:
    """One of the servers."""

    def __init__(self, running: RunningKernel) -> None:
        self.url = running.url
        self.kernel = running.kernel
        self.border: Any = cast(Any, running.kernel)._border
        self.manager = cast(RedisManager, self.border.manager)

    @property
    def trouble(self) -> str | None:
        """Why it cannot use Redis."""
        return self.manager.redis.trouble

    async def tell(self, data: Any, room: str | None = None) -> None:
        """Emit `news`."""
        await self.kernel.emit("news", data, room=room)

    async def ready(self) -> tuple[int, str]:
        """Ask whether it is ready; the status and all that it says."""
        async with aiohttp.ClientSession() as http, http.get(f"{self.url}/readyz?verbose") as response:
            return response.status, await response.text()


@asynccontextmanager
async def node(url: str, **settings: Any) -> AsyncIterator[Node]:
    """Serve with the plugin, as these settings have it."""
    neighbours = {"meeting": meeting}
    async with serve("redis", settings={"url": url, **settings}, neighbours=neighbours, network=True) as running:
        yield Node(running)


@asynccontextmanager
async def nodes(*urls: str, **settings: Any) -> AsyncIterator[list[Node]]:
    """Serve a node for each address."""
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(node(url, **settings)) for url in urls]


@asynccontextmanager
async def two(url: str, other: str = "", **settings: Any) -> AsyncIterator[tuple[Node, Node, Client, Client]]:
    """Serve two nodes, with a client each.

    Args:
        url: Where the first one finds Redis.
        other: Where the second one does, if it is not there.
        settings: Those of both.
    """
    async with (
        nodes(url, other or url, **settings) as (one, another),
        connected(one.url, "websocket") as first,
        connected(another.url, "websocket") as second,
    ):
        yield one, another, first, second


async def well(*those: Node) -> None:
    """Wait until the nodes have Redis."""
    await until(lambda: all(one.trouble is None for one in those))


async def away(*those: Node) -> None:
    """Wait until the nodes know that they have none."""
    await until(lambda: all(one.trouble is not None for one in those))


async def ready(one: Node, status: int) -> str:
    """Wait until a probe answers so; return what it says."""

    async def asked() -> str:
        found, text = await one.ready()
        return text if found == status else ""

    return await eventually(asked)


async def received(client: Client, last: Any) -> list[Any]:
    """Return all the news that a client gets until this one, which is waited for, and is not among them."""
    found = []
    async with asyncio.timeout(LIMIT):
        while (news := await client.received["news"].get()) != last:
            found.append(news)
    return found
