"""A store in Redis, which servers on several machines have in common."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Collection, Coroutine
from typing import Any, Final, TypeVar

from redis.exceptions import RedisError

from jackfield_jobs.faults import Away
from jackfield_jobs.job import Job, Outcome, Told
from jackfield_jobs.reach import Reach
from jackfield_jobs.records import Records
from jackfield_jobs.settings import JobsSettings
from jackfield_jobs.store import Ending, Tell, Wanted
from jackfield_redis import open_redis

T = TypeVar("T")

_TIMEOUT: Final = 2.0
"""Seconds that Redis has for an answer, and for a connection."""
_CONNECTIONS: Final = 16
_AGAIN: Final = 1.0
"""Seconds until Redis is asked again for changes, once it is away."""


class SaqStore:
    """A store in Redis, as a queue of SAQ.

    Args:
        url: Where Redis is.
        settings: How much it keeps, and the name of the queue.
    """

    def __init__(self, url: str, settings: JobsSettings) -> None:
        # Nothing is tried twice by itself: what was done once would be done again.
        self._redis = open_redis(url, _TIMEOUT, _CONNECTIONS)
        self._records = Records(self._redis, settings)
        self._tell: Tell = lambda _: None
        self._reach = Reach("Redis", RedisError, OSError, TimeoutError)
        self._working: set[asyncio.Task[Any]] = set()
        self._following: asyncio.Task[None] | None = None

    async def open(self, tell: Tell) -> None:
        """Look whether Redis is there; if it is not, it may come."""
        self._tell = tell
        with contextlib.suppress(Away):
            await self._tried(self._records.queue.count("queued"))
        self._following = asyncio.create_task(self._follow(), name="jobs-follow")

    async def close(self) -> None:
        """Close all connections."""
        if self._following is not None:
            self._following.cancel()
            await asyncio.wait([self._following])
        if self._working:
            await asyncio.wait(self._working)
        with contextlib.suppress(RedisError, OSError):
            await self._records.queue.disconnect()

    def trouble(self) -> str | None:
        """Tell why Redis did not answer the last time, if it did not."""
        return self._reach.trouble

    async def add(self, job: Job) -> Job:
        """Add a job."""
        added = await self._tried(self._records.add(job))
        self._tell(added.id)
        return added

    async def get(self, job_id: str) -> Job | None:
        """Return a job."""
        return await self._tried(self._records.get(job_id))

    async def page(self, wanted: Wanted) -> list[Job]:
        """Return some jobs."""
        return await self._tried(self._records.page(wanted))

    async def cancel(self, job_id: str) -> Job:
        """Cancel a job."""
        return await self._tried(self._records.cancel(job_id))

    async def take(self) -> Job | None:
        """Return a job that is due."""
        return await self._tried(self._records.take())

    async def progress(self, job: Job, progress: Told) -> None:
        """Take note of how far a job is."""
        await self._tried(self._records.progress(job, progress))

    async def put_back(self, job: Job, due: int, error: Told, *, counted: bool) -> None:
        """Queue a job again."""
        await self._tried(self._records.put_back(job, due, error, counted=counted))

    async def finish(self, job: Job, outcome: Outcome) -> None:
        """End a job."""
        await self._tried(self._records.finish(job, outcome))

    async def look(self, running: Collection[str]) -> Ending:
        """Tell which jobs this server is not to run any longer."""
        return await self._tried(self._records.look(running)) if running else Ending()

    async def beat(self, running: Collection[str]) -> None:
        """Say that this server is there: each of its jobs has a lease of its own."""
        for job_id in running:
            await self._tried(self._records.touch(job_id))

    async def sweep(self) -> int:
        """Give up what is lost."""
        return await self._tried(self._records.sweep())

    async def _tried(self, work: Coroutine[Any, Any, T]) -> T:
        """Return what Redis answers.

        Whoever waits can be cancelled, and the work goes on to its end: redis may lose a cancellation, as
        `asyncio.wait_for` does before Python 3.12, and what is half done would be nobody's.
        """
        task = asyncio.ensure_future(work)
        self._working.add(task)
        task.add_done_callback(self._done)
        try:
            with self._reach.tried():
                return await asyncio.shield(task)
        except Away:
            # Connections that lie idle are as dead as this one, and would fail one call each when Redis is back.
            with contextlib.suppress(RedisError, OSError):
                await self._redis.connection_pool.disconnect(inuse_connections=False)
            raise

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._working.discard(task)
        if not task.cancelled():
            task.exception()  # it may be that nobody waits for it any more

    async def _follow(self) -> None:
        """Tell what SAQ publishes: the id of each job that has changed, at whichever server."""
        queue = self._records.queue
        while True:
            with contextlib.suppress(RedisError, OSError, TimeoutError):
                async with self._redis.pubsub() as heard:
                    await heard.psubscribe(queue.job_id("*"))
                    self._tell(None)  # whatever has been until now
                    while True:
                        message = await heard.get_message(ignore_subscribe_messages=True, timeout=_TIMEOUT / 2)
                        if message is not None:
                            self._tell(queue.job_key_from_id(message["channel"].decode()))
            await asyncio.sleep(_AGAIN)
