"""Time limits on code of others that runs in the main thread: imports, hooks, starts and stops that block.

A thread watches. When the time is over it sends the main thread a signal, whose handler raises in the middle of
what runs, and again until that has helped, so that code which swallows the exception meets the next one. What
does not come back even so, such as a loop that catches everything, ends the process and is named, because
nothing gentler is left. C code that keeps Python's lock stops that thread too: then faulthandler ends the process.
"""

from __future__ import annotations

import asyncio
import faulthandler
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final, TypeAlias

EXIT_START_FAILED: Final = 3
SIGNAL: Final = signal.SIGVTALRM
"""One that hardly anybody uses: SIGALRM may be a plugin's, or that of whoever tests it."""
_AGAIN: Final = 0.2
"""Seconds between two looks of the watching thread, and between two signals."""
_PATIENCE: Final = 5.0
"""Seconds of signals after which the process is ended."""
_LOCKED: Final = 1.0
"""Seconds after which that was in vain."""
STDERR: Final = 2
End: TypeAlias = Callable[[str], None]


class TimeIsUp(BaseException):
    """Raised in the middle of code that took too long; no `Exception`, so that few handlers swallow it."""


class Interrupted(KeyboardInterrupt):
    """Ctrl+C, while the code of a plugin is limited; a plain `KeyboardInterrupt` is the code's own."""


@contextmanager
def time_limit(seconds: float, culprit: str) -> Iterator[None]:
    """Run the body for `seconds` at the most.

    Outside the main thread, where Python delivers no signals, the body runs without a limit.

    Args:
        seconds: How long the body may take.
        culprit: Who is to blame, for the last words of a process that had to be ended.

    Raises:
        TimeIsUp: The body took longer.
        Interrupted: Somebody pressed Ctrl+C.
    """
    end = time.monotonic() + seconds
    with (
        _own_interrupts(),
        _alarm(seconds, lambda: time.monotonic() - end, lambda: None, lambda: end_start(culprit)),
    ):
        yield


@contextmanager
def blocking_limit(
    seconds: float, name_of: Callable[[asyncio.Task[object]], str | None], last_resort: End
) -> Iterator[Callable[[], float]]:
    """While the body runs an event loop, raise `TimeIsUp` in a task that does not give the loop back.

    Args:
        seconds: How long a task may hold the loop.
        name_of: Returns who is behind a task, or None for a task that is to be left alone.
        last_resort: Ends the process because of that one, who cannot be interrupted.

    Yields:
        What tells for how many seconds tasks that had to be interrupted have held the loop: time that the others lost.
    """
    loop = asyncio.get_running_loop()
    holder: asyncio.Task[object] | None = None
    since = lost = lost_before = 0.0
    running = True

    def pulse(all_is_well: Callable[[], None]) -> None:
        nonlocal holder
        holder = None  # whoever it was has given the loop back
        if running:
            all_is_well()
            loop.call_later(_AGAIN, pulse, all_is_well)

    def overdue() -> float:
        nonlocal holder, since, lost_before
        now, task = time.monotonic(), asyncio.current_task(loop)
        if task is not holder:
            holder, since, lost_before = task, now, lost
        return now - since - seconds if task is not None and name_of(task) is not None else -1.0

    def interrupted() -> None:
        nonlocal lost
        lost = lost_before + time.monotonic() - since

    def give_up() -> None:
        last_resort((holder and name_of(holder)) or "?")

    try:
        with _alarm(seconds, overdue, interrupted, give_up) as all_is_well:
            pulse(all_is_well)
            yield lambda: lost
    finally:
        running = False


@contextmanager
def _alarm(
    seconds: float, overdue: Callable[[], float], interrupted: Callable[[], None], last_resort: Callable[[], None]
) -> Iterator[Callable[[], None]]:
    """Raise `TimeIsUp` in the body while `overdue` returns more than 0: for how many seconds it should have ended.

    Yields:
        What gives the body its `seconds` anew, as far as faulthandler goes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: None
        return

    def arm() -> None:
        faulthandler.dump_traceback_later(seconds + _PATIENCE + _LOCKED, exit=True, file=STDERR)

    running = True
    over = threading.Event()

    def ring(signum: int, frame: FrameType | None) -> None:
        if running and overdue() > 0:
            interrupted()
            raise TimeIsUp

    def watch() -> None:
        while not over.wait(_AGAIN):
            late = overdue()
            if running and late > _PATIENCE:
                last_resort()
            elif running and late > 0:
                signal.pthread_kill(main, SIGNAL)

    main = threading.get_ident()
    before = signal.signal(SIGNAL, ring)
    watcher = threading.Thread(target=watch, name="jackfield-watch", daemon=True)
    watcher.start()
    arm()
    try:
        try:
            yield arm
        finally:
            running = False
    finally:
        # A signal may have come just before the line above, so this stands in a block of its own.
        running = False
        faulthandler.cancel_dump_traceback_later()
        over.set()
        watcher.join()  # it sends nothing any more that would meet the handler from before
        signal.signal(SIGNAL, before)


@contextmanager
def _own_interrupts() -> Iterator[None]:
    """Let Ctrl+C raise `Interrupted` in the body, where it would raise `KeyboardInterrupt`."""
    usual = signal.default_int_handler
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGINT) is not usual:
        yield
        return

    def interrupt(signum: int, frame: FrameType | None) -> None:
        raise Interrupted

    signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, usual)


def end_start(culprit: str) -> None:
    """End the process because this plugin does not let it start."""
    sys.stderr.write(
        f"jackfield: plugin {culprit} does not come back and cannot be interrupted; the start has failed.\n"
        f"  Take it out of service with: jackfield plugins disable {culprit}\n"
    )
    sys.stderr.flush()
    os._exit(EXIT_START_FAILED)


def end_stop(culprit: str) -> None:
    """End the process because this task does not let it stop; the status is 0, for the server was told to end."""
    sys.stderr.write(
        f"jackfield: the task {culprit} does not come back and cannot be interrupted; the server ends without it.\n"
    )
    sys.stderr.flush()
    os._exit(0)
