"""The link to Redis by itself: what it survives."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import redis as sync
from redis.asyncio import Redis
from redis.asyncio.client import Pipeline

from jackfield_redis import Away, Link, Script
from tests.support.redis import RedisServer
from tests.support.waiting import until

ECHO = Script("return {KEYS[1], ARGV[1]}")


class Diary:
    """Whose link it is."""

    def __init__(self) -> None:
        self.heard_of: list[tuple[str, bytes]] = []
        self.begun = 0
        self.losses = 0

    async def began(self) -> None:
        self.begun += 1

    def heard(self, topic: str, message: bytes) -> None:
        self.heard_of.append((topic, message))

    def lost(self) -> None:
        self.losses += 1


@asynccontextmanager
async def linked(redis: RedisServer) -> AsyncIterator[tuple[Link, Diary]]:
    """Open a link that hears of `a` and `b`."""
    diary = Diary()
    link = Link(redis.url, "test", ["a", "b"], diary, "a test")
    await link.open()
    try:
        yield link, diary
    finally:
        async with asyncio.timeout(10):
            await link.close()


async def test_it_asks_runs_tells_and_hears(redis: RedisServer) -> None:
    """Replies come in the order of the commands, and what is heard has the whole name of its topic."""
    async with linked(redis) as (link, diary):
        key = link.name("some", "key")
        assert key == "{test}:some:key"
        await link.ask("SET", key, 1)
        counted = [link.tell("INCR", key) for _ in range(300)]
        assert await asyncio.gather(*counted) == list(range(2, 302))
        for _ in range(2):
            assert await link.run(ECHO, [key], [b"\x00"]) == [key.encode(), b"\x00"]
            await link.ask("SCRIPT", "FLUSH")
        for topic in (link.name("a"), link.name("b"), link.own, link.name("c")):
            await link.ask("PUBLISH", topic, topic)
        await until(lambda: len(diary.heard_of) == 3)
        assert diary.heard_of == [(topic, topic.encode()) for topic in (link.name("a"), link.name("b"), link.own)]
        assert (diary.begun, diary.losses, link.trouble) == (1, 0, None)
        with pytest.raises(sync.ResponseError, match="WRONGTYPE"):
            await link.ask("LPUSH", key, "x")
        link.tell("LPUSH", key, "x")  # nobody cares
        await link.ask("DEL", key)
    with pytest.raises(Away):
        await link.ask("PING")


async def test_47_a_link_that_has_much_to_do_is_none_that_is_away(redis: RedisServer) -> None:
    """However long that takes: each of these keeps Redis busy for more than a millisecond."""
    busy = "local n = 0 for i = 1, 200000 do n = n + i end return 1"
    async with linked(redis) as (link, diary):
        assert await asyncio.gather(*(link.tell("EVAL", busy, 0) for _ in range(3000))) == [1] * 3000
        assert (diary.begun, diary.losses) == (1, 0)


async def test_47_an_event_loop_that_is_held_up_loses_nothing(redis: RedisServer) -> None:
    """What comes meanwhile is heard afterwards, and Redis is not taken for away."""
    async with linked(redis) as (link, diary):
        with sync.Redis.from_url(redis.url) as other:
            for number in range(3):
                other.publish(link.name("a"), number)
                time.sleep(1)  # noqa: ASYNC251 - this is what it is about
        await until(lambda: len(diary.heard_of) == 3)
        await link.ask("PING")
        assert (diary.begun, diary.losses) == (1, 0)


async def test_47_a_cancellation_that_is_lost_stops_nothing(redis: RedisServer, monkeypatch: Any) -> None:
    """Where redis-py swallows one, the link still comes back, and is still closed."""
    execute = Pipeline.execute
    swallowed = 0

    async def deaf(self: Any, raise_on_error: bool = True) -> Any:
        nonlocal swallowed
        try:
            await asyncio.sleep(60 if held.is_set() else 0)
        except asyncio.CancelledError:
            swallowed += 1
        return await execute(self, raise_on_error)

    held = asyncio.Event()
    monkeypatch.setattr(Pipeline, "execute", deaf)
    async with linked(redis) as (link, diary), Redis.from_url(redis.url) as operator:
        held.set()
        asked = link.tell("PING")
        await asyncio.sleep(0)
        await operator.client_kill_filter(_type="pubsub", skipme=True)
        with pytest.raises(Away) as caught:
            await asked
        assert caught.value.sent
        held.clear()
        await until(lambda: diary.begun == 2)
        assert await link.ask("INCR", link.name("alive")) == 1
        held.set()
        link.tell("PING")
        await asyncio.sleep(0)
    assert swallowed >= 2
    assert diary.losses == 1


async def test_a_link_that_may_not_publish_says_so(redis: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    """From the beginning, and once; nothing is done by half through it."""
    caplog.set_level(logging.INFO, "jackfield_redis")
    everything = {"enabled": True, "nopass": True, "keys": ["*"], "channels": ["*"], "categories": ["+@all"]}
    with sync.Redis.from_url(redis.url) as operator:
        operator.acl_setuser("mute", commands=["-publish"], **everything)
        mute = sync.connection.parse_url(redis.url) | {"username": "mute", "password": "any"}
        diary = Diary()
        link = Link("redis://{username}:{password}@{host}:{port}/0".format_map(mute), "test", ["a"], diary, "a test")
        await link.open()
        try:
            assert "no permissions to run the 'publish' command" in str(link.trouble)
            assert (diary.begun, len(caplog.records)) == (0, 1)
            operator.acl_setuser("mute", commands=["+publish"], **everything)
            await until(lambda: link.trouble is None)
            operator.acl_setuser("mute", commands=["-publish"], **everything)
            await until(lambda: "no permissions to run the 'publish' command" in str(link.trouble))
            assert (diary.begun, len(caplog.records)) == (1, 3)
        finally:
            await link.close()
            operator.acl_deluser("mute")


async def test_46_what_waits_is_told_at_once_when_redis_goes(redis: RedisServer) -> None:
    """All of it, and whether it was on its way; what is asked for afterwards is refused."""
    async with linked(redis) as (link, diary):
        redis.pause()
        try:
            first = [link.tell("PING") for _ in range(10)]
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            second = link.tell("PING")
            outcomes = await asyncio.gather(*first, second, return_exceptions=True)
            assert [isinstance(outcome, Away) and outcome.sent for outcome in outcomes] == [True] * 10 + [False]
            with pytest.raises(Away) as caught:
                await link.ask("PING")
            assert (caught.value.sent, str(caught.value)) == (False, "it has said nothing for 2 s")
            assert diary.losses == 1
        finally:
            redis.resume()
        await until(lambda: diary.begun == 2)
        assert await link.ask("EXISTS", link.name("nothing")) == 0
