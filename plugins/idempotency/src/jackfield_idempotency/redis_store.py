"""A store in Redis, which several servers have in common."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable
from typing import Any, Final, cast

from redis.commands.core import AsyncScript
from redis.exceptions import RedisError, ResponseError

from jackfield_idempotency import faults
from jackfield_idempotency.faults import Away
from jackfield_idempotency.keys import Ticket
from jackfield_idempotency.reach import Reach
from jackfield_idempotency.records import Outcome, Record, State
from jackfield_idempotency.settings import IdempotencySettings
from jackfield_redis import open_redis

_TIMEOUT: Final = 2.0
"""Seconds that Redis has for an answer, and for a connection."""
_CONNECTIONS: Final = 16

# Each call is a hash, and each caller has a sorted set with the names of their calls by the millisecond, of Redis's own
# clock, at which each expires. All times are milliseconds.
_HEAD: Final = """
local call, own = KEYS[1], KEYS[2]
local name, holder, window, lease = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function keep(milliseconds)
    redis.call('PEXPIRE', call, milliseconds)
    redis.call('ZADD', own, string.format('%.0f', now + milliseconds), name)
    if redis.call('PTTL', own) < milliseconds then redis.call('PEXPIRE', own, milliseconds) end
end
local function hold()
    redis.call('HSET', call, 'lease', string.format('%.0f', now + lease))
    keep(lease + window)
end
"""
_BEGIN: Final = (
    _HEAD
    + """
local found = redis.call('HMGET', call, 'digest', 'state', 'reply', 'lease')
if found[1] then return {found[1], found[2], found[3], tonumber(found[4]) > now and 1 or 0} end
if redis.call('ZCOUNT', own, string.format('(%.0f', now), '+inf') >= tonumber(ARGV[5]) then return 0 end
redis.call('HSET', call, 'holder', holder, 'digest', ARGV[6], 'state', 'running', 'reply', '')
redis.call('ZREMRANGEBYSCORE', own, '-inf', string.format('%.0f', now))
hold()
return false
"""
)
"""A Redis without room refuses a script at its first command only, so that is the one which takes room."""
_END: Final = (
    _HEAD
    + """
local found = redis.call('HGET', call, 'holder')
if found and found ~= holder then return end
redis.call('HSET', call, 'holder', holder, 'digest', ARGV[5], 'state', ARGV[6], 'reply', ARGV[7], 'lease', '0')
keep(window)
"""
)
"""Where Redis has lost the call meanwhile, this is the last chance to be told of it."""
_FREE: Final = (
    _HEAD
    + """
if redis.call('HGET', call, 'holder') ~= holder then return end
redis.call('DEL', call)
redis.call('ZREM', own, name)
"""
)
_RENEW: Final = (
    _HEAD
    + """
if redis.call('HGET', call, 'holder') == holder and redis.call('HGET', call, 'state') == 'running' then hold() end
"""
)


class RedisStore:
    """A store in Redis.

    Args:
        url: Where Redis is.
        settings: How much is kept, how long, and under which names.
    """

    def __init__(self, url: str, settings: IdempotencySettings) -> None:
        # Nothing is tried twice by itself: what was begun once would be found as another's.
        self._redis = open_redis(url, _TIMEOUT, _CONNECTIONS)
        self._settings = settings
        self._prefix = "{" + settings.redis_prefix + "}"  # in braces, so that a cluster has all of them in one place
        self._times = round(settings.window * 1000), round(settings.lease * 1000)
        self._reach = Reach("Redis", RedisError, OSError, TimeoutError)
        self._refused = False
        self._begin, self._end, self._free, self._renew = map(
            self._redis.register_script, (_BEGIN, _END, _FREE, _RENEW)
        )

    async def open(self) -> None:
        """Look whether Redis is there; if it is not, it may come."""
        with contextlib.suppress(Away):
            await self.renew(())

    async def close(self) -> None:
        """Close all connections."""
        with contextlib.suppress(RedisError, OSError):
            await self._redis.aclose()

    def trouble(self) -> str | None:
        """Tell why Redis did not answer the last time, if it did not."""
        return self._reach.trouble

    async def begin(self, ticket: Ticket) -> Record | None:
        """Begin a call."""
        found = await self._run(self._begin, ticket, self._settings.max_keys, ticket.digest)
        if found is None:
            return None
        if found == 0:
            raise faults.too_many(self._settings.max_keys)
        digest, state, reply, held = found
        return Record(digest.decode(), Outcome(cast(State, state.decode()), reply), bool(held))

    async def end(self, ticket: Ticket, outcome: Outcome) -> None:
        """End a call."""
        await self._run(self._end, ticket, ticket.digest, outcome.state, outcome.reply)

    async def free(self, ticket: Ticket) -> None:
        """Forget a call."""
        await self._run(self._free, ticket)

    async def renew(self, tickets: Iterable[Ticket]) -> None:
        """Say that calls run; what is old Redis forgets by itself.

        Where Redis has refused something, as when it has no room, this finds out whether it takes things again.
        """
        look = self._redis.set(f"{self._prefix}:proof", "", px=1) if self._refused else self._redis.ping()
        results = await asyncio.gather(
            self._tried(look, proves=True),
            *(self._run(self._renew, ticket) for ticket in tickets),
            return_exceptions=True,
        )
        for result in results:
            if isinstance(result, BaseException):
                raise result

    async def _run(self, script: AsyncScript, ticket: Ticket, *more: str | bytes | int) -> Any:
        keys = [f"{self._prefix}:call:{ticket.name}", f"{self._prefix}:of:{ticket.owner}"]
        return await self._tried(script(keys=keys, args=[ticket.name, ticket.holder, *self._times, *more]))

    async def _tried(self, work: Any, *, proves: bool = False) -> Any:
        try:
            # A Redis that refuses what takes room still does the rest, and that shows nothing.
            with self._reach.tried(shows=proves or not self._refused):
                try:
                    done = await work
                except ResponseError:
                    self._refused = True
                    raise
            self._refused = self._refused and not proves
        except Away:
            # Connections that lie idle are as dead as this one, and would fail one call each when Redis is back.
            with contextlib.suppress(RedisError, OSError):
                await self._redis.connection_pool.disconnect(inuse_connections=False)
            raise
        return done
