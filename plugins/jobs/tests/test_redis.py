"""Servers that have their jobs in common through Redis, and what becomes of them without it."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest
from redis.asyncio import Redis

from jackfield import CallError
from jackfield_jobs.plugin import jackfield_health
from jackfield_jobs.store import Wanted
from plugins.jobs.tests.test_stores import DONE, job, taken
from plugins.jobs.tests.work import done, ended, state, submitted
from tests.support.waiting import eventually, until

pytestmark = pytest.mark.parametrize("place", ["redis"], indirect=True)


async def healthy(kernel) -> bool:
    """Tell whether the plugin says that it is well."""
    try:
        await jackfield_health(kernel.kernel)
    except RuntimeError:
        return False
    return True


async def test_a_redis_that_is_gone_is_told_and_waited_for(serve_jobs, redis, caplog):
    """Calls may come again, watches end so, the plugin is not well; when Redis is back, so is all the rest."""
    async with serve_jobs() as kernel:
        client = await kernel.connect()
        job = await submitted(client, "hold")
        async with client.stream("api.jobs.watch", {"id": job}) as items:
            await anext(items)
            redis.kill()
            try:
                for function, data in (
                    ("submit", {"function": "work.add", "data": {"a": 1}}),
                    ("get", {"id": job}),
                    ("list", {}),
                    ("cancel", {"id": job}),
                ):
                    with pytest.raises(CallError) as error:
                        await client.call(f"api.jobs.{function}", data)
                    assert (error.value.code, error.value.retry_after) == ("unavailable", 1000)
                assert not await healthy(kernel)
            finally:
                redis.start()
        await eventually(lambda: healthy(kernel))
        # This Redis has lost all it had; a job that ran has nowhere to end, and others do.
        assert (await done(client, "add", {"a": 1}))["result"] == 2
        with pytest.raises(CallError, match=r"^not_found: You have no job"):
            await state(client, job)
    assert len(re.findall("Redis cannot be used", caplog.text)) == 1
    assert len(re.findall("Redis can be used again", caplog.text)) == 1
    assert "hunter2" not in caplog.text


async def test_what_ends_while_redis_says_nothing_is_kept(serve_jobs, work, redis, monkeypatch):
    """As soon as it answers again."""
    monkeypatch.setattr("jackfield_jobs.saq_store._TIMEOUT", 0.2)
    async with serve_jobs(lease=60) as kernel:
        client = await kernel.connect()
        job = await submitted(client, "hold")
        await until(lambda: work.now)
        redis.pause()
        try:
            work.go.set()
            await until(lambda: work.ended)
            with pytest.raises(
                CallError, match=r"^unavailable: Jobs cannot be kept now; if this was a change, it may "
            ):
                await submitted(client, "add", {"a": 1})
        finally:
            redis.resume()

        async def kept() -> bool:
            try:
                return bool((await state(client, job))["state"] == "succeeded")
            except CallError:
                return False

        await eventually(kept)
        assert work.calls["hold"] == 1


async def test_a_redis_that_is_not_there_yet(serve_jobs):
    """The plugin starts without it; the log does not have the password."""
    async with serve_jobs(queue="redis://:hunter3@127.0.0.1:1/0") as kernel:
        assert not await healthy(kernel)
        with pytest.raises(CallError, match=r"^unavailable: "):
            await submitted(await kernel.connect(), "add", {"a": 1})


async def test_jobs_leave_nothing_behind(make, place, redis):
    """What has ended is forgotten in its time; by the list of all in a sweep, by its owner's when that is asked for."""
    store = await make(keep=1, lease=0.5)
    async with Redis.from_url(redis.url) as client:

        async def left() -> list[bytes]:
            return [name async for name in client.scan_iter(f"*{place['queue_name']}:*")]

        for _ in range(3):
            await store.add(job())
            found = await taken(store)
            assert len(await left()) > 3
            await store.finish(found, DONE)

        async def swept() -> bool:
            await store.sweep()
            return not await client.exists(f"{place['queue_name']}:all")

        async def gone() -> bool:
            await store.page(Wanted("ann"))
            return not await left()

        await eventually(swept)
        await eventually(gone)


async def test_many_jobs_at_once_are_each_done_once(serve_jobs, work):
    """At two servers, which take turns."""
    async with serve_jobs() as one, serve_jobs() as two:
        clients = [await one.connect(), await two.connect()]
        jobs = await asyncio.gather(*(submitted(clients[n % 2], "add", {"a": n}) for n in range(60)))
        found: list[dict[str, Any]] = [await ended(clients[(n + 1) % 2], job) for n, job in enumerate(jobs)]
        assert [job["result"] for job in found] == [n + 1 for n in range(60)]
        assert work.calls["add"] == 60
