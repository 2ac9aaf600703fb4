"""How jobs are run: as whom, how often, how many at once, and how they end."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from jackfield import CallError, Principal
from jackfield_jobs import plugin
from jackfield_jobs.faults import Away
from plugins.jobs.tests.work import done, ended, state, submitted
from tests.support.waiting import eventually, until

IN_A_FILE = pytest.mark.parametrize("place", ["sqlite"], indirect=True)
"""For tests of what the store has no part in; and those that move the time, by which connections would be gone."""
SCOPE = "jobs:run"
ANN = Principal("ann", scopes=frozenset({SCOPE, "secret"}))
BOB = Principal("bob", scopes=frozenset({SCOPE}))
ROOT = Principal("root", scopes=frozenset({SCOPE, "jobs:admin"}))


@IN_A_FILE
@pytest.mark.parametrize(
    ("data", "attempts", "outcome"),
    [
        ({"times": 2, "code": "unavailable", "message": "m"}, 3, ("succeeded", 3, None)),
        ({"times": 1, "code": "resource_exhausted", "message": "m", "retry_after": 1}, 2, ("succeeded", 2, None)),
        ({"code": "resource_exhausted", "message": "m"}, 3, ("failed", 1, "resource_exhausted")),
        ({"code": "unavailable", "message": "m"}, 2, ("failed", 2, "unavailable")),
        ({"code": "unavailable", "message": "m"}, 1, ("failed", 1, "unavailable")),
        ({"code": "aborted", "message": "m"}, 3, ("failed", 1, "aborted")),
        ({"code": "deadline_exceeded", "message": "m"}, 3, ("failed", 1, "deadline_exceeded")),
    ],
)
async def test_what_can_succeed_later_is_tried_again(serve_jobs, work, data, attempts, outcome):
    """As often as it may be; any other failure is the end."""
    async with serve_jobs() as kernel:
        found = await done(await kernel.connect(), "fail", data, attempts=attempts)
        assert (found["state"], found["attempt"], found["error"] and found["error"]["code"]) == outcome
        assert work.calls["fail"] == found["attempt"]


@IN_A_FILE
async def test_a_failure_is_told_as_to_a_caller(serve_jobs, caplog):
    """With the id under which the log has it; and so is a result that is too large."""
    async with serve_jobs(max_result=1000) as kernel:
        client = await kernel.connect()
        error = (await done(client, "crash"))["error"]
        assert error["code"] == "internal"
        assert error["error_id"] in caplog.text
        assert "ZeroDivisionError" not in str(error)
        found = await done(client, "bytes_of", 2000)
        assert (found["state"], found["result"]) == ("failed", None)
        assert found["error"]["message"] == "The result has 2,003 bytes, and may have 1,000 (plugins.jobs.max_result)."


@IN_A_FILE
async def test_an_attempt_has_so_much_time(serve_jobs, work):
    """That of the settings, if not less; its function is stopped."""
    async with serve_jobs(timeout=0.05) as kernel:
        client = await kernel.connect()
        for more in ({}, {"timeout": 0.01}, {"timeout": 1000}):
            found = await done(client, "hold", **more)
            assert (found["state"], found["error"]["code"]) == ("failed", "deadline_exceeded")
        assert work.ended == ["hold"] * 3


async def test_so_many_run_at_once(serve_jobs, work):
    """In the order in which they were submitted."""
    async with serve_jobs(running=2) as kernel:
        client = await kernel.connect()
        jobs = [await submitted(client, "hold", f"{n}") for n in range(6)]
        await until(lambda: work.now == 2)
        assert set(work.calls) == {"hold0", "hold1"}
        work.go.set()
        for job in jobs:
            assert (await ended(client, job))["state"] == "succeeded"
        assert work.most == 2


async def test_a_server_may_run_none(serve_jobs, work):
    """It takes jobs in, and another one runs them."""
    async with serve_jobs(running=0) as one:
        client = await one.connect()
        job = await submitted(client, "add", {"a": 1})
        async with serve_jobs() as two:
            assert (await ended(await two.connect(), job))["result"] == 2
        assert (await ended(client, job))["result"] == 2


async def test_what_another_server_runs_is_watched_and_canceled_here(serve_jobs, work):
    """Whichever of several servers somebody is connected to."""
    async with serve_jobs(running=0) as one, serve_jobs() as two:
        client = await one.connect()
        job = await submitted(client, "hold")
        async with client.stream("api.jobs.watch", {"id": job}) as items:
            while (await anext(items))["state"] != "running":
                pass
            await client.call("api.jobs.cancel", {"id": job})
            assert [item["state"] async for item in items][-1] == "canceled"
        assert work.ended == ["hold"]
        assert (await state(await two.connect(), job))["state"] == "canceled"


@IN_A_FILE
async def test_a_job_can_wait(serve_jobs, work):
    """Until its time has come, and others go before it."""
    async with serve_jobs() as kernel:
        client = await kernel.connect()
        job = await submitted(client, "hold", "late", delay=3600)
        assert (await done(client, "add", {"a": 1}))["state"] == "succeeded"
        assert (await state(client, job))["state"] == "queued"
        await kernel.clock.advance(3600)
        await until(lambda: work.calls["holdlate"])
        work.go.set()
        assert (await ended(client, job))["state"] == "succeeded"


async def test_a_server_that_was_silent_stops_what_it_has_lost(serve_jobs, work, monkeypatch):
    """Another one has queued it again, and one of the two runs it anew; that is how it ends, once."""
    async with serve_jobs(lease=0.6) as one:
        client = await one.connect()
        job = await submitted(client, "hold", attempts=50)
        await until(lambda: work.now)

        async def silent(*_: object) -> int:
            """Say nothing."""
            return 0

        for name in ("beat", "sweep"):
            monkeypatch.setattr(plugin._opened[one.kernel]._store, name, silent)
        async with serve_jobs(lease=0.6):
            await until(lambda: work.calls["hold"] > 1 and work.ended)
            work.go.set()
            found = await ended(client, job)
        assert (found["state"], found["attempt"]) == ("succeeded", work.calls["hold"])
        await until(lambda: len(work.ended) == work.calls["hold"])


async def test_a_call_that_is_over_is_not_canceled(serve_jobs, work, monkeypatch):
    """Its result could not be kept yet, and it will be."""
    async with serve_jobs() as kernel:
        client = await kernel.connect()
        store = plugin._opened[kernel.kernel]._store
        finish, there = store.finish, asyncio.Event()

        async def late(*arguments: Any) -> None:
            if not there.is_set():
                raise Away("not now")
            await finish(*arguments)

        monkeypatch.setattr(store, "finish", late)
        job = await submitted(client, "add", {"a": 1})
        await until(lambda: work.calls["add"])
        canceled: Any = await client.call("api.jobs.cancel", {"id": job})
        assert canceled["state"] == "running"
        there.set()
        assert (await ended(client, job))["result"] == 2


async def test_a_job_is_its_submitters(serve_jobs):
    """To others it is not there; an administrator sees all."""
    async with serve_jobs(authenticated=True) as kernel:
        ann, bob, root = [await kernel.connect(as_=who) for who in (ANN, BOB, ROOT)]
        job = (await done(ann, "who"))["id"]
        assert (await state(ann, job))["result"] == ["ann", [SCOPE, "secret"]]
        for function in ("get", "cancel"):
            with pytest.raises(CallError) as other:
                await bob.call(f"api.jobs.{function}", {"id": job})
            with pytest.raises(CallError) as absent:
                await bob.call(f"api.jobs.{function}", {"id": job[::-1]})
            assert other.value.code == "not_found"
            assert other.value.message.replace(job, "") == absent.value.message.replace(job[::-1], "")
        with pytest.raises(CallError, match=r"^not_found: You have no job"):
            await anext(bob.stream("api.jobs.watch", {"id": job}))
        mine = (await done(bob, "who", key="k"))["id"]
        assert (await done(root, "who", key="k"))["id"] != mine
        found: Any = await bob.call("api.jobs.list")
        assert [one["id"] for one in found["jobs"]] == [mine]
        found = await root.call("api.jobs.list", {"everybody": True})
        assert [one["owner"] for one in found["jobs"]] == ["root", "bob", "ann"]
        assert (await state(root, job))["owner"] == "ann"
        nobody = await kernel.connect(as_=Principal("carl"))
        with pytest.raises(CallError, match=r"^not_found: There is no function 'api\.jobs\.submit'"):
            await submitted(nobody, "who")


@IN_A_FILE
async def test_a_job_has_the_rights_of_its_submitter(serve_jobs):
    """When it is submitted, and when it runs, with what the operator says then."""
    async with serve_jobs(authenticated=True, running=0) as kernel:
        ann, bob = [await kernel.connect(as_=who) for who in (ANN, BOB)]
        with pytest.raises(CallError, match=r"^not_found: There is no function 'work\.secret'"):
            await submitted(bob, "secret")
        with pytest.raises(CallError, match=r"^permission_denied: You may not call this function: it requires secret"):
            await submitted(bob, "known")
        job, other = await submitted(ann, "secret"), await submitted(ann, "who")
    rules = [{"functions": "work.secret", "requires": "more"}]
    async with serve_jobs(authenticated=True, config={"access": {"rules": rules}}) as kernel:
        ann = await kernel.connect(as_=ANN)
        assert (await ended(ann, job))["error"]["code"] == "not_found"
        assert (await ended(ann, other))["result"] == ["ann", [SCOPE, "secret"]]


@IN_A_FILE
async def test_nobodys_job_has_no_rights_once_callers_have_them(serve_jobs, work):
    """It was submitted before anybody had to say who they are."""
    async with serve_jobs(running=0) as kernel:
        job = await submitted(await kernel.connect(), "secret")
    async with serve_jobs(authenticated=True) as kernel:
        found = await ended(await kernel.connect(as_=ROOT), job)
        assert (found["owner"], found["state"], found["error"]["code"]) == (None, "failed", "unauthenticated")


@IN_A_FILE
async def test_a_plugin_that_is_gone_ends_its_jobs(serve_jobs, work):
    """They are told what a caller would be; so are those of functions that may be no jobs any more."""
    async with serve_jobs(running=0) as kernel:
        client = await kernel.connect()
        jobs = [await submitted(client, "add", {"a": 1}) for _ in range(2)]
    async with serve_jobs(neighbours={}) as kernel:
        found = await ended(await kernel.connect(), jobs[0])
        assert (found["state"], found["error"]["code"], found["attempt"]) == ("failed", "not_found", 1)
    async with serve_jobs(running=0, functions=("work.a*", "work.hold")) as kernel:
        client = await kernel.connect()
        held = await submitted(client, "hold")
        with pytest.raises(CallError, match=r"^permission_denied: work\.crash is not to be run as a job \(plugins\."):
            await submitted(client, "crash")
    async with serve_jobs(functions=("work.add",)) as kernel:
        error = (await ended(await kernel.connect(), held))["error"]
        assert (error["code"], error["message"][:9]) == ("permission_denied", "work.hold")
    assert not work.calls


@IN_A_FILE
async def test_a_plugin_out_of_service_lets_jobs_wait(serve_jobs, work):
    """Without an attempt; and nobody can submit more meanwhile."""
    async with serve_jobs(running=1) as kernel:
        client = await kernel.connect()
        first = await submitted(client, "hold")
        second = await submitted(client, "add", {"a": 1}, attempts=1)
        await until(lambda: work.now)
        kernel.quarantine("work")
        work.go.set()
        assert (await ended(client, first))["state"] == "succeeded"

        async def told() -> Any:
            found = await state(client, second)
            return found["error"] and found

        found = await eventually(told)
        assert (found["state"], found["attempt"], found["error"]["code"]) == ("queued", 0, "unavailable")
        with pytest.raises(CallError, match=r"^unavailable: "):
            await submitted(client, "add", {"a": 1})
        kernel.release("work")
        async with client.stream("api.jobs.watch", {"id": second}) as items:
            await anext(items)
            await kernel.clock.advance(60)
            found = [item async for item in items][-1]
        assert (found["state"], found["attempt"], found["result"]) == ("succeeded", 1, 2)


@IN_A_FILE
async def test_jobs_are_bounded(serve_jobs, work):
    """Those of one principal, and all of them."""
    async with serve_jobs(authenticated=True, running=1, max_open=5, max_open_per_principal=3) as kernel:
        ann, bob = [await kernel.connect(as_=who) for who in (ANN, BOB)]
        jobs = [await submitted(ann, "hold") for _ in range(3)]
        with pytest.raises(CallError) as error:
            await submitted(ann, "hold")
        assert str(error.value) == (
            "resource_exhausted: 3 of your jobs have not ended, and there may be no more "
            "(plugins.jobs.max_open_per_principal)."
        )
        for _ in range(2):
            await submitted(bob, "hold")
        with pytest.raises(CallError) as error:
            await submitted(bob, "hold")
        assert str(error.value) == (
            "resource_exhausted: 5 jobs have not ended, and there may be no more (plugins.jobs.max_open)."
        )
        await ann.call("api.jobs.cancel", {"id": jobs[2]})
        await submitted(ann, "hold")


async def test_a_job_that_makes_jobs_is_bounded(serve_jobs, work):
    """Each submits two of itself, until there may be no more."""
    async with serve_jobs(running=4, max_open_per_principal=20) as kernel:
        client = await kernel.connect()
        await submitted(client, "bomb")
        await until(lambda: work.calls["resource_exhausted"] > 20)
        page: Any = await client.call("api.jobs.list", {"limit": 500})
        assert len([job for job in page["jobs"] if job["ended"] is None]) <= 20


@IN_A_FILE
async def test_what_ended_long_ago_is_forgotten(serve_jobs):
    """When it has been kept for its time."""
    async with serve_jobs(keep=100, lease=3) as kernel:
        client = await kernel.connect()
        job = (await done(client, "add", {"a": 1}))["id"]
        await kernel.clock.advance(99)
        assert (await state(client, job))["state"] == "succeeded"
        await kernel.clock.advance(3)

        async def forgotten() -> bool:
            return not (await client.call("api.jobs.list"))["jobs"]

        await eventually(forgotten)
        with pytest.raises(CallError, match=r"^not_found: You have no job"):
            await state(client, job)
