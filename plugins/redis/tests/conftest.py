"""A Redis server for each module that asks for one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.redis import RedisServer, need_redis, redis_server


@pytest.fixture(scope="module", name="redis")
def _redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """With a password that is to stand in no log."""
    need_redis()
    with redis_server(tmp_path_factory.mktemp("redis"), password="hunter2") as server:
        yield server
