"""Two real servers on one real Redis, and the faults that may come over them."""

from __future__ import annotations

import asyncio
import shutil
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

from jackfield.client import connect
from tests.support.proxy import Proxy, proxied
from tests.support.redis import RedisServer, free_port, redis_server
from tests.support.server import Server, serving
from tests.support.waiting import eventually

CONFIG = """
[plugins]
policy = "listed"
enabled = ["channels", "system"]

[plugins.channels]
store = "redis"
redis_url = "{url}"

[[plugins.channels.rules]]
match = "kept.*"
history = 100_000
ttl = 3600
publish = true
presence = true
joins = true

[[plugins.channels.rules]]
match = "*"
publish = true
"""

Condition = Callable[[], Any]


class Host:
    """One of the servers, which can be killed and started anew at the same address.

    Args:
        folder: Where it runs.
        redis: Where Redis is, for it.
        way: What is between it and Redis.

    Attributes:
        url: Its address.
        log: What it has written in its earlier lives.
    """

    def __init__(self, folder: Path, redis: str, way: Proxy) -> None:
        self.way = way
        self._folder = folder
        self._config = CONFIG.format(url=redis)
        self._port = free_port()
        self.url = f"http://127.0.0.1:{self._port}"
        self._earlier = ""
        self._life = ExitStack()
        self.server: Server

    async def start(self) -> None:
        """Start it, and return when it accepts."""
        ready = serving(self._folder, "--port", str(self._port), config=self._config)
        self.server = await asyncio.to_thread(self._life.enter_context, ready)

    def kill(self) -> None:
        """End it at once."""
        self._earlier += self.server.log
        self.server.stop(signal.SIGKILL)
        self._life.close()

    @property
    def log(self) -> str:
        """What it has written in all its lives."""
        return self._earlier + self.server.log

    async def says(self, status: int, text: str) -> None:
        """Return when `/readyz` does."""
        await eventually(partial(asyncio.to_thread, self._feels, status, text))

    def _feels(self, status: int, text: str) -> bool:
        try:
            with urlopen(f"{self.url}/readyz?verbose", timeout=20) as response:
                return response.status == status and text in response.read().decode()
        except HTTPError as error:
            return error.code == status and text in error.read().decode()


class Cluster:
    """Two servers on one Redis.

    Args:
        redis: What they have in common.
        folder: Where it keeps what it has.
        hosts: They.
    """

    def __init__(self, redis: RedisServer, folder: Path, hosts: list[Host]) -> None:
        self.redis = redis
        self.hosts = hosts
        self._kept = folder / "appendonlydir"
        self._copy = folder / "copy"

    @property
    def urls(self) -> list[str]:
        """The addresses of the servers."""
        return [host.url for host in self.hosts]

    async def ready(self) -> None:
        """Return when all servers are."""
        for host in self.hosts:
            await host.says(200, "health/channels ok")

    async def without_redis(self) -> None:
        """Return when all servers say that they have none."""
        for host in self.hosts:
            await host.says(503, "health/channels failed: the store cannot be used: ")

    def forget(self) -> None:
        """Take away what a killed Redis has kept."""
        shutil.rmtree(self._kept)

    def copy(self) -> None:
        """Copy what Redis has kept."""
        shutil.copytree(self._kept, self._copy)

    def go_back(self) -> None:
        """Give a killed Redis the copy instead of what it has kept."""
        self.forget()
        self._copy.rename(self._kept)


@asynccontextmanager
async def clustered(folder: Path) -> AsyncIterator[Cluster]:
    """Run two servers on one Redis that keeps everything, each behind a proxy of its own, until the block ends."""
    (folder / "redis").mkdir()
    async with AsyncExitStack() as stack:
        redis = stack.enter_context(redis_server(folder / "redis", keep=True))
        hosts = []
        for name in ("one", "two"):
            url, way = await stack.enter_async_context(proxied(redis.url))
            hosts.append(Host(folder / name, url, way))
        for host in hosts:
            await host.start()
            stack.callback(host.kill)
        yield Cluster(redis, folder / "redis", hosts)


class Bystander:
    """Calls something that has nothing to do with channels, again and again; every call has to be answered.

    Args:
        url: The server's.

    Attributes:
        answered: How many were.
    """

    def __init__(self, url: str) -> None:
        self.answered = 0
        self._url = url

    async def call(self) -> None:
        """Go on until cancelled."""
        async with connect(self._url, reconnect=False) as client:
            while True:
                assert await client.call("api.system.ping", timeout=5) == "pong"
                self.answered += 1
                await asyncio.sleep(0.01)


@asynccontextmanager
async def bystanders(urls: list[str]) -> AsyncIterator[list[Bystander]]:
    """Let somebody call each of the servers while a block runs."""
    async with asyncio.TaskGroup() as group:
        found = [Bystander(url) for url in urls]
        calling = [group.create_task(one.call()) for one in found]
        yield found
        for task in calling:
            task.cancel()
