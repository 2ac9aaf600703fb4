"""What a plugin leaves behind that has been stopped: tasks, threads, files and sockets, warnings, errors in the log."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import sys
import threading
import time
import warnings
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from jackfield._errors import JackfieldError
from jackfield.testing._running import RunningKernel

_PATIENCE: Final = 2.0
"""Seconds that threads and descriptors have to go by themselves, once the plugin has stopped."""
_AGAIN: Final = 0.01
_DESCRIPTORS: Final = next((path for path in (Path("/proc/self/fd"), Path("/dev/fd")) if path.is_dir()), None)
_LOGGERS: Final = ("jackfield", "asyncio")


def faults_of_a_life(
    serve: Callable[[], AbstractAsyncContextManager[RunningKernel]], live: Callable[[RunningKernel], Awaitable[None]]
) -> list[str]:
    """Start a plugin in an event loop of its own, let it live, and stop it; return what goes wrong, and its tasks."""

    async def run() -> list[str]:
        async with serve() as kernel:
            if kernel.plugin.reason is not None:
                return [f"it is {kernel.plugin.state}: {kernel.plugin.reason}"]
            await live(kernel)
            name = kernel.name
        for _ in range(10):  # what was told to end is given a few turns to do so
            await asyncio.sleep(0)
        left = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        return [
            f"it leaves a task behind, {_described(task)}: cancel it in jackfield_shutdown of {name}, and wait for it"
            for task in left
        ]

    try:
        return asyncio.run(run())
    except JackfieldError as error:
        return [f"the kernel does not start with it: {error}"]


class Leftovers:
    """Compares what there is of threads and descriptors before and after, and keeps what is complained of meanwhile."""

    def __init__(self) -> None:
        self._warnings: list[warnings.WarningMessage] = []
        self._records: list[logging.LogRecord] = []
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Leftovers:
        gc.collect()
        self._threads = set(threading.enumerate())
        self._files = _open_files()
        self._warnings = self._stack.enter_context(warnings.catch_warnings(record=True))
        warnings.simplefilter("always")
        keeper = _Keeper(self._records)
        for name in _LOGGERS:
            logger = logging.getLogger(name)
            logger.addHandler(keeper)
            self._stack.callback(logger.removeHandler, keeper)
        before, sys.unraisablehook = sys.unraisablehook, self._unraisable
        self._stack.callback(setattr, sys, "unraisablehook", before)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        gc.collect()  # what was forgotten complains when it is collected
        self._stack.close()

    def faults(self) -> list[str]:
        """Return a sentence for each thing that was left."""
        threads, files = self._gone()
        told = [f"{one.category.__name__}: {one.message}" for one in self._warnings]
        told += [record.getMessage() for record in self._records]
        return [
            *(
                f"it leaves the thread {one.name!r} behind: end it in jackfield_shutdown, and join it"
                for one in threads
            ),
            *(f"it leaves {one} open: close it in jackfield_shutdown" for one in files),
            *(f"it brings about a complaint, which is to be heeded: {one}" for one in dict.fromkeys(told)),
        ]

    def _gone(self) -> tuple[list[threading.Thread], list[str]]:
        end = time.monotonic() + _PATIENCE
        while True:
            threads = [one for one in threading.enumerate() if one not in self._threads]
            files = [name for number, name in _open_files().items() if self._files.get(number) != name]
            if not (threads or files) or time.monotonic() > end:
                return threads, files
            time.sleep(_AGAIN)

    def _unraisable(self, what: Any) -> None:
        self._records.append(
            logging.makeLogRecord({"msg": f"{what.err_msg or 'an exception was ignored'}: {what.exc_value!r}"})
        )


class _Keeper(logging.Handler):
    """Keeps errors.

    Args:
        records: Where.
    """

    def __init__(self, records: list[logging.LogRecord]) -> None:
        super().__init__(logging.ERROR)
        self._records = records

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record."""
        self._records.append(record)


def _open_files() -> dict[str, str]:
    """Return what each open descriptor is, by its number; nothing on systems that do not tell."""
    files = {}
    for number in os.listdir(_DESCRIPTORS) if _DESCRIPTORS else ():
        with contextlib.suppress(OSError):  # the one that listed them
            files[number] = os.readlink(f"{_DESCRIPTORS}/{number}")
    return files


def _described(task: asyncio.Task[Any]) -> str:
    coroutine = task.get_coro()
    return f"{getattr(coroutine, '__qualname__', coroutine)} ({task.get_name()})"
