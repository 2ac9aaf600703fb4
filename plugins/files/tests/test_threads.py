"""Work in threads that no call leaves behind."""

from __future__ import annotations

import asyncio
import threading

import pytest

from jackfield_files.threads import ended, in_thread, over, start
from tests.support.waiting import until


async def test_a_thread_gives_its_result_or_its_error() -> None:
    """As the function would."""
    assert await in_thread(int, "7") == 7
    with pytest.raises(ValueError, match="invalid literal"):
        await in_thread(int, "seven")


@pytest.mark.parametrize("fails", [True, False])
async def test_a_cancelled_call_waits_for_its_thread(fails: bool) -> None:
    """However often it is cancelled: what the thread works with is closed after it, not under it."""
    go, stopped = threading.Event(), threading.Event()

    def work() -> None:
        go.wait()
        if fails:
            raise ValueError("nobody asks for this any more")

    task = asyncio.create_task(ended(start(work), stopped.set))
    await asyncio.sleep(0)
    for _ in range(3):
        task.cancel()
        await until(stopped.is_set)
        assert not task.done()
    go.set()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_over_waits_and_says_nothing_of_an_error() -> None:
    """It is for what is to be cleared away; a cancellation comes when the thread has ended."""
    await over(start(int, "seven"))
    go = threading.Event()
    task = asyncio.create_task(over(start(go.wait)))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.sleep(0)
    assert not task.done()
    go.set()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_what_is_called_at_the_end_has_been_called_when_it_is_over() -> None:
    """Callbacks of the work run before who waits for it goes on."""
    work = start(int, "7")
    called: list[int] = []
    work.add_done_callback(lambda done: called.append(done.result()))
    await until(work.done)
    await over(work)
    assert called == [7]
