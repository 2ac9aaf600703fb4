"""Redis that is not there, goes away, says nothing, or is cut off: what goes on, what is told, and how it heals."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from jackfield import CallError, JackfieldError
from plugins.redis.tests.nodes import Node, away, nodes, ready, received, two, well
from tests.support.client import Client, connected
from tests.support.proxy import Proxy, proxied
from tests.support.redis import RedisServer, need_redis, redis_server
from tests.support.waiting import eventually, until

AWAY = "The event may not have reached the clients of other servers; try again later."


@pytest.fixture(name="redis")
def _redis(tmp_path: Path) -> Iterator[RedisServer]:
    """One for each test: what it has gone through is its own."""
    need_redis()
    with redis_server(tmp_path, password="hunter2") as server:
        yield server


async def refused(one: Node, data: Any) -> None:
    """Tell something, which fails with what callers are told."""
    with pytest.raises(CallError) as caught:
        await one.tell(data)
    assert caught.value.as_dict() == {"code": "unavailable", "message": AWAY}


async def goes_on(one: Node, client: Client, other: Client) -> None:
    """Tell what works without Redis: calls, rooms, and events for the clients of the same server."""
    assert await client.call("api.meeting.echo", "calls") == {"data": "calls"}
    await client.call("api.meeting.join", "den")
    await refused(one, "before")
    with pytest.raises(CallError):
        await one.kernel.emit("news", "in a room", room="den")
    await client.call("api.meeting.leave", "den")
    await refused(one, "after")
    assert [await client.next("news") for _ in range(3)] == ["before", "in a room", "after"]
    assert (await client.call("api.meeting.tell", "reply"))["error"] == {"code": "unavailable", "message": AWAY}
    assert await client.next("news") == "reply"
    assert other.received["news"].empty()


async def heals(one: Node, another: Node, first: Client, second: Client) -> None:
    """Wait until both are well; what they tell then, each client gets, and nothing that was refused before."""
    await well(one, another)
    await one.tell("back")
    await another.tell("again")
    for client in (first, second):  # of two servers either may be heard first
        assert {await client.next("news"), await client.next("news")} == {"back", "again"}
    await one.tell("end")
    assert await received(first, "end") == await received(second, "end") == []
    for node in (one, another):
        assert "health/redis ok" in await ready(node, 200)


@pytest.mark.parametrize(
    "seconds", [0, pytest.param(5, marks=pytest.mark.full), pytest.param(40, marks=pytest.mark.full)]
)
@pytest.mark.timeout(120)
async def test_46_killed_and_restarted(redis: RedisServer, caplog: pytest.LogCaptureFixture, seconds: int) -> None:
    """What is told meanwhile is refused at once and reaches the clients here; then all is as before."""
    caplog.set_level("INFO")
    async with two(redis.url) as (one, another, first, second):
        redis.kill()
        await away(one, another)
        await goes_on(one, first, second)
        text = await ready(one, 503)
        assert "[-]health/redis failed: Redis is away (" in text
        assert "other servers' clients are not reached" in text
        await asyncio.sleep(seconds)  # for as long as the issue names
        await refused(one, "still")
        assert await first.next("news") == "still"
        redis.start()
        await heals(one, another, first, second)
    assert "hunter2" not in caplog.text + text
    assert "Traceback" not in caplog.text
    said = [record.message for record in caplog.records if record.name == "jackfield_redis.link"]
    assert sum("Redis is away" in line for line in said) == 2
    assert sum("Redis is there" in line for line in said) == 4


async def test_46_a_server_starts_without_redis(redis: RedisServer) -> None:
    """It serves, is not ready, and joins the others when Redis is there."""
    redis.kill()
    async with two(redis.url) as (one, another, first, second):
        await goes_on(one, first, second)
        assert "Redis is away" in await ready(one, 503)
        redis.start()
        await heals(one, another, first, second)


async def test_46_a_server_that_requires_redis_does_not_start_without(redis: RedisServer) -> None:
    """It says why; with Redis it starts."""
    async with nodes(redis.url, required=True) as (one,):
        assert one.trouble is None
    redis.kill()
    with pytest.raises(JackfieldError, match=r"Redis is away \(.*\), and plugins.redis.required is set"):
        async with nodes(redis.url, required=True):
            pass


async def test_46_a_wrong_password_is_no_redis(redis: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    """The server serves, says why it is alone, and does not say the password."""
    caplog.set_level("INFO")
    async with nodes(redis.url.replace("hunter2", "hunter3")) as (one,), connected(one.url, "websocket") as client:
        await refused(one, "alone")
        assert await client.next("news") == "alone"
        text = await ready(one, 503)
    assert "invalid username-password pair" in text
    assert "invalid username-password pair" in caplog.text
    assert "hunter" not in caplog.text + text


@pytest.mark.parametrize("seconds", [0, pytest.param(8, marks=pytest.mark.full)])
async def test_47_frozen(redis: RedisServer, seconds: int) -> None:
    """Whoever tells something hears within the deadline that it may be lost; nothing comes twice when Redis goes on."""
    async with two(redis.url) as (one, another, first, second):
        redis.pause()
        try:
            telling = [asyncio.create_task(one.tell(number)) for number in range(10)]
            await asyncio.sleep(0)
            assert await first.call("api.meeting.echo", "calls") == {"data": "calls"}
            told = await asyncio.gather(*telling, return_exceptions=True)
            assert [type(outcome) for outcome in told] == [CallError] * 10
            assert [await first.next("news") for _ in range(10)] == list(range(10))
            await away(one, another)
            await refused(one, "refused")
            assert await first.next("news") == "refused"
            await asyncio.sleep(seconds)  # for as long as the issue names
        finally:
            redis.resume()
        await well(one, another)
        await one.tell("end")
        assert await received(first, "end") == []
        # What was on its way when Redis froze it may pass on when it goes on; in order, and once.
        late = await received(second, "end")
        assert late == sorted(set(late))


@asynccontextmanager
async def behind(redis: RedisServer) -> AsyncIterator[tuple[Node, Node, Client, Client, Proxy]]:
    """Two nodes, of which the first one reaches Redis through a proxy."""
    async with proxied(redis.url) as (url, proxy), two(url, redis.url) as (one, another, first, second):
        yield one, another, first, second, proxy


@pytest.mark.parametrize("how", ["cut", "stalled"])
@pytest.mark.parametrize("seconds", [0, pytest.param(30, marks=pytest.mark.full)])
@pytest.mark.timeout(120)
async def test_47_cut_off(redis: RedisServer, how: str, seconds: int) -> None:
    """One of two: the other one goes on, and of what was told in between nothing comes twice or out of order."""
    async with behind(redis) as (one, another, first, second, proxy):
        if how == "cut":
            proxy.open = False
            proxy.cut()
        else:
            proxy.stall()
        await away(one)
        await goes_on(one, first, second)
        await another.tell("missed")  # told well, as far as anybody can know
        assert await second.next("news") == "missed"
        assert "health/redis ok" in await ready(another, 200)
        await asyncio.sleep(seconds)  # for as long as the issue names
        proxy.open = True
        proxy.go_on()
        await heals(one, another, first, second)


async def test_47_slow(redis: RedisServer) -> None:
    """What is told takes longer, keeps its order, and comes once; calls do not wait for it."""
    async with behind(redis) as (one, _, first, second, proxy):
        proxy.delay = 0.1
        telling = [asyncio.create_task(one.tell(number)) for number in range(200)]
        await until(lambda: first.received["news"].qsize() == 200)
        assert not all(task.done() for task in telling)
        assert await first.call("api.meeting.echo", "calls") == {"data": "calls"}
        await asyncio.gather(*telling)
        await one.tell("end")
        for client in (first, second):
            assert await received(client, "end") == list(range(200))


@pytest.mark.parametrize("kind", ["pubsub", "normal"])
async def test_47_one_connection_of_two_is_cut(redis: RedisServer, kind: str) -> None:
    """Whichever it is, the servers are whole again; of what is told meanwhile nothing comes twice or out of order."""
    async with two(redis.url) as (one, _, _, second), Redis.from_url(redis.url) as operator:
        told: list[int] = []
        got: list[int] = []

        async def hears() -> bool:
            told.append(len(told))
            with contextlib.suppress(CallError):
                await one.tell(told[-1])
            while not second.received["news"].empty():
                got.append(second.received["news"].get_nowait())
            return bool(got) and got[-1] >= before

        before = 0
        await eventually(hears)
        for _ in range(3):
            assert await operator.client_kill_filter(_type=kind, skipme=True) >= 1
            before = len(told)
            await eventually(hears)
        assert got == sorted(set(got))
