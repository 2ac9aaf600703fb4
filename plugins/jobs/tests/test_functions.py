"""Every function of `api.jobs`, called by a client."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from datetime import datetime
from typing import Any

import pytest

from jackfield import CallError
from jackfield.testing import Client
from plugins.jobs.tests.work import done, ended, state, states, submitted
from tests.support.waiting import LIMIT, until

IN_A_FILE = pytest.mark.parametrize("place", ["sqlite"], indirect=True)
"""For tests of what the store has no part in."""


@pytest.fixture(name="client")
async def _client(serve_jobs):
    async with serve_jobs(max_data=5000, max_result=5000) as kernel:
        yield await kernel.connect()


async def refused(client: Client, function: str, data: Any) -> CallError:
    """Return what the server says against a call."""
    stream = client.stream("api.jobs.watch", data) if function == "watch" else None
    with pytest.raises(CallError) as error:
        await (client.call(f"api.jobs.{function}", data) if stream is None else anext(stream))
    return error.value


async def test_a_job_is_done_with_nobody_waiting(client, work):
    """It is kept with its result."""
    submitted: Any = await client.call("api.jobs.submit", {"function": "work.add", "data": {"a": 1, "b": 2}})
    job = submitted["id"]
    assert (submitted["function"], submitted["attempts"], submitted["owner"]) == ("work.add", 3, None)
    await until(lambda: work.calls["add"])
    found = await ended(client, job)
    assert (found["state"], found["result"], found["attempt"], found["error"]) == ("succeeded", 3, 1, None)
    assert found["progress"] == {"done": 1, "total": 2, "message": "adding"}
    times = [datetime.fromisoformat(found[name]) for name in ("created", "started", "ended")]
    assert times == sorted(times)
    assert await state(client, job) == found


async def test_a_watch_tells_how_it_goes(client):
    """Its present state, its progress, never backwards, and at last how it has ended."""
    found = await states(client, await submitted(client, "steps", 20))
    assert {job["state"] for job in found} <= {"queued", "running", "succeeded"}
    steps = [job["progress"]["done"] for job in found if job["progress"]]
    assert steps == sorted(steps)
    assert len(set(steps)) > 2
    assert found[-1]["progress"] == {"done": 20, "total": 20, "message": "step 20"}
    assert found[-1]["state"] == "succeeded"
    again = await states(client, found[-1]["id"])
    assert again == found[-1:]


@IN_A_FILE
async def test_data_and_results_are_any_json_with_buffers(client):
    """As in a call."""
    assert (await done(client, "bytes_of", 3))["result"] == b"\0\0\0"
    assert (await done(client, "hold", "x", timeout=0.01))["error"]["code"] == "deadline_exceeded"


@IN_A_FILE
@pytest.mark.parametrize(
    ("function", "data", "code", "message"),
    [
        ("submit", {"function": "work.ad"}, "not_found", "There is no function 'work.ad'. Did you mean work.add"),
        ("submit", {"function": "work.stream"}, "invalid_argument", "work.stream is a stream, and only a function "),
        (
            "submit",
            {"function": "api.jobs.list"},
            "permission_denied",
            "api.jobs.list is not to be run as a job (plugins.jobs.functions).",
        ),
        (
            "submit",
            {"function": "work.hold", "data": "x" * 5000},
            "resource_exhausted",
            "The data has 5,003 bytes, and may have 5,000 (plugins.jobs.max_data).",
        ),
        ("get", {"id": "nobody"}, "not_found", "You have no job 'nobody'; jobs that have ended are forgotten after a "),
        ("watch", {"id": "nobody"}, "not_found", "You have no job 'nobody'; "),
        ("cancel", {"id": "x" * 1000}, "not_found", f"You have no job '{'x' * 100}'; "),
        (
            "list",
            {"everybody": True},
            "permission_denied",
            "You see your own jobs alone: all of them requires the scope jobs:admin.",
        ),
    ],
)
async def test_what_is_wrong_is_said(client, function, data, code, message):
    """In words for the person who reads it."""
    error = await refused(client, function, data)
    assert (error.code, error.message[: len(message)]) == (code, message)


@IN_A_FILE
@pytest.mark.parametrize(
    ("function", "data", "path"),
    [
        ("submit", {}, ["function"]),
        ("submit", {"function": ""}, ["function"]),
        ("submit", {"function": "work.add", "data": {"a": "x"}}, ["a"]),
        ("submit", {"function": "work.add", "data": {"a": 1}, "key": ""}, ["key"]),
        ("submit", {"function": "work.add", "data": {"a": 1}, "key": "x" * 201}, ["key"]),
        ("submit", {"function": "work.add", "data": {"a": 1}, "attempts": 0}, ["attempts"]),
        ("submit", {"function": "work.add", "data": {"a": 1}, "attempts": 101}, ["attempts"]),
        ("submit", {"function": "work.add", "data": {"a": 1}, "timeout": 0}, ["timeout"]),
        ("submit", {"function": "work.add", "data": {"a": 1}, "delay": -1}, ["delay"]),
        ("submit", {"function": "work.add", "data": {"a": 1}, "priority": 1}, ["priority"]),
        ("get", {}, ["id"]),
        ("get", {"id": 5}, ["id"]),
        ("watch", {"id": None}, ["id"]),
        ("cancel", {"id": "x", "why": "y"}, ["why"]),
        ("list", {"limit": 0}, ["limit"]),
        ("list", {"limit": 501}, ["limit"]),
        ("list", {"state": "done"}, ["state"]),
        ("list", {"cursor": "x" * 101}, ["cursor"]),
    ],
)
async def test_what_does_not_fit_is_named(client, work, function, data, path):
    """With the place where it is; data that the function would not take is refused at once."""
    error = await refused(client, function, data)
    assert error.code == "invalid_argument"
    assert [detail["path"] for detail in error.details] == [path]
    assert not work.calls


async def test_a_key_makes_one_job(client, work):
    """However often it is submitted, and by however many at once; it cannot be that of another call."""
    jobs = await asyncio.gather(*(submitted(client, "add", {"a": 1}, key="one") for _ in range(20)))
    assert len(set(jobs)) == 1
    assert (await ended(client, jobs[0]))["result"] == 2
    again: Any = await client.call("api.jobs.submit", {"function": "work.add", "data": {"a": 1}, "key": "one"})
    assert (again["id"], again["state"], work.calls["add"]) == (jobs[0], "succeeded", 1)
    for call in ({"function": "work.hold"}, {"function": "work.add", "data": {"a": 2}}):
        error = await refused(client, "submit", {**call, "key": "one"})
        assert error.code == "already_exists"
        assert error.message == (
            f"The key 'one' is that of your job {jobs[0]}, a call of work.add with other data or of another function: "
            "take another key."
        )


async def test_what_is_canceled_before_it_runs_never_does(serve_jobs, work):
    """And stays in the list as canceled."""
    async with serve_jobs(running=1) as kernel:
        client = await kernel.connect()
        first, second = await submitted(client, "hold"), await submitted(client, "add", {"a": 1})
        canceled: Any = await client.call("api.jobs.cancel", {"id": second})
        assert (canceled["state"], canceled["attempt"], canceled["due"]) == ("canceled", 0, None)
        work.go.set()
        assert (await ended(client, first))["state"] == "succeeded"
        assert (await done(client, "hold"))["state"] == "succeeded"
        assert (await state(client, second))["state"] == "canceled"
        assert not work.calls["add"]


async def test_what_runs_is_canceled_as_by_its_caller(client, work):
    """Its function cleans up, and then the job has ended; once more, and after the end, that changes nothing."""
    job = await submitted(client, "hold")
    await until(lambda: work.now)
    async with aclosing(client.stream("api.jobs.watch", {"id": job})) as items:
        assert (await anext(items))["state"] in ("queued", "running")
        for _ in range(2):
            await client.call("api.jobs.cancel", {"id": job})
        last = [item async for item in items][-1]
    assert (last["state"], last["result"], last["error"]) == ("canceled", None, None)
    assert work.ended == ["hold"]
    ended: Any = await client.call("api.jobs.cancel", {"id": job})
    assert (ended["state"], ended["ended"]) == ("canceled", last["ended"])
    good = await done(client, "add", {"a": 1})
    await client.call("api.jobs.cancel", {"id": good["id"]})
    assert await state(client, good["id"]) == good


async def test_a_list_is_the_newest_first(client, work):
    """In pages, of one state or function where that is asked for, without results."""
    jobs = [await submitted(client, "add", {"a": n}) for n in range(4)]
    for job in jobs:
        await ended(client, job)
    held = await submitted(client, "hold")
    await until(lambda: work.now)

    async def listed(**data: Any) -> tuple[list[str], str | None]:
        page: Any = await client.call("api.jobs.list", data or None)
        assert all("result" not in job for job in page["jobs"])
        return [job["id"] for job in page["jobs"]], page["next"]

    expected = sorted([held, *jobs], reverse=True)
    assert await listed() == (expected, None)
    assert await listed(state="running") == ([held], None)
    assert await listed(function="work.add", state="queued") == ([], None)
    first, following = await listed(function="work.add", limit=3)
    assert first == sorted(jobs, reverse=True)[:3]
    assert await listed(function="work.add", limit=3, cursor=following) == ([min(jobs)], None)
    assert await listed(cursor="nothing so late") == (expected, None)
    assert await listed(cursor="0") == ([], None)


async def test_many_watch_one_job(serve_jobs, work):
    """All of them hear how it ends; one that reads slowly holds up nobody, and hears the newest."""
    async with serve_jobs(max_watches=200) as kernel:
        clients = [await kernel.connect() for _ in range(2)]
        job = await submitted(clients[0], "steps", 30)
        async with clients[1].stream("api.jobs.watch", {"id": job}, credit=1) as slow, asyncio.timeout(LIMIT):
            await anext(slow)
            watches = [asyncio.create_task(ended(clients[n % 2], job)) for n in range(150)]
            assert {(await watch)["progress"]["done"] for watch in watches} == {30}
            rest = [item async for item in slow]
        assert len(rest) <= 3  # what was on its way, and how it has ended
        assert rest[-1]["state"] == "succeeded"


@IN_A_FILE
async def test_a_server_has_so_many_watches(serve_jobs, work):
    """The next one is told so; one that ends makes room."""
    async with serve_jobs(max_watches=2) as kernel:
        client = await kernel.connect()
        job = await submitted(client, "hold")
        async with client.stream("api.jobs.watch", {"id": job}) as one:
            await anext(one)
            async with client.stream("api.jobs.watch", {"id": job}) as two:
                await anext(two)
                error = await refused(client, "watch", {"id": job})
                assert error.code == "resource_exhausted"
                assert error.message == "There are 2 watches, and there may be no more (plugins.jobs.max_watches)."
                work.go.set()
                assert [item async for item in two][-1]["state"] == "succeeded"
            assert (await ended(client, job))["state"] == "succeeded"


async def test_a_watch_of_what_is_forgotten_ends(serve_jobs):
    """A job that has ended makes room for later ones."""
    async with serve_jobs(max_kept=2) as kernel:
        client = await kernel.connect()
        jobs = [(await done(client, "add", {"a": n}))["id"] for n in range(4)]
        for job in jobs[:2]:
            assert (await refused(client, "get", {"id": job})).code == "not_found"
        page: Any = await client.call("api.jobs.list")
        assert {job["id"] for job in page["jobs"]} == set(jobs[2:])
