"""Wait for the first of several; and for code of others, not for ever, even where it swallows its cancellation."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final, TypeVar

from jackfield._errors import PluginError

T = TypeVar("T")

_GRACE: Final = 1.0
"""Seconds that cancelled code has to clean up before it is left to itself."""


class OutOfTime(TimeoutError):
    """The code was not done in time; a plain `TimeoutError` is one that the code raised itself."""


async def run(
    coroutine: Coroutine[Any, Any, T], seconds: float, name: str, lost: Callable[[], float] = lambda: 0.0
) -> T:
    """Return what the coroutine returns.

    It runs as a task of its own. Past its time it is cancelled; if it does not end then, it is left behind.

    Args:
        coroutine: What to run.
        seconds: How long it may take.
        name: The task's name.
        lost: How many seconds others have kept it waiting so far, which do not count.

    Raises:
        OutOfTime: It took longer.
        Exception: Whatever it raised.
    """
    task = asyncio.get_running_loop().create_task(contained(coroutine), name=name)
    try:
        end = time.monotonic() + seconds - lost()
        while not task.done() and (left := end + lost() - time.monotonic()) > 0:
            await asyncio.wait([task], timeout=left)
        if task.done():
            return task.result()
        task.cancel()
        await asyncio.wait([task], timeout=_GRACE)
    except asyncio.CancelledError:
        task.cancel()
        raise
    if task.done() and not task.cancelled():
        task.exception()  # looked at, so that asyncio does not complain
    raise OutOfTime


async def first(*waits: Awaitable[object]) -> None:
    """Return as soon as one is done; the futures given stay, the coroutines are cancelled."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task, wait in zip(tasks, waits, strict=True):
            if task is not wait:
                task.cancel()


async def contained(coroutine: Coroutine[Any, Any, T]) -> T:
    """Return what the coroutine returns; whatever it raises of itself becomes an exception.

    A task that raises `SystemExit` would stop the event loop, and one that raises `CancelledError` without having been
    cancelled would cancel who waits for it.

    Raises:
        PluginError: It raised `SystemExit`, `CancelledError`, or anything else that is no `Exception`.
        Exception: Whatever else it raised.
    """
    task = asyncio.current_task()
    try:
        return await coroutine
    except Exception:
        raise
    except BaseException as error:
        if isinstance(error, asyncio.CancelledError | GeneratorExit) and (task is None or task.cancelling()):
            raise
        problem = (
            f"it called for the end of the process: {error!r}"
            if isinstance(error, SystemExit | KeyboardInterrupt)
            else f"it raised {error!r}, which is no Exception"
        )
        raise PluginError(problem, kind=type(error).__name__) from error
