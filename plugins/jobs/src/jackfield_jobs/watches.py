"""Watches: how a job is, and how it goes on; a job is read once for all who watch it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

from jackfield_jobs.faults import TooMuch
from jackfield_jobs.job import Job
from jackfield_jobs.store import Store, not_found


class Watches:
    """All watches of one server.

    Args:
        store: What has the jobs.
        most: How many there may be at once.
    """

    def __init__(self, store: Store, most: int) -> None:
        self._store = store
        self._most = most
        self._count = 0
        self._watched: dict[str, _Watched] = {}

    def tell(self, job_id: str | None) -> None:
        """Take note that a job has changed; with None, that any may have."""
        for watched in [self._watched.get(job_id)] if job_id is not None else self._watched.values():
            if watched is not None:
                watched.stale.set()

    async def watch(self, job_id: str) -> AsyncGenerator[Job, None]:
        """Yield a job as it is, and again whenever it has changed, until it has ended.

        Who is slow gets the newest state, and not those before it.

        Raises:
            TooMuch: There are too many watches.
            NotFound: There is no such job, or not any more.
            Away: The store cannot be used.
        """
        async with self._followed(job_id) as watched:
            job: Job | None = None
            while job is None or not job.has_ended:
                job = await watched.other_than(job)
                yield job

    @asynccontextmanager
    async def _followed(self, job_id: str) -> AsyncIterator[_Watched]:
        """Follow a job as long as somebody watches it."""
        if self._count >= self._most:
            raise TooMuch(f"There are {self._count:,} watches, and there may be no more (plugins.jobs.max_watches).")
        watched = self._watched.get(job_id)
        if watched is None or watched.failure is not None:  # those who watch what has failed are about to end
            watched = self._watched[job_id] = _Watched(self._store, job_id)
        watched.watches += 1
        self._count += 1
        try:
            yield watched
        finally:
            self._count -= 1
            watched.watches -= 1
            if not watched.watches:
                if self._watched.get(job_id) is watched:
                    del self._watched[job_id]
                await watched.close()


class _Watched:
    """One job, read anew whenever it may have changed.

    Args:
        store: What has it.
        job_id: Its id.

    Attributes:
        watches: How many watch it.
        stale: Set when it may have changed.
        failure: Why it cannot be read any more, if that is so.
    """

    def __init__(self, store: Store, job_id: str) -> None:
        self.watches = 0
        self.stale = asyncio.Event()
        self.failure: Exception | None = None
        self._newest: Job | None = None
        self._news = asyncio.Event()
        self._task = asyncio.create_task(self._follow(store, job_id), name="jobs-watch")

    async def other_than(self, known: Job | None) -> Job:
        """Return the job as soon as it is not as it is known."""
        while True:
            if self.failure is not None:
                raise self.failure
            if self._newest is not None and self._newest != known:
                return self._newest
            await self._news.wait()

    async def close(self) -> None:
        """Follow it no more."""
        self._task.cancel()
        await asyncio.wait([self._task])

    async def _follow(self, store: Store, job_id: str) -> None:
        try:
            while True:
                self.stale.clear()
                job = await store.get(job_id)
                if job is None:
                    raise not_found(job_id)  # noqa: TRY301 - as if the store had said it
                if job != self._newest:
                    self._newest = job
                    self._tell()
                await self.stale.wait()
        except Exception as error:  # noqa: BLE001 - whatever it is, those who watch are told
            self.failure = error
            self._tell()

    def _tell(self) -> None:
        self._news.set()
        self._news = asyncio.Event()
