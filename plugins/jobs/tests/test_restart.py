"""Jobs outlive their server: real ones are killed, or told to go, in the middle of their jobs."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from jackfield.client import Client, connect
from tests.support.plugins import write_plugin
from tests.support.redis import RedisServer
from tests.support.server import serving
from tests.support.waiting import eventually, until

CONFIG = """
[server]
drain_timeout = {drain}
[plugins]
policy = "listed"
enabled = ["jobs", "work"]
[plugins.jobs]
{where}
lease = 0.6
max_kept = 100_000
max_open = 20_000
max_open_per_principal = 20_000
"""
MORE = 8_000_000
"""Bytes that a server may have more when it has many jobs."""
PLUGIN = """
    import asyncio, os
    from pathlib import Path
    from jackfield import Call, Service, hookimpl

    service = Service("work")

    def note(line):
        with open(os.environ["DIARY"], "a") as diary:
            diary.write(line + "\\n")

    @service.function
    async def step(call: Call, data: str) -> str:
        note(data)
        await asyncio.sleep(0.02)
        return data

    @service.function
    async def slow(call: Call, data: str) -> str:
        note(data)
        await asyncio.sleep(0.3)
        return data

    @service.function
    async def quick(call: Call, data: str) -> None:
        note(data)

    @service.function
    async def wait(call: Call, data: str) -> str:
        note(data)
        try:
            while not Path(os.environ["DIARY"] + ".go").exists():
                call.progress(1)
                await asyncio.sleep(0.01)
        finally:
            note("end of " + data)
        return data

    @hookimpl
    def jackfield_services():
        return [service]
"""


class Place:
    """Where servers run one after the other, with the same jobs, and a diary of the calls that were made."""

    def __init__(self, folder: Path, where: str = "") -> None:
        self._folder = folder
        self._where = where or f'path = "{folder / "jobs.sqlite3"}"'
        self._diary = folder / "diary"
        self._diary.touch()
        self._plugins = write_plugin(folder / "plugins", "work", PLUGIN, namespaces=["work"])

    @property
    def diary(self) -> list[str]:
        """What was written down."""
        return self._diary.read_text().splitlines()

    def has(self, lines: int) -> bool:
        """Tell whether so many lines were written down."""
        return len(self.diary) >= lines

    def go(self) -> None:
        """Let the calls of `wait` end."""
        (self._folder / "diary.go").touch()

    def serving(self, name: str = "server", drain: float = 10) -> Any:
        """Run a server."""
        return serving(
            self._folder / name,
            config=CONFIG.format(where=self._where, drain=drain),
            path=[self._plugins],
            env={"DIARY": str(self._diary)},
        )


@pytest.fixture(name="place")
def _place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if getattr(request, "param", "sqlite") == "sqlite":
        return Place(tmp_path)
    redis: RedisServer = request.getfixturevalue("redis")
    return Place(tmp_path, f'queue = "{redis.url}"\nqueue_name = "{tmp_path.name}"')


async def submit(client: Client, function: str, names: Iterable[str], **more: Any) -> dict[str, str]:
    """Submit a job for each name, some at once, and return their names by their ids."""
    left, jobs = list(names), dict[str, str]()
    while some := left[:50]:
        del left[:50]
        answers: list[Any] = await asyncio.gather(
            *(client.call("api.jobs.submit", {"function": f"work.{function}", "data": name, **more}) for name in some)
        )
        jobs |= {job["id"]: name for job, name in zip(answers, some, strict=True)}
    return jobs


async def all_ended(client: Client, jobs: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return jobs as they have ended."""

    async def ended(job: str) -> Any:
        found: Any = await client.call("api.jobs.get", {"id": job})
        return found["ended"] and found

    return {job: await eventually(lambda job=job: ended(job)) for job in jobs}  # type: ignore[misc]


