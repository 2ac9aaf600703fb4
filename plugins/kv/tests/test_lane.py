"""The thread that works with SQLite."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from contextlib import asynccontextmanager

import pytest

from jackfield_kv.faults import KvFault
from jackfield_kv.lane import Lane

COUNT = "SELECT count(*) FROM it"


class Tracing:
    """Connections to one file, and the transactions that they have begun and ended."""

    def __init__(self, path):
        self.path = path
        self.said: list[str] = []

    def connect(self):
        connection = sqlite3.connect(self.path, isolation_level=None)
        connection.execute("CREATE TABLE IF NOT EXISTS it (n)")
        connection.set_trace_callback(lambda text: self.said.append(text.split()[0]))
        return connection


@pytest.fixture(name="tracing")
def _tracing(tmp_path):
    return Tracing(tmp_path / "file")


@asynccontextmanager
async def lane(tracing, *, writes=True):
    opened = Lane("a-lane", tracing.connect, writes=writes)
    try:
        yield opened
    finally:
        await opened.close()


def put(number):
    return lambda connection: connection.execute("INSERT INTO it VALUES (?)", (number,)).lastrowid


def held(event):
    """Return a job that holds the lane until something happens."""
    return lambda connection: event.wait(20)


async def held_up(opened, jobs):
    """Run jobs that all wait at the same time; return what becomes of them."""
    go = threading.Event()
    first = asyncio.create_task(opened.run(held(go)))
    others = [asyncio.create_task(opened.run(job)) for job in jobs]
    await asyncio.sleep(0)
    go.set()
    return (await asyncio.gather(first, *others, return_exceptions=True))[1:]


async def test_jobs_that_wait_are_one_transaction(tracing):
    """They share the time until it is on the disk."""
    async with lane(tracing) as opened:
        assert await held_up(opened, [put(n) for n in range(10)]) == list(range(1, 11))
        assert tracing.said.count("COMMIT") == 1
        assert await opened.run(put(11)) == 11
        assert tracing.said.count("COMMIT") == 2


async def test_reading_jobs_see_what_was_there_when_they_began(tracing):
    """Each has a transaction of its own."""
    async with lane(tracing) as writing, lane(tracing, writes=False) as reading:
        await writing.run(put(1))
        results = await held_up(reading, [lambda c: c.execute(COUNT).fetchone()[0]] * 3)
        assert results == [1, 1, 1]
        assert tracing.said.count("BEGIN") >= 5


async def test_a_fault_is_of_one_job_alone(tracing):
    """The others of its transaction are done."""

    def refuse(connection):
        raise KvFault("no")

    async with lane(tracing) as opened:
        one, fault, two = await held_up(opened, [put(1), refuse, put(2)])
        assert (one, repr(fault), two) == (1, "KvFault('no')", 2)
        assert await opened.run(lambda c: c.execute(COUNT).fetchone()[0]) == 2


async def test_what_is_no_fault_undoes_the_transaction(tracing):
    """Those before it in the transaction are told, and the lane goes on."""

    def fail(connection):
        connection.execute("INSERT INTO absent VALUES (1)")

    async with lane(tracing) as opened:
        one, failed, two = await held_up(opened, [put(1), fail, put(2)])
        assert str(one) == str(failed) == "no such table: absent"
        assert two == 1
        assert await opened.run(lambda c: c.execute(COUNT).fetchone()[0]) == 1


async def test_a_connection_that_fails_is_tried_again(tracing):
    """With the next job."""
    path, tracing.path = tracing.path, tracing.path.parent
    async with lane(tracing) as opened:
        with pytest.raises(sqlite3.OperationalError):
            await opened.run(put(1))
        tracing.path = path
        assert await opened.run(put(1)) == 1


async def test_a_job_that_nobody_waits_for_is_done(tracing):
    """It was begun, and the thread does not look back."""
    async with lane(tracing) as opened:
        go = threading.Event()
        first = asyncio.create_task(opened.run(held(go)))
        second = asyncio.create_task(opened.run(put(1)))
        await asyncio.sleep(0)
        second.cancel()
        await asyncio.wait([second])
        go.set()
        await first
        assert await opened.run(lambda c: c.execute(COUNT).fetchone()[0]) == 1


async def test_closing_does_what_is_to_be_done(tracing):
    """Then the thread ends."""
    go = threading.Event()
    async with lane(tracing) as opened:
        jobs = [asyncio.create_task(opened.run(job)) for job in (held(go), put(1), put(2))]
        await asyncio.sleep(0)
        closing = asyncio.create_task(opened.close())
        await asyncio.sleep(0)
        go.set()
        await closing
    assert [await job for job in jobs[1:]] == [1, 2]
    assert "a-lane" not in {thread.name for thread in threading.enumerate()}
