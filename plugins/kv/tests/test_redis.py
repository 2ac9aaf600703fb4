"""Servers that have their values in common through Redis, and what becomes of them without it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack, ExitStack, aclosing
from functools import partial
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from pydantic import SecretStr
from redis.asyncio import Redis

from jackfield import CallError
from jackfield.client import connect
from jackfield_kv.faults import Away
from jackfield_kv.kv import Kv
from jackfield_kv.settings import KvSettings
from jackfield_kv.watches import Wanted
from plugins.kv.tests.calls import counted, put
from tests.support.redis import RedisServer
from tests.support.server import Server, serving
from tests.support.waiting import LIMIT, until

CONFIG = '[plugins]\npolicy = "listed"\nenabled = ["kv"]\n[plugins.kv]\nredis_url = "{url}"\n'


@pytest.fixture(scope="module", name="pair")
def _pair(redis: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Server]]:
    """Two servers on one Redis."""
    with ExitStack() as stack:
        one, two = (
            stack.enter_context(serving(tmp_path_factory.mktemp(name), config=CONFIG.format(url=redis.url)))
            for name in ("one", "two")
        )
        yield one, two


@pytest.fixture(name="clients")
async def _clients(pair):
    """A client of each."""
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(connect(server.url)) for server in pair]


def health(server: Server) -> tuple[int, str]:
    try:
        with urlopen(f"{server.url}/readyz?verbose", timeout=20) as response:
            return response.status, str(response.read().decode())
    except HTTPError as error:
        return error.code, str(error.read().decode())


def feels(server: Server, status: int, text: str) -> bool:
    """Tell whether it says so; probes that come soon after one another get the same answer."""
    found, said = health(server)
    return found == status and text in said


async def test_two_servers_have_the_same_values(clients):
    """Buffers included; and neither has a file."""
    one, two = clients
    version = await put(one, "a", {"x": [b"\x00\xff\n", "é\U0001f4a1"]})
    entry = {"key": "a", "value": {"x": [b"\x00\xff\n", "é\U0001f4a1"]}, "version": version, "expires": None}
    assert await two.call("api.kv.get", {"key": "a"}) == entry
    assert [item async for item in two.stream("api.kv.list", {"prefix": "a"})] == [entry]


async def test_many_clients_count_without_a_loss(clients):
    """At two servers, by compare-and-set."""
    assert len(set(await counted(clients * 2))) == 40
    assert (await clients[0].call("api.kv.get", {"key": "count"}))["value"] == 40


async def test_a_watch_hears_of_both_servers(clients):
    """In order, what expires included."""
    one, two = clients
    async with one.stream("api.kv.watch", {"prefix": "w/"}) as items, asyncio.timeout(LIMIT):
        assert (await anext(items))["event"] == "reached"
        versions = [await put(two, "w/a", "x", ttl=0.05), await put(one, "w/b", b"\x00")]
        heard = [await anext(items) for _ in range(3)]
        assert [item["revision"] for item in heard if item["event"] == "set"] == versions
        assert [item["key"] for item in heard if item["event"] == "expire"] == ["w/a"]


async def test_without_redis_calls_may_come_again(clients, pair, redis):
    """They are told so, the server is not ready, watches end with where to go on; when Redis is back, all is well."""
    one, two = clients
    before = await put(one, "a", 1)
    async with two.stream("api.kv.watch", {"key": "a"}) as items, asyncio.timeout(LIMIT):
        assert [(await anext(items))["revision"], (await anext(items))["event"]] == [before, "reached"]
        redis.kill()
        try:
            with pytest.raises(CallError) as ended:
                await anext(items)
            assert ended.value.code == "unavailable"
            assert ended.value.message.endswith(f"The watch can go on with `after` {before}.")
            assert ended.value.retry_after == 1000
            for function, data in (("get", {"key": "a"}), ("set", {"key": "a", "value": 2}), ("delete", {"key": "a"})):
                with pytest.raises(CallError) as error:
                    await one.call(f"api.kv.{function}", data)
                assert (error.value.code, error.value.retry_after) == ("unavailable", 1000)
            for server in pair:
                await until(partial(feels, server, 503, "health/kv failed: the store cannot be reached: "))
        finally:
            redis.start()
    for server in pair:
        await until(partial(feels, server, 200, "health/kv ok"))
    # This Redis has lost all it had: versions go on all the same, and who knows an old one is told.
    async with asyncio.timeout(LIMIT), two.stream("api.kv.watch", {"key": "a", "after": before}) as items:
        assert await put(one, "a", 3) > before
        with pytest.raises(CallError) as error:
            await anext(items)
        assert error.value.code == "out_of_range"
    for server in pair:
        assert server.log.count("Redis cannot be reached") == 1
        assert server.log.count("Redis is back") == 1
        assert "Traceback" not in server.log
        assert "hunter2" not in server.log + health(server)[1]


async def test_a_redis_that_says_nothing_is_away(redis, monkeypatch):
    """Whoever asks waits for a little, and no longer."""
    monkeypatch.setattr("jackfield_kv.redis_store._TIMEOUT", 0.1)
    kv = await Kv.open(KvSettings(redis_url=SecretStr(redis.url), redis_prefix="paused"))
    try:
        redis.pause()
        try:
            with pytest.raises(Away, match="if this was a change, it may have been made"):
                await kv.set("a", 1)
            assert kv.trouble() is not None
        finally:
            redis.resume()
        await until(lambda: kv.trouble() is None)
        assert (await kv.set("b", 1)) > 0
    finally:
        await kv.close()


async def test_a_redis_that_is_not_there_yet(tmp_path_factory):
    """The plugin starts without it, and is there when Redis is."""
    kv = await Kv.open(KvSettings(redis_url=SecretStr("redis://:hunter3@127.0.0.1:1/0")))
    try:
        assert "hunter" not in (kv.trouble() or "hunter")
        with pytest.raises(Away):
            await kv.get("a")
        async with aclosing(kv.watch(Wanted(""), None)) as items:
            with pytest.raises(Away):
                await anext(items)
    finally:
        await kv.close()


async def test_what_is_kept_in_redis_goes_with_its_values(redis):
    """Deleted and expired values leave nothing but the history, which is bounded."""
    kv = await Kv.open(KvSettings(redis_url=SecretStr(redis.url), redis_prefix="tidy", history=5))
    try:
        start = await kv.set("first", 1)
        for number in range(10):
            await kv.set(f"{number}", number, 0.001 if number % 2 else 60)
        for key in ("first", *map(str, range(0, 10, 2))):
            await kv.delete(key)
        async with Redis.from_url(redis.url) as client, asyncio.timeout(LIMIT):
            while await client.hget("{tidy}:meta", "revision") != b"%d" % (start + 21):  # noqa: ASYNC110 - the broom
                await asyncio.sleep(0.01)
            assert sorted([name async for name in client.scan_iter("{tidy}:*")]) == [b"{tidy}:log", b"{tidy}:meta"]
            assert await client.xlen("{tidy}:log") == 5
            assert await client.hget("{tidy}:meta", "bytes") == b"0"
    finally:
        await kv.close()