@pytest.mark.parametrize("place", ["sqlite", pytest.param("redis", marks=pytest.mark.full)], indirect=True)
@pytest.mark.parametrize(("count", "kills"), [(40, 1), pytest.param(1000, 8, marks=pytest.mark.full)])
async def test_a_killed_server_loses_no_job(place: Place, count: int, kills: int) -> None:
    """Each ends once. What ran when the server was killed is called again, if it may be, and nothing else is.

    Three run at once beside the one that may be called once.
    """
    jobs: dict[str, str] = {}
    once: dict[str, str] = {}
    for number in range(kills):
        with place.serving() as server:
            async with connect(server.url, reconnect=False) as client:
                if not jobs:
                    once = await submit(client, "wait", ["once"], attempts=1)
                    jobs = await submit(client, "step", [f"{n}" for n in range(count)], attempts=kills + 1)
                enough = (number + 1) * count // (kills + 1)
                await until(partial(place.has, enough))
                assert server.stop(signal.SIGKILL) == -signal.SIGKILL
    with place.serving() as server:
        async with connect(server.url) as client:
            found = await all_ended(client, jobs)
            (cut,) = (await all_ended(client, once)).values()
        assert "ran at a server that is silent" in server.log
        assert "Traceback" not in server.log
        assert server.stop() == 0
    assert {job: (one["state"], one["result"]) for job, one in found.items()} == {
        job: ("succeeded", name) for job, name in jobs.items()
    }
    assert (cut["state"], cut["attempt"], cut["error"]["code"]) == ("failed", 1, "aborted")
    assert cut["error"]["message"] == "The server stopped while the job ran, and no attempt is left."
    calls = Counter(place.diary)
    assert calls.pop("once") == 1
    assert set(calls) == set(jobs.values())
    assert all(calls[jobs[job]] <= one["attempt"] for job, one in found.items())
    assert calls.total() <= count + 4 * kills  # so many run at once


@pytest.mark.parametrize("place", [pytest.param("sqlite", marks=pytest.mark.full), "redis"], indirect=True)
async def test_another_server_takes_over(place: Place) -> None:
    """It has the same file, and is there when the first one is killed."""
    with place.serving("one") as one, place.serving("two") as two:
        async with connect(one.url, reconnect=False) as client, connect(two.url) as other:
            jobs = await submit(client, "wait", [f"{n}" for n in range(8)])
            await until(lambda: len(place.diary) == 8)  # four at each
            one.stop(signal.SIGKILL)
            place.go()
            found = await all_ended(other, jobs)
            assert {job["state"] for job in found.values()} == {"succeeded"}
            assert Counter(job["attempt"] for job in found.values()) == {1: 4, 2: 4}


async def test_a_server_that_is_told_to_go_brings_to_an_end_what_it_can(place: Place) -> None:
    """It begins nothing more. What does not end cleans up and is put back, if it has not had its last attempt."""
    with place.serving(drain=1) as server:
        async with connect(server.url, reconnect=False) as client:
            jobs = await submit(client, "wait", ["twice", "thrice"], attempts=2)
            jobs |= await submit(client, "wait", ["last"], attempts=1)
            jobs |= await submit(client, "slow", ["slow"])
            await until(lambda: len(place.diary) == 4)
            jobs |= await submit(client, "step", ["queued"])
            assert await asyncio.to_thread(server.stop) == 0
        assert Counter(place.diary) == Counter(
            [*("last", "slow", "twice", "thrice"), *("end of last", "end of twice", "end of thrice")]
        )
        assert "Traceback" not in server.log
    place.go()
    with place.serving() as server:
        async with connect(server.url) as client:
            found = {jobs[job]: one for job, one in (await all_ended(client, jobs)).items()}
    assert {name: (job["state"], job["attempt"]) for name, job in found.items()} == {
        "twice": ("succeeded", 2),
        "thrice": ("succeeded", 2),
        "last": ("failed", 1),
        "slow": ("succeeded", 1),
        "queued": ("succeeded", 1),
    }
    assert found["last"]["error"]["code"] == "unavailable"
    assert place.diary.count("slow") == 1


@pytest.mark.parametrize("count", [500, pytest.param(3_000, marks=pytest.mark.full)])
async def test_jobs_that_wait_cost_no_memory(place: Place, count: int) -> None:
    """They are in the file."""
    with place.serving() as server:
        async with connect(server.url) as client:
            await all_ended(client, await submit(client, "step", ["warm"]))
            before = server.rss
            held = await submit(client, "wait", "abcd")
            await submit(client, "quick", [f"{n}" for n in range(count)])
            assert server.rss - before < MORE
            place.go()
            await all_ended(client, held)

            async def idle() -> bool:
                page: Any = await client.call("api.jobs.list", {"state": "queued", "limit": 1})
                return not page["jobs"]

            await eventually(idle, limit=count / 10)
            assert server.rss - before < MORE
        assert len(place.diary) == 1 + 2 * 4 + count
