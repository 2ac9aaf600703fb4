"""Runs jobs: takes those that are due, so many at once, and brings each to an end or back into the queue."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, Literal, TypeAlias, cast

from jackfield import CallError, Code, Kernel, Value
from jackfield_jobs.faults import Away, NotAJob
from jackfield_jobs.job import Job, Outcome, Told, check_function, now, pack, told, unpack
from jackfield_jobs.settings import JobsSettings
from jackfield_jobs.store import Store

log: Final = logging.getLogger(__name__)

_LOOK: Final = 0.5
"""Seconds between two looks for jobs that are due; those that are submitted here are taken at once."""
_PAUSE: Final = 1.0
"""Seconds until what could not be done is tried again."""
_TELL: Final = 0.25
"""Seconds between two notes of one job's progress."""
_CALM: Final = 0.1
"""Seconds between two looks at the jobs that run, however much changes."""
_FIRST: Final = 1.0
"""Seconds before the second attempt, about; each one after it waits twice as long."""
_LONGEST: Final = 300.0
"""Seconds before an attempt, at the most, if the function does not ask for more."""

Why: TypeAlias = Literal["unwanted", "lost", "closing"]
"""Why a job is stopped."""


class Runner:
    """Runs the jobs of one store that come to this server.

    Args:
        kernel: What the functions are called through.
        store: What has the jobs.
        settings: How many run at once, and which functions may.
    """

    def __init__(self, kernel: Kernel, store: Store, settings: JobsSettings) -> None:
        self._kernel = kernel
        self._store = store
        self._settings = settings
        self._closing = False
        self._free = asyncio.Semaphore(settings.running)
        self._work = asyncio.Event()
        self._doubt = asyncio.Event()
        self._running: set[_Run] = set()
        self._taking = asyncio.create_task(self._take(), name="jobs-take")
        self._beating = asyncio.create_task(self._beat(), name="jobs-beat")

    def tell(self, job_id: str | None) -> None:
        """Take note that a job has changed; with None, that any may have."""
        self._work.set()
        if job_id is None or job_id in self._ids():
            self._doubt.set()

    def stop(self, job_id: str, why: Why = "unwanted") -> None:
        """Stop a job, if it runs here."""
        for run in self._running:
            if run.job.id == job_id:
                run.stop(why)

    async def close(self) -> None:
        """Take no more, and put back what still runs."""
        self._closing = True
        self._work.set()
        self._free.release()
        await asyncio.wait([self._taking])
        for run in self._running:
            run.stop("closing")
        while self._running:
            await asyncio.wait([run.task for run in self._running])
        self._beating.cancel()
        await asyncio.wait([self._beating])

    async def _take(self) -> None:
        while True:
            await self._free.acquire()
            if self._closing:
                return
            self._work.clear()
            job, wait = None, _LOOK
            try:
                if self._accepts():
                    job = await self._store.take()
            except Away:
                wait = _PAUSE
            except Exception:
                log.exception("jobs cannot be taken")
                wait = _PAUSE
            if job is not None:
                self.stop(job.id, "lost")  # it was lost by this very server, which is here again
                self._running.add(_Run(job, self._store, self._run, self._ended))
                continue
            self._free.release()
            with suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._work.wait()

    def _accepts(self) -> bool:
        """Tell whether the server begins anything new; it does not while it starts, is overloaded, or goes away."""
        try:
            self._kernel.on_behalf_of(None).accept()
        except CallError:
            return False
        return not self._closing

    def _ended(self, run: _Run) -> None:
        self._running.discard(run)
        self._free.release()

    def _ids(self) -> set[str]:
        return {run.job.id for run in self._running}

    async def _beat(self) -> None:
        """Say that this server is there, and stop what it is not to run any longer."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            self._doubt.clear()
            try:
                if loop.time() >= due:
                    due = loop.time() + self._settings.lease / 3
                    await self._store.beat(self._ids())
                    if lost := await self._store.sweep():
                        log.warning(
                            "%d jobs ran at a server that is silent: they are queued again, or have failed", lost
                        )
                ending = await self._store.look(self._ids())
                for job_id in ending.unwanted:
                    self.stop(job_id)
                for job_id in ending.lost:
                    self.stop(job_id, "lost")
            except Away:
                pass  # the log has it
            except Exception:
                log.exception("jobs cannot be looked after")
            await asyncio.sleep(_CALM)
            with suppress(TimeoutError):
                async with asyncio.timeout_at(due):
                    await self._doubt.wait()

    async def _run(self, run: _Run) -> None:
        """Bring a job that was taken to an end, or back into the queue."""
        try:
            outcome: Outcome | _Again | None = await self._outcome(run)
        except asyncio.CancelledError:
            if run.why is None:
                raise  # not by us: the event loop ends
            outcome = _stopped(run)
        except Exception:
            log.exception("the job %s failed in a way that is no function's", run.job.id)
            outcome = Outcome("failed", error={"code": Code.INTERNAL.value, "message": "The job could not be run."})
        run.over = True
        if outcome is None:
            return
        if isinstance(outcome, Outcome):
            await self._save(partial(self._store.finish, run.job, replace(outcome, progress=run.progress)))
        else:
            await self._save(
                partial(self._store.put_back, run.job, outcome.due, outcome.error, counted=outcome.counted)
            )

    async def _outcome(self, run: _Run) -> Outcome | _Again:
        """Make the call, and return how it has ended, or when it is to be made again."""
        job = run.job
        behalf = self._kernel.on_behalf_of(job.principal)
        try:
            behalf.accept()
            data = unpack(job.data or b"")
            behalf.check(job.function, data)
            check_function(job.function, self._settings.functions)
        except CallError as error:
            if error.code is Code.UNAVAILABLE:  # nothing has begun, so this was no attempt
                return _Again(now() + max(error.retry_after or 0, _ms(_PAUSE)), told(error), counted=False)
            return Outcome("failed", error=told(error))
        except NotAJob as fault:
            return Outcome("failed", error={"code": fault.code.value, "message": str(fault)})
        try:
            result = pack(await behalf.invoke(job.function, data, timeout=job.timeout, progress=run.heard))
        except CallError as error:
            return _after(error, job)
        if len(result) > self._settings.max_result:
            message = (
                f"The result has {len(result):,} bytes, and may have {self._settings.max_result:,}"
                " (plugins.jobs.max_result)."
            )
            return Outcome("failed", error={"code": Code.RESOURCE_EXHAUSTED.value, "message": message})
        return Outcome("succeeded", result)

    async def _save(self, save: Callable[[], Awaitable[None]]) -> None:
        """Tell the store, if need be again and again until it can be used."""
        while True:
            try:
                return await save()
            except Away:
                pass  # the log has it
            except Exception:
                log.exception("what has become of a job cannot be kept")
            if self._closing:
                return None
            await asyncio.sleep(_PAUSE)


@dataclass(frozen=True, slots=True)
class _Again:
    """When a job is to be called again.

    Args:
        due: When, in milliseconds since 1970.
        error: Why.
        counted: Whether what has been was an attempt.
    """

    due: int
    error: Told
    counted: bool = True


class _Run:
    """A job that runs here.

    Args:
        job: The job, as it was taken.
        store: What hears of its progress.
        work: Brings it to an end.
        ended: Told that it has ended.

    Attributes:
        why: Why it is stopped, if it is.
        over: Whether the call is over, and there is nothing more to be stopped.
        progress: How far it is.
        task: What does it.
    """

    def __init__(
        self, job: Job, store: Store, work: Callable[[_Run], Awaitable[None]], ended: Callable[[_Run], None]
    ) -> None:
        self.job = job
        self.why: Why | None = None
        self.over = False
        self.progress: Told | None = None
        self._store = store
        self._noted: Told | None = None
        self._noting: asyncio.Task[None] | None = None
        self._begun = False
        self.task = asyncio.create_task(self._do(work, ended), name=f"jobs-run:{job.function}")

    def stop(self, why: Why) -> None:
        """Cancel the call; a second time nothing happens, as that would interrupt the cleaning up."""
        if self.why is None and not self.over:
            self.why = why
            if self._begun:  # what is cancelled before its first step has none, and nobody would end the job
                self.task.cancel()

    def heard(self, progress: Value) -> None:
        """Take note of how far the call is."""
        self.progress = cast(Told, progress)
        if self._noting is None or self._noting.done():
            self._noting = asyncio.create_task(self._note(), name="jobs-note")

    async def _do(self, work: Callable[[_Run], Awaitable[None]], ended: Callable[[_Run], None]) -> None:
        self._begun = True
        try:
            if self.why is not None:
                self.task.cancel()
            await work(self)
        finally:
            if self._noting is not None:
                self._noting.cancel()
            ended(self)

    async def _note(self) -> None:
        """Tell the store, not too often."""
        while self.progress is not self._noted:
            self._noted = self.progress
            if self._noted is not None:
                try:
                    await self._store.progress(self.job, self._noted)
                except Away:
                    pass  # the log has it, and a later word will do
                except Exception:
                    log.exception("the progress of a job cannot be kept")
            await asyncio.sleep(_TELL)


def _stopped(run: _Run) -> Outcome | _Again | None:
    """Return what follows a call that was cancelled; nothing, where the job is another server's now."""
    if run.why == "lost":
        return None
    if run.why == "unwanted":
        return Outcome("canceled")
    return _after(CallError(Code.UNAVAILABLE, "The server is going away."), run.job)


def _after(error: CallError, job: Job) -> Outcome | _Again:
    """Return what follows a call that failed: another one, where the error says that a later try can succeed."""
    later = error.code is Code.UNAVAILABLE or (error.code is Code.RESOURCE_EXHAUSTED and error.retry_after is not None)
    if not later or job.attempt >= job.attempts:
        return Outcome("failed", error=told(error))
    wait = min(_FIRST * 2 ** (job.attempt - 1), _LONGEST) * random.uniform(0.75, 1.25)  # noqa: S311 - no secret
    return _Again(now() + max(_ms(wait), error.retry_after or 0), told(error))


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
