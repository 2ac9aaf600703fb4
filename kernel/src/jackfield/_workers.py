"""Worker threads for plain functions.

Each plugin has its own, so that one that blocks them starves nobody else. They are daemons: a thread that never
comes back does not keep the process from ending, which the standard library's executors would.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections import deque
from collections.abc import Callable


class Job:
    """A function that waits for a thread, runs in one, or has run.

    Attributes:
        future: Done when the thread has finished with it, not before.
    """

    __slots__ = ("function", "future", "started")

    def __init__(self, function: Callable[[], object]) -> None:
        self.future: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        self.function = function
        self.started = False


class Workers:
    """At most `limit` threads, started when they are needed; jobs beyond wait their turn.

    Args:
        name: The plugin's name, which the threads carry.
        limit: How many threads there may be.
    """

    def __init__(self, name: str, limit: int) -> None:
        self._name = name
        self._limit = limit
        self._jobs: deque[Job] = deque()
        self._changed = threading.Condition()
        self._threads = 0
        self._idle = 0
        self._closed = False

    def submit(self, function: Callable[[], object]) -> Job:
        """Run `function` in a thread, in a copy of the present context."""
        context = contextvars.copy_context()
        job = Job(lambda: context.run(function))
        with self._changed:
            self._jobs.append(job)
            if self._idle >= len(self._jobs):
                self._changed.notify()
            elif self._threads < self._limit:
                self._threads += 1
                threading.Thread(target=self._work, name=f"jackfield-{self._name}-{self._threads}", daemon=True).start()
        return job

    def withdraw(self, job: Job) -> bool:
        """Take a job out of the queue; tell whether it had not begun."""
        with self._changed:
            if job.started:
                return False
            self._jobs.remove(job)
            return True

    def close(self) -> None:
        """Let the threads end once they have nothing to do."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _work(self) -> None:
        while (job := self._next()) is not None:
            result: object = None
            raised: BaseException | None = None
            try:
                result = job.function()
            except BaseException as error:  # noqa: BLE001 - it belongs to the caller, SystemExit included
                raised = error
            try:
                job.future.get_loop().call_soon_threadsafe(_settle, job.future, result, raised)
            except RuntimeError:  # the loop has been closed: nobody waits any more
                return
            del job, result, raised

    def _next(self) -> Job | None:
        with self._changed:
            while not self._jobs:
                if self._closed:
                    return None
                self._idle += 1
                self._changed.wait()
                self._idle -= 1
            job = self._jobs.popleft()
            job.started = True
            return job


def _settle(future: asyncio.Future[object], result: object, error: BaseException | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(result)
    elif isinstance(error, StopIteration):  # a future refuses it
        future.set_exception(RuntimeError("the function raised StopIteration"))
    else:
        future.set_exception(error)
