"""What a store does, whatever it keeps jobs in; above all that of several servers one has a job."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from jackfield_jobs.faults import KeyTaken, NotFound, TooMuch
from jackfield_jobs.job import LOST, Job, Outcome, new_id, now, pack
from jackfield_jobs.store import Ending, Wanted
from tests.support.waiting import eventually, until

ERROR = {"code": "unavailable", "message": "later"}
DONE = Outcome("succeeded", pack(1), progress={"done": 1})


def job(owner="ann", **more) -> Job:
    created = now()
    fields = {"function": "f", "attempts": 2, "timeout": 1.5, "data": pack({"a": b"\0"}), "due": created, **more}
    return Job(new_id(created), owner, ("x", "y"), created=created, **fields)


async def taken(store) -> Job:
    """Return the next job that is due, as soon as one is."""
    return await eventually(store.take)


async def test_a_job_is_kept_as_it_was_given(make):
    """And given to who takes it with its data, once."""
    store, other = await make(), await make()
    added = job(key="k")
    assert await store.add(added) == added
    assert await other.get(added.id) == replace(added, data=None)
    found = await taken(other)
    assert found == replace(added, state="running", attempt=1, started=found.started)
    assert await store.take() is None
    assert await store.get("nobody") is None


async def test_one_server_has_a_job(make):
    """However many look for one."""
    stores = [await make(), await make()]
    jobs = [await stores[0].add(job()) for _ in range(20)]
    found = await asyncio.gather(*(taken(stores[n % 2]) for n in range(20)))
    assert {one.id for one in found} == {one.id for one in jobs}


async def test_how_a_job_ended_is_kept(make):
    """With its result, and how far it came."""
    store = await make()
    await store.add(job())
    found = await taken(store)
    await store.progress(found, {"done": 0.5, "message": "é"})
    assert (await store.get(found.id)).progress == {"done": 0.5, "message": "é"}
    await store.finish(found, DONE)
    ended = await store.get(found.id)
    assert (ended.state, ended.result, ended.progress, ended.has_ended) == ("succeeded", pack(1), {"done": 1}, True)


async def test_a_job_has_one_end(make):
    """What is said after it changes nothing."""
    store = await make()
    await store.add(job())
    found = await taken(store)
    await store.finish(found, DONE)
    ended = await store.get(found.id)
    await store.finish(found, Outcome("failed", error=ERROR))
    await store.put_back(found, now(), ERROR, counted=True)
    await store.progress(found, {"done": 7})
    assert (await store.cancel(found.id)).state == "succeeded"
    assert await store.get(found.id) == ended
    assert await store.take() is None


async def test_a_job_is_not_taken_before_its_time(make):
    """Others go before it."""
    store = await make()
    late, soon = await store.add(job(due=now() + 700)), await store.add(job())
    assert (await taken(store)).id == soon.id
    assert (await taken(store)).id == late.id
    assert now() >= late.due


async def test_what_has_ended_is_forgotten(make):
    """In its time; its key is free then, and no list has it."""
    store = await make(keep=1)
    await store.add(job(key="k"))
    found = await taken(store)
    await store.finish(found, DONE)

    async def forgotten() -> bool:
        await store.sweep()
        return await store.get(found.id) is None

    await eventually(forgotten)
    assert await store.page(Wanted(None)) == []
    assert (await store.add(job(key="k"))).state == "queued"


async def test_a_job_is_put_back(make):
    """With the attempt, or as if it had not been taken; and not before its time."""
    store = await make()
    await store.add(job())
    found = await taken(store)
    await store.put_back(found, now(), ERROR, counted=False)
    waiting = await store.get(found.id)
    assert (waiting.state, waiting.attempt, waiting.error) == ("queued", 0, ERROR)
    found = await taken(store)
    assert found.attempt == 1
    await store.put_back(found, now() + 3_600_000, ERROR, counted=True)
    assert await store.take() is None
    waiting = await store.get(found.id)
    assert (waiting.state, waiting.attempt, waiting.due > now() + 3_000_000) == ("queued", 1, True)


async def test_a_job_is_canceled(make):
    """Before it runs at once; while it runs its server is told, and what is put back has ended then."""
    store, other = await make(), await make()
    waiting = await store.add(job(due=now() + 3_600_000))
    assert (await other.cancel(waiting.id)).state == "canceled"
    await store.add(job())
    found = await taken(store)
    assert await store.look([found.id]) == Ending([], [])
    running = await other.cancel(found.id)
    assert (running.state, running.asked) == ("running", True)
    assert await store.look([found.id]) == Ending([found.id], [])
    await store.put_back(found, now(), ERROR, counted=False)
    assert (await other.get(found.id)).state == "canceled"
    with pytest.raises(NotFound, match=r"^You have no job 'nobody'"):
        await store.cancel("nobody")


async def test_a_silent_server_loses_its_jobs(make):
    """Those with attempts left are queued, others have failed; what it says of them later is not heard."""
    store, other = await make(lease=0.5), await make(lease=0.5)
    for attempts in (2, 1):
        await store.add(job(attempts=attempts))
    again, last = await taken(store), await taken(store)
    if again.attempts == 1:
        again, last = last, again
    await other.beat([])
    assert await other.sweep() == 0
    async with asyncio.timeout(20):
        lost = 0
        while lost < 2:
            await asyncio.sleep(0.05)
            await other.beat([])
            lost += await other.sweep()
    failed = await other.get(last.id)
    assert (failed.state, failed.error) == ("failed", LOST)
    found = await taken(other)
    assert (found.id, found.attempt) == (again.id, 2)
    assert set((await store.look([again.id, last.id])).lost) == {again.id, last.id}
    await store.progress(again, {"done": 7})
    await store.put_back(again, now(), ERROR, counted=True)
    await store.finish(again, Outcome("failed", error=ERROR))
    running = await other.get(again.id)
    assert (running.state, running.progress) == ("running", None)
    await other.finish(found, DONE)
    assert (await store.get(again.id)).state == "succeeded"


async def test_a_server_that_says_it_is_there_keeps_its_jobs(make):
    """However long they take."""
    store, other = await make(lease=0.5), await make(lease=0.5)
    await store.add(job())
    found = await taken(store)
    end = now() + 1200
    while now() < end:
        await store.beat([found.id])
        assert await other.sweep() == 0
        await asyncio.sleep(0.05)
    await store.finish(found, DONE)
    assert (await other.get(found.id)).state == "succeeded"


async def test_a_key_is_one_job_of_its_owner(make):
    """Also when it has ended; for another call it cannot be used."""
    store, other = await make(), await make()
    first = await store.add(job(key="k"))
    for _ in range(2):
        assert (await other.add(job(key="k"))).id == first.id
        if (found := await store.take()) is not None:
            await store.finish(found, DONE)
    assert (await other.add(job(key="k"))).state == "succeeded"
    assert (await store.add(job("bob", key="k"))).id != first.id
    for different in (job(key="k", function="g"), job(key="k", data=pack(1))):
        with pytest.raises(KeyTaken, match=f"^The key 'k' is that of your job {first.id}, a call of f with "):
            await other.add(different)


async def test_jobs_are_bounded(make):
    """Those that have not ended, of one owner and of all."""
    store = await make(max_open=3, max_open_per_principal=2)
    first, _ = await store.add(job()), await store.add(job())
    with pytest.raises(TooMuch, match=r"^2 of your jobs have not ended, .*max_open_per_principal\)\.$"):
        await store.add(job())
    await store.add(job("bob"))
    with pytest.raises(TooMuch, match=r"^3 jobs have not ended, and there may be no more \(plugins\.jobs\.max_open\)"):
        await store.add(job("carl"))
    await store.cancel(first.id)
    await store.add(job("carl"))


async def test_a_page_is_the_newest_first(make):
    """Of one owner or of all, in pages, of one state or function."""
    store = await make()
    jobs = [await store.add(job(owner, function=function)) for owner in ("ann", "bob") for function in ("f", "g")]
    running = await taken(store)

    async def listed(owner, **more):
        found = await store.page(Wanted(owner, **more))
        assert all(one.data is one.result is None for one in found)
        return [one.id for one in found]

    def ids(*wanted):
        return sorted((one.id for one in wanted), reverse=True)

    assert await listed(None) == ids(*jobs)
    assert await listed("ann") == ids(*jobs[:2])
    assert await listed("ann", function="g") == ids(jobs[1])
    assert await listed(None, state="running") == [running.id]
    assert await listed("carl") == []
    first = await listed(None, limit=3)
    assert first == ids(*jobs)[:3]
    assert await listed(None, after=first[-1]) == ids(*jobs)[3:]


async def test_changes_are_told(make):
    """By another server too."""
    told: list[str | None] = []
    store, other = await make(tell=told.append), await make()
    added = await store.add(job())
    assert added.id in told
    del told[:]
    await other.cancel(added.id)
    await until(lambda: {None, added.id} & set(told))
