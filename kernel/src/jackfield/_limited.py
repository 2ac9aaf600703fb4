"""Wait for code of others, but not for ever: not even where it swallows its cancellation."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

from jackfield._errors import PluginError

T = TypeVar("T")

_GRACE: Final = 1.0
"""Seconds that cancelled code has to clean up before it is left to itself."""


async def run(coroutine: Coroutine[Any, Any, T], seconds: float, name: str) -> T:
    """Return what the coroutine returns.

    It runs as a task of its own. Past its time it is cancelled; if it does not end then, it is left behind.

    Args:
        coroutine: What to run.
        seconds: How long it may take.
        name: The task's name.

    Raises:
        TimeoutError: It took longer.
        Exception: Whatever it raised.
    """
    task = asyncio.get_running_loop().create_task(contained(coroutine), name=name)
    try:
        done, _ = await asyncio.wait([task], timeout=seconds)
        if done:
            return task.result()
        task.cancel()
        await asyncio.wait([task], timeout=_GRACE)
    except asyncio.CancelledError:
        task.cancel()
        raise
    if task.done() and not task.cancelled():
        task.exception()  # looked at, so that asyncio does not complain
    raise TimeoutError


async def contained(coroutine: Coroutine[Any, Any, T]) -> T:
    """Return what the coroutine returns; its attempt to end the process becomes an exception.

    A task that raises `SystemExit` would stop the event loop.

    Raises:
        PluginError: It raised `SystemExit` or `KeyboardInterrupt`.
        Exception: Whatever else it raised.
    """
    try:
        return await coroutine
    except (SystemExit, KeyboardInterrupt) as error:
        raise PluginError(f"it called for the end of the process: {error!r}", kind=type(error).__name__) from error
