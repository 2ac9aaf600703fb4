"""Stores of both kinds, and a Redis server for each module that asks for one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from jackfield_kv.redis_store import RedisStore
from jackfield_kv.sqlite_store import SqliteStore
from jackfield_kv.store import Bounds, Store
from tests.support.redis import RedisServer, need_redis, redis_server

MakeStore = Callable[..., Any]
"""Makes an open store; several with the same name have the same values."""

_PREFIXES = count()


@pytest.fixture(scope="module", name="redis")
def _redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """With a password that is to stand in no log."""
    need_redis()
    with redis_server(tmp_path_factory.mktemp("redis"), password="hunter2") as server:
        yield server


@pytest.fixture(name="make", params=["sqlite", "redis"])
async def _make(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[MakeStore]:
    """Make stores of each kind."""
    redis: RedisServer | None = request.getfixturevalue("redis") if request.param == "redis" else None
    number = next(_PREFIXES)
    async with AsyncExitStack() as stack:

        async def make(name: str = "one", *, keys: int = 1000, quota: int = 10**9, history: int = 1000) -> Store:
            bounds = Bounds(keys, quota, history)
            store: Store = (
                SqliteStore(tmp_path / name, bounds)
                if redis is None
                else RedisStore(redis.url, f"{name}{number}", bounds)
            )
            await store.open()
            stack.push_async_callback(store.close)
            return store

        yield make
