"""A store in Redis, which several servers have in common."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar, cast

from redis.commands.core import AsyncScript
from redis.exceptions import RedisError

from jackfield_kv import scripts
from jackfield_kv.faults import Away
from jackfield_kv.reach import Reach
from jackfield_kv.store import (
    MANY,
    PORTION,
    Bounds,
    Change,
    Entry,
    Event,
    Order,
    Page,
    check_version,
    not_found,
    out_of_reach,
)
from jackfield_redis import open_redis

T = TypeVar("T")

_TIMEOUT: Final = 2.0
"""Seconds that Redis has for an answer, and for a connection."""
_CONNECTIONS: Final = 16
_LOOK: Final = 1000
"""Milliseconds after which whoever waits for changes asks again."""
_AWAY: Final = "The store cannot be reached now; if this was a change, it may have been made."


class RedisStore:
    """A store in Redis.

    Args:
        url: Where Redis is.
        prefix: What the names of its keys begin with.
        bounds: How much it keeps.
    """

    def __init__(self, url: str, prefix: str, bounds: Bounds) -> None:
        # Nothing is tried twice by itself: what was done once would be done again.
        self._redis = open_redis(url, _TIMEOUT, _CONNECTIONS)
        # In braces, so that a cluster has all of them in one place.
        self._keys = [f"{{{prefix}}}:{name}" for name in scripts.NAMES]
        self._log = self._keys[-1]
        self._bounds = bounds
        self._running: set[asyncio.Task[Any]] = set()
        self._reach = Reach("Redis", (RedisError, OSError, TimeoutError), _AWAY)
        self._get, self._set, self._delete, self._page, self._revision, self._changes, self._sweep = map(
            self._redis.register_script,
            (
                scripts.GET,
                scripts.SET,
                scripts.DELETE,
                scripts.PAGE,
                scripts.REVISION,
                scripts.CHANGES,
                scripts.SWEEP,
            ),
        )

    async def open(self) -> None:
        """Look whether Redis is there; if it is not, it may come."""
        with contextlib.suppress(Away):
            await self.revision()

    async def close(self) -> None:
        """Close all connections."""
        for task in self._running:
            task.cancel()
        if self._running:
            await asyncio.wait(self._running)
        with contextlib.suppress(RedisError, OSError):
            await self._redis.aclose()

    def trouble(self) -> str | None:
        """Tell why Redis did not answer the last time, if it did not."""
        return self._reach.trouble

    async def get(self, key: str) -> Entry | None:
        """Return what a key has."""
        found = await self._run(self._get, key)
        return None if found is None else _entry(*found)

    async def set(self, order: Order) -> int:
        """Set a value, and return its version."""
        bounds = self._bounds
        result, *rest = await self._run(
            self._set,
            bounds.history,
            order.key,
            order.value,
            "" if order.ttl is None else order.ttl,
            "" if order.if_version is None else order.if_version,
            int(order.if_absent),
            bounds.keys,
            bounds.quota,
        )
        if result == b"differs":
            order.check(int(rest[0]) if rest[0] else None)
        if result == b"keys":
            raise bounds.refuse_key()
        if result == b"quota":
            raise bounds.refuse_size(int(rest[0]))
        return int(rest[0])

    async def delete(self, key: str, if_version: int | None) -> int:
        """Delete a value, and return the revision of that."""
        wanted = "" if if_version is None else if_version
        result, *rest = await self._run(self._delete, self._bounds.history, key, wanted)
        if result == b"absent":
            raise not_found(key)
        if result == b"differs":
            check_version(key, int(rest[0]), if_version)
        return int(rest[0])

    async def page(self, prefix: str, after: str, limit: int, *, values: bool) -> Page:
        """Return some of the keys, in order."""
        low = f"({after}" if after >= prefix else f"[{prefix}"
        high = b"(" + prefix.encode() + b"\xff"  # a byte that no key has, and greater than all others
        revision, following, found = await self._run(self._page, low, high, limit, PORTION, int(values))
        return Page([_entry(*one) for one in found], int(revision), following.decode() or None)

    async def revision(self) -> int:
        """Return the revision of the newest change."""
        return int(await self._run(self._revision))

    async def changes(self, after: int) -> list[Change]:
        """Return the changes after a revision, in order."""
        revision, horizon, found = await self._run(self._changes, after, MANY, PORTION)
        if not int(horizon) <= after <= int(revision):
            raise out_of_reach(after, int(horizon), int(revision))
        return [_change(*one) for one in found]

    async def wait(self, after: int) -> None:
        """Return when the log has something after a revision."""
        await self._finished(lambda: self._redis.xread({self._log: f"{after}-0"}, count=1, block=_LOOK))

    async def sweep(self) -> bool:
        """Let values expire."""
        return int(await self._run(self._sweep, self._bounds.history, MANY)) == MANY

    async def _run(self, script: AsyncScript, *arguments: str | bytes | int) -> Any:
        return await self._finished(lambda: script(keys=self._keys, args=arguments))

    async def _finished(self, work: Callable[[], Awaitable[T]]) -> T:
        """Return what Redis answers.

        Whoever waits can be cancelled, and the work goes on to its end: redis may lose a cancellation, as
        `asyncio.wait_for` does before Python 3.12, and those who wait would then never end.
        """
        task = asyncio.ensure_future(self._tried(work))
        self._running.add(task)
        task.add_done_callback(self._ended)
        return await asyncio.shield(task)

    async def _tried(self, work: Callable[[], Awaitable[T]]) -> T:
        try:
            with self._reach.tried():
                return await work()
        except Away:
            # Connections that lie idle are as dead as this one, and would fail one call each when Redis is back.
            with contextlib.suppress(RedisError, OSError):
                await self._redis.connection_pool.disconnect(inuse_connections=False)
            raise

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()  # it may be that nobody waits for it any more


def _entry(key: bytes, version: bytes, value: bytes, expires: bytes) -> Entry:
    return Entry(key.decode(), int(version), value or None, _number(expires))


def _change(name: bytes, fields: list[bytes]) -> Change:
    key, event, value, expires = fields[1::2]
    revision, _, _ = name.partition(b"-")
    return Change(int(revision), key.decode(), cast(Event, event.decode()), value or None, _number(expires))


def _number(text: bytes) -> int | None:
    return int(text) if text else None
