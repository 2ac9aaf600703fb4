"""Time limits on code of others that runs in the main thread: imports, hooks, starts that block.

A timer's signal raises in the middle of what runs. It is armed again and again, so that code which swallows
the exception meets the next one. What does not come back even so, such as a loop in C, is ended by a thread:
it says which plugin it was and ends the process, because nothing gentler is left.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

EXIT_START_FAILED: Final = 3
_AGAIN: Final = 0.2
"""Seconds between two signals once the time is over."""
_PATIENCE: Final = 5.0
"""Seconds of signals after which the process is ended."""


class TimeIsUp(BaseException):
    """Raised in the middle of code that took too long; no `Exception`, so that few handlers swallow it."""


@contextmanager
def time_limit(seconds: float, culprit: str) -> Iterator[None]:
    """Run the body for `seconds` at the most.

    Outside the main thread, where Python delivers no signals, the body runs without a limit.

    Args:
        seconds: How long the body may take.
        culprit: Who is to blame, for the last words of a process that had to be ended.

    Raises:
        TimeIsUp: The body took longer.
    """
    with _alarm(seconds, lambda: True, lambda: culprit):
        yield


@contextmanager
def blocking_limit(seconds: float, name_of: Callable[[asyncio.Task[object]], str | None]) -> Iterator[None]:
    """While the body runs an event loop, raise `TimeIsUp` in a task that does not give the loop back.

    Args:
        seconds: How long after the beginning a task may still hold the loop.
        name_of: Returns the plugin that a task belongs to, or None for a task that is to be left alone.
    """
    loop = asyncio.get_running_loop()

    def culprit() -> str | None:
        task = asyncio.current_task(loop)
        return None if task is None else name_of(task)

    with _alarm(seconds, lambda: culprit() is not None, lambda: culprit() or "a plugin"):
        yield


@contextmanager
def _alarm(seconds: float, guilty: Callable[[], bool], culprit: Callable[[], str]) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    running = True

    def ring(signum: int, frame: FrameType | None) -> None:
        if running and guilty():
            raise TimeIsUp

    def last_resort() -> None:
        if running and guilty():
            _end(culprit())

    watchdog = threading.Timer(seconds + _PATIENCE, last_resort)
    watchdog.daemon = True
    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds, _AGAIN)
    watchdog.start()
    try:
        try:
            yield
        finally:
            running = False
    finally:
        # A signal may have come just before the line above, so this stands in a block of its own.
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        watchdog.cancel()


def _end(culprit: str) -> None:
    sys.stderr.write(
        f"jackfield: plugin {culprit} does not come back and cannot be interrupted; the start has failed.\n"
        f"  Take it out of service with: jackfield plugins disable {culprit}\n"
    )
    sys.stderr.flush()
    os._exit(EXIT_START_FAILED)
