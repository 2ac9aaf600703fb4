"""What becomes of calls without the Redis that is to know of them."""

from __future__ import annotations

import asyncio

import pytest
from redis.asyncio import Redis

from jackfield import CallError
from jackfield_idempotency.plugin import jackfield_health
from plugins.idempotency.tests.effects import KEY, keyed
from plugins.idempotency.tests.test_stores import DONE, ticket
from tests.support.waiting import eventually, until

pytestmark = pytest.mark.parametrize("place", ["redis"], indirect=True)

OTHER = "7d444840-9dc0-11d1-b245-5ffdce74fad2"
AWAY = r"^unavailable: Idempotency-keys cannot be looked up now, so the call was not begun: try again with the same key"


async def healthy(kernel) -> bool:
    """Tell whether the plugin says that it is well."""
    try:
        await jackfield_health(kernel.kernel)
    except RuntimeError:
        return False
    return True


async def test_without_redis_no_call_with_a_key_is_done(serve_shop, effects, redis, caplog):
    """It could be the second time. Others are done; the plugin says that it is not well, until Redis is back."""
    async with serve_shop(lease=0.5) as kernel:
        client = await kernel.connect()
        assert await healthy(kernel)
        redis.kill()
        try:
            with pytest.raises(CallError, match=AWAY) as no:
                await keyed(client, "buy")
            assert no.value.retry_after == 1000
            assert not effects.done
            with pytest.raises(RuntimeError, match=r"^calls with an idempotency-key cannot be done: "):
                await jackfield_health(kernel.kernel)
            assert await client.call("shop.buy") == 1
        finally:
            redis.start()
        await eventually(lambda: healthy(kernel))
        assert [await keyed(client, "buy") for _ in range(2)] == [2, 2]
    assert caplog.text.count("Redis cannot be used") == 1
    assert caplog.text.count("Redis can be used again") == 1
    assert "hunter2" not in caplog.text


async def test_a_full_redis_takes_no_call_and_is_said_to_be_full_until_it_has_room(serve_shop, effects, redis, caplog):
    """What it still does, such as finding a call that it knows, is no sign that it takes a new one."""
    async with serve_shop(lease=0.5) as kernel, Redis.from_url(redis.url) as admin:
        client = await kernel.connect()
        assert await keyed(client, "buy") == 1
        await admin.config_set("maxmemory", 1)
        try:
            with pytest.raises(CallError, match=AWAY):
                await keyed(client, "buy", key=OTHER)
            assert effects.done["buy"] == 1
            refusals = (await admin.info("errorstats"))["errorstat_OOM"]["count"]
            assert await keyed(client, "buy") == 1

            async def refused_again() -> bool:
                return bool((await admin.info("errorstats"))["errorstat_OOM"]["count"] > refusals)

            await eventually(refused_again)
            with pytest.raises(RuntimeError, match="maxmemory"):
                await jackfield_health(kernel.kernel)
        finally:
            await admin.config_set("maxmemory", 0)
        await eventually(lambda: healthy(kernel))
        assert await keyed(client, "buy", key=OTHER) == 2
    assert caplog.text.count("Redis cannot be used") == 1
    assert caplog.text.count("Redis can be used again") == 1


async def test_a_reply_that_cannot_be_kept_is_kept_later(serve_shop, effects, redis):
    """Its caller has it; whoever asks again waits until Redis has it too, be it one that has lost all it had."""
    async with serve_shop(lease=0.5) as kernel:
        client = await kernel.connect()
        first = asyncio.create_task(keyed(client, "hold"))
        await until(lambda: effects.done["hold"])
        redis.kill()
        try:
            effects.go.set()
            assert await first == 1
            with pytest.raises(CallError, match=AWAY):
                await keyed(client, "hold")
        finally:
            redis.start()

        async def kept() -> bool:
            async with Redis.from_url(redis.url) as other:
                return bool([name async for name in other.scan_iter("*:call:*")])

        await eventually(kept)
        assert await keyed(client, "hold") == 1
        assert effects.done["hold"] == 1


async def test_a_redis_that_says_nothing(serve_shop, effects, redis, monkeypatch):
    """What it may have heard of a call that was not begun, it is to forget: the call can be made again."""
    monkeypatch.setattr("jackfield_idempotency.redis_store._TIMEOUT", 0.2)
    async with serve_shop(lease=0.5) as kernel:
        client = await kernel.connect()
        redis.pause()
        try:
            with pytest.raises(CallError, match=AWAY):
                await keyed(client, "buy")
        finally:
            redis.resume()

        async def bought() -> int:
            try:
                return int(await keyed(client, "buy"))
            except CallError:
                return 0

        assert await eventually(bought) == 1
        assert effects.done["buy"] == 1


async def test_a_redis_that_is_not_there_yet(serve_shop, caplog):
    """The plugin starts without it; the log does not have the password."""
    async with serve_shop(redis_url="redis://:hunter3@127.0.0.1:1/0") as kernel:
        assert not await healthy(kernel)
        with pytest.raises(CallError, match=AWAY):
            await keyed(await kernel.connect(), "buy")
    assert "hunter" not in caplog.text


async def test_nothing_is_left_behind(make, place, redis):
    """Nor do the names tell of a key, a caller or data."""
    store = await make(window=1, lease=0.5)
    first, freed = ticket("a"), ticket("b")
    async with Redis.from_url(redis.url) as client:

        async def left() -> list[bytes]:
            return sorted([name async for name in client.scan_iter(f"*{place['redis_prefix']}*")])

        for each in (first, freed):
            assert await store.begin(each) is None
        await store.free(freed)
        await store.end(first, DONE)
        prefix = "{" + place["redis_prefix"] + "}"
        assert await left() == [f"{prefix}:call:a".encode(), f"{prefix}:of:o".encode()]

        async def gone() -> bool:
            return not await left()

        await eventually(gone)


async def test_two_servers_know_the_same_calls(serve_shop, effects):
    """As clients find them that come back by another one."""
    async with serve_shop() as one, serve_shop() as two:
        clients = [await one.connect(), await two.connect()]
        keys = [f"{KEY}{number}" for number in range(20)]
        replies = await asyncio.gather(
            *(keyed(clients[n % 2], "give", key, key=key) for n in range(6) for key in keys),
        )
        assert replies == keys * 6
        assert effects.done["give"] == 20
