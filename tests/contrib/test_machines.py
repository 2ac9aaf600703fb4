"""Two servers on one Redis behind the real nginx and HAProxy: whichever has a client, it gets everything."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from jackfield.client import connect
from tests.contrib.proxies import CONTRIB, Proxy, address_of, is_up, node, program, proxying, visitor
from tests.hardening.fronts import poll
from tests.support.client import Client, connected
from tests.support.redis import RedisServer, need_redis, redis_server
from tests.support.server import Server, serving
from tests.support.waiting import eventually

WHERE = "api.where.here"
CONFIG = """
[plugins.redis]
url = "{url}"
required = true

[plugins.channels]
store = "redis"
redis_url = "{url}"

[[plugins.channels.rules]]
match = "orders.*"
history = 1000
publish = true
presence = true
"""


ACL_CONFIG = """
[plugins.redis]
url = "{url}"
required = true

[plugins.channels]
store = "redis"
redis_url = "{url}"
rules = [{{ match = "*", publish = true, presence = true, history = 10 }}]

[plugins.kv]
redis_url = "{url}"

[plugins.idempotency]
redis_url = "{url}"

[plugins.ratelimit]
redis_url = "{url}"
rules = [{{ functions = "*", rate = 50, burst = 100 }}]
"""


@pytest.fixture(params=["nginx", "haproxy"], name="kind")
def _kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(name="redis")
def _redis(tmp_path: Path) -> Iterator[RedisServer]:
    need_redis()
    with redis_server(tmp_path, "password") as redis:
        yield redis


@pytest.fixture(name="servers")
def _servers(redis: RedisServer, tmp_path: Path) -> Iterator[tuple[Server, Server]]:
    trust = 'trusted_proxies = ["127.0.0.1"]'
    more = CONFIG.format(url=redis.url)
    with node(tmp_path / "a", server=trust, more=more) as a, node(tmp_path / "b", server=trust, more=more) as b:
        yield a, b


@pytest.fixture(name="proxy")
async def _proxy(kind: str, servers: tuple[Server, Server], tmp_path: Path, require_all: bool):
    with proxying(kind, program(kind, require_all), tmp_path / "proxy", *map(address_of, servers)) as proxy:
        await is_up(proxy)
        yield proxy


async def pid(client: Any) -> int:
    """Return the process that serves a client."""
    return int((await client.call(WHERE))["data"]["pid"])


async def visitors(stack: AsyncExitStack, url: str, *transports: str) -> list[Client]:
    """Connect clients from twelve addresses."""
    return [
        await stack.enter_async_context(
            connected(url, *transports, http_session=await stack.enter_async_context(visitor(number)))
        )
        for number in range(2, 14)
    ]


async def test_clients_of_both_servers_are_one_audience(proxy: Proxy, servers: tuple[Server, Server]) -> None:
    """However they come: what one publishes all are told, at one position, and an event to everybody is."""
    async with AsyncExitStack() as stack:
        clients = [
            client
            for transports in ((), ("websocket",), ("polling",))
            for client in await visitors(stack, proxy.url, *transports)
        ]
        assert {await pid(client) for client in clients} == {server.process.pid for server in servers}
        for client in clients:
            assert "error" not in await client.call("api.channels.subscribe", {"channel": "orders.7"})
        for number, publisher in enumerate((clients[0], clients[12], clients[24])):
            at = (await publisher.call("api.channels.publish", {"channel": "orders.7", "data": number}))["data"]
            told = {"channel": "orders.7", **at, "data": number}
            assert [await client.next("channel") for client in clients] == [told] * len(clients)
        await clients[0].call("api.where.shout", "hello")
        assert [await client.next("shout") for client in clients] == ["hello"] * len(clients)
        there = (await clients[0].call("api.channels.presence", {"channel": "orders.7"}))["data"]
        assert there["count"] == len(clients)


async def test_who_follows_goes_on_at_the_other_server(proxy: Proxy, servers: tuple[Server, Server]) -> None:
    """A server is killed under a follower, who misses nothing and gets nothing twice."""
    by_pid = {server.process.pid: server for server in servers}
    async with connect(proxy.url) as client, client.subscribe("orders.8") as publications:
        leaving = by_pid.pop(int((await client.call(WHERE))["pid"]))
        (staying,) = by_pid.values()
        async with connected(staying.url, "websocket") as publisher:
            for number in range(3):
                await publisher.call("api.channels.publish", {"channel": "orders.8", "data": number})
            heard = [(await anext(publications)).data for _ in range(3)]
            leaving.process.kill()
            await asyncio.to_thread(leaving.process.wait)
            for number in range(3, 6):
                await publisher.call("api.channels.publish", {"channel": "orders.8", "data": number})
            async with asyncio.timeout(20):
                heard += [(await anext(publications)).data for _ in range(3)]
        assert heard == list(range(6))
        assert int((await client.call(WHERE))["pid"]) == staying.process.pid


async def answers(url: str, status: int) -> bool:
    """Tell whether a new client is answered so."""
    return (await poll(url)).status == status


async def test_redis_goes_and_comes_back(
    proxy: Proxy, servers: tuple[Server, Server], redis: RedisServer, kind: str
) -> None:
    """Who is connected stays so, and what needs no Redis goes on. No server is ready, so HAProxy lets nobody new in."""
    async with connected(proxy.url) as client:
        assert "error" not in await client.call("api.channels.subscribe", {"channel": "orders.9"})
        redis.kill()

        async def told() -> bool:
            reply = await client.call("api.channels.publish", {"channel": "orders.9", "data": "lost"})
            return bool(reply.get("error", {}).get("code") == "unavailable")

        await eventually(told)
        assert await pid(client) in {server.process.pid for server in servers}
        await eventually(lambda: answers(proxy.url, 503 if kind == "haproxy" else 200))
        redis.start()

        async def heard() -> bool:
            await client.call("api.channels.publish", {"channel": "orders.9", "data": "heard"})
            return not client.received["channel"].empty()

        await eventually(heard)
        assert (await client.next("missed"))["missed"] is None  # this Redis has lost everything
    await eventually(lambda: answers(proxy.url, 200))


async def test_the_user_of_redis_that_the_page_shows_may_do_all_that_is_needed(
    redis: RedisServer, tmp_path: Path
) -> None:
    """No plugin asks Redis for anything that this user may not."""
    page = (CONTRIB.parent / "docs/deployment.md").read_text(encoding="utf-8")
    (line,) = re.findall(r"^ACL SETUSER jackfield .*$", page, re.MULTILINE)
    with Redis.from_url(redis.url) as admin:
        admin.execute_command(*line.split())
        config = ACL_CONFIG.format(url=redis.url.replace("//:password@", "//jackfield:password@"))
        with serving(tmp_path / "acl", config=config) as server:
            async with connect(server.url) as client, client.subscribe("a") as publications:
                await client.call("api.channels.publish", {"channel": "a", "data": 1})
                assert (await anext(aiter(publications))).data == 1
                assert (await client.call("api.channels.presence", {"channel": "a"}))["count"] == 1
                await client.call("api.kv.set", {"key": "a", "value": 1})
                assert (await client.call("api.kv.get", {"key": "a"}))["value"] == 1
                meta = {"idempotency-key": "0f8fad5b-d9cb-469f-a165-70867728950e"}
                for _ in range(2):
                    assert await client.call("api.services.test.add", {"a": 1, "b": 2}, meta=meta) == {"sum": 3}
            assert "permission" not in server.log
        assert admin.execute_command("ACL", "LOG") == []
