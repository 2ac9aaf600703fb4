"""Several servers with the same limits: a Redis server knows of every token that is taken."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Hashable, Iterable
from hashlib import blake2b
from time import monotonic
from typing import Final

from redis.exceptions import ResponseError

from jackfield_ratelimit.settings import Rule
from jackfield_ratelimit.shares import Report, SharedBuckets
from jackfield_redis import open_redis

log = logging.getLogger(__name__)

_TIMEOUT: Final = 0.5
"""Seconds that Redis has for an answer, and for a connection."""

_PAUSE: Final = 0.005
"""Seconds between two reports, which tell of all that happened meanwhile."""

_MOST: Final = 500
"""Buckets in one report: Redis does nothing else while it reads one."""

_IDLE: Final = 5.0
"""Seconds after which somebody who has nothing to tell looks whether Redis is still there."""

_FIRST_RETRY: Final = 0.1
_LAST_RETRY: Final = 5.0

_SCRIPT: Final = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local left = {}
for place, key in ipairs(KEYS) do
    local count, interval, known = unpack(ARGV, 3 * place - 2, 3 * place)
    local full = tonumber(redis.call('GET', key) or '') or now + known
    if full < now then full = now end
    full = full + count * interval
    redis.call('SET', key, string.format('%.0f', full), 'PX', math.ceil((full - now) / 1000) + 1000)
    left[place] = string.format('%.0f', full - now)
end
return left
"""
"""Takes tokens, whether or not there are any, and returns the microseconds until each bucket is full.

A bucket is kept as the microsecond of Redis's own clock at which it will be full, and no longer than until then.
"""


class Sharing:
    """What tells Redis.

    Args:
        url: Where Redis is.
        prefix: What the names of all keys begin with.

    Attributes:
        trouble: Why Redis cannot be used, if that is so.
    """

    def __init__(self, url: str, prefix: str) -> None:
        self._redis = open_redis(url, _TIMEOUT)
        self._script = self._redis.register_script(_SCRIPT)
        self._prefix = "{" + prefix + "}"  # in braces, so that a cluster has all of them in one place
        self._shares: list[tuple[str, SharedBuckets]] = []
        self._news = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._refused = False
        self.trouble: str | None = None

    def buckets(self, rule: Rule, ahead: float) -> SharedBuckets:
        """Return the buckets of a rule; servers with the same rule have them in common."""
        buckets = SharedBuckets(rule, ahead, self._news.set)
        terms = (sorted(rule.functions), rule.per, rule.rate, rule.size, rule.inside)
        self._shares.append((f"{self._prefix}:{_digest(terms)}", buckets))
        return buckets

    async def open(self) -> None:
        """Connect, if Redis is there; if it is not, go on trying."""
        with contextlib.suppress(asyncio.TimeoutError):
            async with asyncio.timeout(2 * _TIMEOUT):
                await self._connected()
        self._task = asyncio.get_running_loop().create_task(self._run(), name="ratelimit-redis")

    async def close(self) -> None:
        """Tell nothing more."""
        while self._task is not None and not self._task.done():
            self._task.cancel()  # redis may lose one, as `asyncio.wait_for` does before Python 3.12
            await asyncio.wait([self._task], timeout=_TIMEOUT)
        with contextlib.suppress(Exception):
            await self._redis.aclose()

    async def _run(self) -> None:
        retry = _FIRST_RETRY
        while True:
            if await self._connected():
                retry = _FIRST_RETRY
                await self._tell()
            # Not all servers at once, where all have lost the same Redis.
            await asyncio.sleep(retry * random.uniform(0.5, 1.0))  # noqa: S311 - nobody gains by guessing it
            retry = min(2 * retry, _LAST_RETRY)

    async def _connected(self) -> bool:
        """Tell whether Redis is there, and join the others if it is."""
        try:
            await self._redis.ping()
            if self._refused:  # as one does that has no room, and answers all the same
                await self._redis.set(f"{self._prefix}:proof", "", px=1)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with Redis, calls are to be served
            self._lost(error)
            return False
        self._refused = False
        if self.trouble is not None:
            log.warning("Redis is back: limits hold over all servers together again")
            self.trouble = None
        for _, buckets in self._shares:
            buckets.connected = True
        return True

    async def _tell(self) -> None:
        """Tell Redis what there is to tell, until that fails."""
        try:
            while True:
                try:
                    async with asyncio.timeout(_IDLE):
                        await self._news.wait()
                except TimeoutError:
                    await self._redis.ping()
                    continue
                self._news.clear()
                await self._report()
                await asyncio.sleep(_PAUSE)
        except Exception as error:  # noqa: BLE001 - as above
            self._lost(error)

    async def _report(self) -> None:
        now = monotonic()
        told: list[tuple[SharedBuckets, Report, str]] = []
        for name, buckets in self._shares:
            reports = buckets.reports(now, _MOST - len(told))
            told.extend((buckets, report, f"{name}:{_digest(report.key)}") for report in reports)
        if len(told) == _MOST:
            self._news.set()  # there may be more
        if told:
            left = await self._script(keys=[key for *_, key in told], args=_arguments(report for _, report, _ in told))
            # What is left was so at some moment since `now`: counted from there, nobody waits for the way back.
            for (buckets, report, _), microseconds in zip(told, left, strict=True):
                buckets.heard(report, now + int(microseconds) / 1e6)

    def _lost(self, error: Exception) -> None:
        for _, buckets in self._shares:
            buckets.part()
        self._refused = self._refused or isinstance(error, ResponseError)
        reason = " ".join(str(error).split()) or type(error).__name__
        if self.trouble is None:
            log.warning("Redis cannot be used (%s): until it can, limits hold for each server by itself", reason)
        self.trouble = reason


def _arguments(reports: Iterable[Report]) -> list[str]:
    return [
        text
        for report in reports
        for text in (str(report.count), f"{report.interval * 1e6:.3f}", f"{max(0.0, report.known) * 1e6:.0f}")
    ]


def _digest(what: Hashable) -> str:
    """Return a short name, from which nobody learns who calls."""
    return blake2b(repr(what).encode(), digest_size=16).hexdigest()
