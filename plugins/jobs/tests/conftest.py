"""Servers with functions to be run as jobs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from jackfield.testing import RunningKernel
from jackfield_jobs.jobs import make_store
from jackfield_jobs.settings import JobsSettings
from jackfield_jobs.store import Store, Tell
from plugins.jobs.tests.work import Work
from tests.support.redis import RedisServer, need_redis, redis_server

Serve = Callable[..., AbstractAsyncContextManager[RunningKernel]]
"""Serves the plugin beside `work`; what it is given adds to its settings, but for `config` and `authenticated`."""

MakeStore = Callable[..., Any]
"""Makes an open store, which hears of changes by what it is given first; the rest adds to its settings."""


_NUMBERS = count()


@pytest.fixture(name="work")
async def _work() -> Work:
    return Work()


@pytest.fixture(scope="module", name="redis")
def _redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """With a password that is to stand in no log."""
    need_redis()
    with redis_server(tmp_path_factory.mktemp("redis"), password="hunter2") as server:
        yield server


@pytest.fixture(name="place", params=["sqlite", "redis"])
def _place(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    """Settings that say where jobs are kept: in a file, or in Redis."""
    if request.param == "sqlite":
        return {"path": tmp_path / "jobs.sqlite3"}
    redis: RedisServer = request.getfixturevalue("redis")
    return {"queue": redis.url, "queue_name": f"jobs{next(_NUMBERS)}"}


@pytest.fixture(name="make")
async def _make(place: dict[str, Any]) -> AsyncIterator[MakeStore]:
    """Make open stores, which have their jobs in common."""
    async with AsyncExitStack() as stack:

        async def make(tell: Tell = lambda _: None, **settings: Any) -> Store:
            store = make_store(JobsSettings(**place, **settings))
            await store.open(tell)
            stack.push_async_callback(store.close)
            return store

        yield make


@pytest.fixture(name="serve_jobs")
def _serve_jobs(jackfield_serve: Any, place: dict[str, Any], work: Work) -> Serve:
    """Serve the plugin; servers of one test have their jobs in common."""

    def serve_jobs(
        neighbours: Any = None, config: Any = None, *, authenticated: bool = False, **settings: Any
    ) -> AbstractAsyncContextManager[RunningKernel]:
        return jackfield_serve(  # type: ignore[no-any-return]
            "jobs",
            settings={**place, **settings},
            neighbours={"work": work.service} if neighbours is None else neighbours,
            config=config,
            authenticated=authenticated,
        )

    return serve_jobs


@pytest.fixture(autouse=True)
def _quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nobody wait for another attempt."""
    for name in ("_FIRST", "_PAUSE", "_LOOK", "_TELL"):
        monkeypatch.setattr(f"jackfield_jobs.runner.{name}", 0.02)
