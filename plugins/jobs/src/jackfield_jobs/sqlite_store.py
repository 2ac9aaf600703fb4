"""A store in a file of SQLite, which several processes on one machine may have in common."""

from __future__ import annotations

import asyncio
import os
import secrets
import sqlite3
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

from jackfield_jobs.faults import Away
from jackfield_jobs.job import Job, Outcome, Told
from jackfield_jobs.reach import Reach
from jackfield_jobs.settings import JobsSettings
from jackfield_jobs.store import Ending, Tell, Wanted, not_found
from jackfield_jobs.tables import Tables, connect

T = TypeVar("T")

_LOOK: Final = 0.25
"""Seconds between two looks whether another process has changed something."""


class SqliteStore:
    """A store in a file, which is made by the first job.

    A thread of its own works with the file, one thing after the other, so that the event loop never waits.

    Args:
        settings: Where the file is, and how much it keeps.
    """

    def __init__(self, settings: JobsSettings) -> None:
        self._path = settings.path.absolute()
        self._settings = settings
        self._runner = secrets.token_hex(8)
        self._tell: Tell = lambda _: None
        self._pool = ThreadPoolExecutor(1, "jobs")
        self._database: sqlite3.Connection | None = None
        # Two, since a disk that is full can still be read.
        self._reads, self._writes = (
            Reach(f"{settings.path} ({what})", sqlite3.OperationalError) for what in ("reading", "writing")
        )
        self._following: asyncio.Task[None] | None = None

    async def open(self, tell: Tell) -> None:
        """Open the file, if it is there; else look whether it can be made.

        Raises:
            OSError, sqlite3.Error: It cannot be used, or its folder is not there.
        """
        self._tell = tell
        try:
            await self._in_thread(self._look_at_file)
        except BaseException:
            await self.close()
            raise
        self._following = asyncio.create_task(self._follow(), name="jobs-follow")

    async def close(self) -> None:
        """Close the file, and end the thread."""
        if self._following is not None:
            self._following.cancel()
            await asyncio.wait([self._following])
        await self._in_thread(self._disconnect)
        await asyncio.to_thread(self._pool.shutdown)

    def trouble(self) -> str | None:
        """Tell why the file cannot be used, if that is so."""
        return self._writes.trouble or self._reads.trouble

    async def add(self, job: Job) -> Job:
        """Add a job."""
        added = await self._write(lambda them: them.add(job))
        self._tell(added.id)
        return added

    async def get(self, job_id: str) -> Job | None:
        """Return a job."""
        return await self._read(None, lambda them: them.get(job_id))

    async def page(self, wanted: Wanted) -> list[Job]:
        """Return some jobs."""
        return await self._read([], lambda them: them.page(wanted))

    async def cancel(self, job_id: str) -> Job:
        """Cancel a job."""
        if await self.get(job_id) is None:
            raise not_found(job_id)
        job = await self._write(lambda them: them.cancel(job_id))
        self._tell(job_id)
        return job

    async def take(self) -> Job | None:
        """Return a job that is due."""
        job = await self._write(Tables.take) if await self._read(False, Tables.has_due) else None
        if job is not None:
            self._tell(job.id)
        return job

    async def progress(self, job: Job, progress: Told) -> None:
        """Take note of how far a job is."""
        await self._write(lambda them: them.progress(job, progress))
        self._tell(job.id)

    async def put_back(self, job: Job, due: int, error: Told, *, counted: bool) -> None:
        """Queue a job again."""
        await self._write(lambda them: them.put_back(job, due, error, counted))
        self._tell(job.id)

    async def finish(self, job: Job, outcome: Outcome) -> None:
        """End a job."""
        await self._write(lambda them: them.finish(job, outcome))
        self._tell(job.id)

    async def look(self, running: Collection[str]) -> Ending:
        """Tell which jobs this server is not to run any longer."""
        return await self._read(Ending(), lambda them: them.look(running))

    async def beat(self, running: Collection[str]) -> None:
        """Say that this server is there; a file need not be made for that."""
        if await self._has_file():
            await self._write(Tables.beat)

    async def sweep(self) -> int:
        """Give up what is lost, and forget what is old."""
        found = await self._write(Tables.sweep) if await self._has_file() else 0
        if found:
            self._tell(None)
        return found

    async def _has_file(self) -> bool:
        return await self._in_thread(self._is_there)

    async def _read(self, nothing: T, work: Callable[[Tables], T]) -> T:
        """Return what is in the file; `nothing` if there is none."""
        with self._reads.tried():
            return await self._in_thread(lambda: work(self._tables()) if self._is_there() else nothing)

    async def _write(self, work: Callable[[Tables], T]) -> T:
        """Change what is in the file, which is made if there is none."""
        with self._writes.tried():
            return await self._in_thread(lambda: self._transact(work))

    async def _in_thread(self, work: Callable[[], T]) -> T:
        # Shielded: what was begun is done, whether or not somebody still waits for it.
        return await asyncio.shield(asyncio.get_running_loop().run_in_executor(self._pool, work))

    async def _follow(self) -> None:
        """Tell when another process has changed something."""
        seen = 0
        while True:
            await asyncio.sleep(_LOOK)
            try:
                version = await self._read(0, Tables.version)
            except Away:
                continue  # the log has it
            if version != seen:
                seen = version
                self._tell(None)

    # What follows runs in the thread.

    def _look_at_file(self) -> None:
        if self._is_there():
            try:
                self._transact(Tables.beat)
            except sqlite3.Error as error:
                raise type(error)(f"plugins.jobs.path, {str(self._settings.path)!r}: {error}") from error
            return
        folder = self._path.parent
        if not folder.is_dir():
            raise FileNotFoundError(f"there is no folder {str(folder)!r} for plugins.jobs.path: make it")
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(f"nothing can be written into {str(folder)!r}, the folder of plugins.jobs.path")

    def _is_there(self) -> bool:
        return self._database is not None or self._path.exists()

    def _connected(self) -> sqlite3.Connection:
        if self._database is None:
            self._database = connect(self._path)
        return self._database

    def _tables(self) -> Tables:
        return Tables(self._connected(), self._settings, self._runner)

    def _transact(self, work: Callable[[Tables], T]) -> T:
        database = self._connected()
        database.execute("BEGIN IMMEDIATE")
        try:
            result = work(self._tables())
            database.execute("COMMIT")
        except BaseException:
            if database.in_transaction:
                database.execute("ROLLBACK")
            raise
        return result

    def _disconnect(self) -> None:
        if self._database is not None:
            self._database.close()
