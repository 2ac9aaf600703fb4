"""Stores of both kinds, with a time that the test says."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from jackfield_channels import memory_store, tables
from jackfield_channels.memory_store import MemoryStore
from jackfield_channels.sqlite_store import SqliteStore
from jackfield_channels.store import Bounds, Publication, Store


class Bench:
    """Makes stores, and moves their time.

    Attributes:
        now: Seconds.
        told: What the stores have told.
        used: The channels that have subscribers.
    """

    def __init__(self, kind: str, folder: Path, stack: AsyncExitStack) -> None:
        self.kind = kind
        self.now = 1_000_000.0
        self.told: list[Publication] = []
        self.used: set[str] = set()
        self.path = folder / "channels.sqlite3"
        self._stack = stack

    async def store(self, **bounds: Any) -> Store:
        """Open a store, which the test's end closes."""
        limits = Bounds(**{"channels": 100, "quota": 10**9, "remember": 1000, "dedup": 100, **bounds})
        used = self.used.__contains__
        store: Store = MemoryStore(limits, used) if self.kind == "memory" else SqliteStore(self.path, limits, used)
        await store.open(self.told.append)
        self._stack.push_async_callback(store.close)
        return store


@pytest.fixture(params=["memory", "sqlite"])
async def bench(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Bench]:
    """Both kinds of stores."""
    async with AsyncExitStack() as stack:
        made = Bench(request.param, tmp_path, stack)
        clock = SimpleNamespace(time=lambda: made.now, monotonic=lambda: made.now)
        monkeypatch.setattr(tables, "time", clock)
        monkeypatch.setattr(memory_store, "time", clock)
        yield made


@pytest.fixture
def filed(tmp_path: Path) -> Path:
    """A file for a store of SQLite."""
    return tmp_path / "channels.sqlite3"
