"""Servers with functions that are to be done once, and stores of both kinds."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from jackfield.testing import RunningKernel
from jackfield_idempotency.once import make_store
from jackfield_idempotency.settings import IdempotencySettings
from jackfield_idempotency.store import Store
from plugins.idempotency.tests.effects import Effects
from tests.support.redis import RedisServer, need_redis, redis_server

ServeShop = Callable[..., AbstractAsyncContextManager[RunningKernel]]
"""Serves the plugin beside `shop`; what it is given adds to its settings, but for `neighbours` and `authenticated`."""

MakeStore = Callable[..., Any]
"""Makes an open store; what it is given adds to its settings."""

_NUMBERS = count()


@pytest.fixture(name="effects")
async def _effects() -> AsyncIterator[Effects]:
    effects = Effects()
    yield effects
    effects.stop.set()


@pytest.fixture(scope="module", name="redis")
def _redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """With a password that is to stand in no log."""
    need_redis()
    with redis_server(tmp_path_factory.mktemp("redis"), password="hunter2") as server:
        yield server


@pytest.fixture(name="place", params=["sqlite", "redis"])
def _place(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    """Settings that say where calls are kept: in a file, or in Redis."""
    if request.param == "sqlite":
        return {"path": tmp_path / "idempotency.sqlite3"}
    redis: RedisServer = request.getfixturevalue("redis")
    return {"redis_url": redis.url, "redis_prefix": f"once{next(_NUMBERS)}"}


@pytest.fixture(name="make")
async def _make(place: dict[str, Any]) -> AsyncIterator[MakeStore]:
    """Make open stores, which have their calls in common."""
    async with AsyncExitStack() as stack:

        async def make(**settings: Any) -> Store:
            store = make_store(IdempotencySettings(**place, **settings))
            await store.open()
            stack.push_async_callback(store.close)
            return store

        yield make


@pytest.fixture(name="serve_shop")
def _serve_shop(jackfield_serve: Any, place: dict[str, Any], effects: Effects) -> ServeShop:
    """Serve the plugin; servers of one test have their calls in common."""

    def serve_shop(
        neighbours: Any = None, *, authenticated: bool = False, strict: bool = True, **settings: Any
    ) -> AbstractAsyncContextManager[RunningKernel]:
        return jackfield_serve(  # type: ignore[no-any-return]
            "idempotency",
            settings={**place, **settings},
            neighbours={"shop": effects.service, **(neighbours or {})},
            authenticated=authenticated,
            strict=strict,
        )

    return serve_shop
