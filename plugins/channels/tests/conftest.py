"""Stores of every kind, with a time that the test says."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import SecretStr
from redis import Redis

from jackfield import Position
from jackfield_channels import memory_store, tables
from jackfield_channels.memory_store import MemoryStore
from jackfield_channels.redis_engine import RedisEngine
from jackfield_channels.settings import ChannelsSettings
from jackfield_channels.sqlite_store import SqliteStore
from jackfield_channels.store import Bounds, Publication, Store
from tests.support.redis import RedisServer, need_redis, redis_server

_AGE = """
local keys = redis.call('KEYS', '*')
for _, key in ipairs(keys) do
    if redis.call('TYPE', key).ok == 'stream' then
        local entries, left = redis.call('XRANGE', key, '-', '+'), redis.call('PTTL', key)
        redis.call('DEL', key)
        for _, entry in ipairs(entries) do
            local expires = string.format('%.0f', entry[2][2] - ARGV[1])
            redis.call('XADD', key, entry[1], 'expires', expires, 'body', entry[2][4])
        end
        redis.call('PEXPIRE', key, left)
    end
    local left = redis.call('PTTL', key)
    if left >= 0 then redis.call('PEXPIRE', key, left - ARGV[1]) end
end
"""
"""Makes everything older, since nobody can move the clock of Redis."""


def age(client: Redis, seconds: float) -> None:
    """Make everything older that is in Redis."""
    client.eval(_AGE, 0, str(int(seconds * 1000)))


class Bench:
    """Makes stores, and moves their time.

    Attributes:
        told: What the stores have told.
        used: The channels that have subscribers.
        moved: How far these are, as a store has said.
    """

    def __init__(self, kind: str, folder: Path, stack: AsyncExitStack, redis: RedisServer | None) -> None:
        self.kind = kind
        self.told: list[Publication] = []
        self.used: set[str] = set()
        self.moved: list[tuple[str, Position]] = []
        self.path = folder / "channels.sqlite3"
        self._now = 1_000_000.0
        self._stack = stack
        self._redis = redis

    @property
    def now(self) -> float:
        """Seconds."""
        return self._now

    @now.setter
    def now(self, now: float) -> None:
        if self._redis is not None:
            with Redis.from_url(self._redis.url) as client:
                age(client, now - self._now)
        self._now = now

    async def store(self, **bounds: Any) -> Store:
        """Open a store, which the test's end closes."""
        limits = Bounds(**{"channels": 100, "quota": 10**9, "remember": 1000, "dedup": 100, **bounds})
        used = self.used.__contains__
        store: Store
        if self._redis is not None:
            store = self.engine(limits).store
        elif self.kind == "memory":
            store = MemoryStore(limits, used)
        else:
            store = SqliteStore(self.path, limits, used)
        await store.open(self.told.append)
        self._stack.push_async_callback(store.close)
        return store

    def engine(self, bounds: Bounds) -> RedisEngine:
        """Make what keeps channels in Redis."""
        assert self._redis is not None
        settings = ChannelsSettings(store="redis", redis_url=SecretStr(self._redis.url))
        return RedisEngine(
            settings,
            bounds,
            lambda: dict.fromkeys(self.used),
            lambda channel, position: self.moved.append((channel, position)),
            lambda *_: None,
            lambda: None,
        )

    async def heard(self, store: Store) -> None:
        """Return when everything that was published before was told."""
        if self._redis is not None:
            await store.state("anything")  # which comes by the same way


@pytest.fixture(scope="session")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A Redis server, for one test at a time."""
    need_redis()
    with redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(params=["memory", "sqlite", "redis"])
async def bench(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Bench]:
    """Every kind of store."""
    server: RedisServer | None = request.getfixturevalue("redis") if request.param == "redis" else None
    if server is not None:
        with Redis.from_url(server.url) as client:
            client.flushall()
    async with AsyncExitStack() as stack:
        made = Bench(request.param, tmp_path, stack, server)
        clock = SimpleNamespace(time=lambda: made.now, monotonic=lambda: made.now)
        monkeypatch.setattr(tables, "time", clock)
        monkeypatch.setattr(memory_store, "time", clock)
        yield made


@pytest.fixture
def filed(tmp_path: Path) -> Path:
    """A file for a store of SQLite."""
    return tmp_path / "channels.sqlite3"
