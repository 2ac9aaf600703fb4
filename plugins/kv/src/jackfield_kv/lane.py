"""A thread with a connection to SQLite, which does one thing after the other so that the event loop never waits."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, Final, NamedTuple, TypeVar

from jackfield_kv.faults import KvFault

T = TypeVar("T")

_TOGETHER: Final = 64
"""Jobs in one transaction at the most."""


class _Job(NamedTuple):
    run: Callable[[sqlite3.Connection], Any]
    result: asyncio.Future[Any]


class _Done(NamedTuple):
    result: asyncio.Future[Any]
    value: Any = None
    error: Exception | None = None


class Lane:
    """Runs jobs in a thread, in the order in which they come.

    Args:
        name: The thread's name.
        connect: Opens the connection, in the thread, with the first job.
        writes: Whether the jobs write. Those that wait at the same time are then one transaction: they share the time
            that it takes to bring it to the disk, and none is done before it is there. Reading jobs have a transaction
            each, so that all of them see what was written before.
    """

    def __init__(self, name: str, connect: Callable[[], sqlite3.Connection], *, writes: bool) -> None:
        self._connect = connect
        self._begin = "BEGIN IMMEDIATE" if writes else "BEGIN"
        self._together = _TOGETHER if writes else 1
        self._loop = asyncio.get_running_loop()
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._connection: sqlite3.Connection | None = None
        self._thread = Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    async def run(self, job: Callable[[sqlite3.Connection], T]) -> T:
        """Return what a job returns, as soon as that is on the disk.

        A job that raises a `KvFault` alone fails; with any other exception all of its transaction does.
        """
        result: asyncio.Future[T] = self._loop.create_future()
        self._jobs.put(_Job(job, result))
        return await result

    async def close(self) -> None:
        """Do what is to be done, and end the thread."""
        self._jobs.put(None)
        await asyncio.to_thread(self._thread.join)

    def _work(self) -> None:
        while (first := self._jobs.get()) is not None:
            jobs = [first]
            try:
                done = self._transaction(jobs)
            except Exception as error:  # noqa: BLE001 - whatever it is, those who wait are told
                done = [_Done(job.result, error=error) for job in jobs]
            with contextlib.suppress(RuntimeError):  # the loop has ended, and nobody waits
                self._loop.call_soon_threadsafe(_tell, done)
        if self._connection is not None:
            self._connection.close()

    def _transaction(self, jobs: list[_Job]) -> list[_Done]:
        """Run a job, and those that come meanwhile, which are added to `jobs`."""
        if self._connection is None:
            self._connection = self._connect()
        connection = self._connection
        connection.execute(self._begin)
        try:
            done = [_run(jobs[0], connection)]
            while len(jobs) < self._together and (job := self._next()) is not None:
                jobs.append(job)
                done.append(_run(job, connection))
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        return done

    def _next(self) -> _Job | None:
        try:
            job = self._jobs.get_nowait()
        except Empty:
            return None
        if job is None:
            self._jobs.put(None)  # it is the last thing there, and stays that
        return job


def _run(job: _Job, connection: sqlite3.Connection) -> _Done:
    try:
        return _Done(job.result, job.run(connection))
    except KvFault as fault:
        return _Done(job.result, error=fault)


def _tell(done: list[_Done]) -> None:
    for result, value, error in done:
        if result.done():  # nobody waits for it any more
            continue
        if error is not None:
            result.set_exception(error)
        else:
            result.set_result(value)
