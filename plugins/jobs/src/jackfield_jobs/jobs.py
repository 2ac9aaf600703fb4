"""The jobs of one server: what a caller may ask, within the limits of the settings and of its own rights."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Final

from jackfield import Kernel, Principal, Value
from jackfield_jobs.faults import NotAdmin, TooMuch
from jackfield_jobs.job import Job, check_function, new_id, now, owner_of, pack
from jackfield_jobs.runner import Runner
from jackfield_jobs.settings import JobsSettings
from jackfield_jobs.sqlite_store import SqliteStore
from jackfield_jobs.store import Store, Wanted, not_found
from jackfield_jobs.watches import Watches

ADMIN: Final = "jobs:admin"
"""The scope of those who see everybody's jobs."""


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be done.

    Args:
        function: What is called.
        data: Its argument.
        key: The submitter's own name for the job.
        attempts: How often it may be called; None for what the settings say.
        timeout: Seconds that each time may take; None for what the settings say, which is also the most.
        delay: Seconds until the first time.
    """

    function: str
    data: Value = None
    key: str | None = None
    attempts: int | None = None
    timeout: float | None = None
    delay: float = 0.0


class Jobs:
    """A store with what runs its jobs and what watches them, from `open` to `close`.

    Args:
        kernel: What functions are called through.
        settings: The plugin's settings.
        store: What they say; not open yet.
    """

    def __init__(self, kernel: Kernel, settings: JobsSettings, store: Store) -> None:
        self._kernel = kernel
        self._settings = settings
        self._store = store
        self._watches = Watches(store, settings.max_watches)
        self._runner: Runner | None = None

    @classmethod
    async def open(cls, kernel: Kernel, settings: JobsSettings) -> Jobs:
        """Open the store that the settings name, and begin to run its jobs.

        Raises:
            OSError, sqlite3.Error: The file cannot be used.
        """
        jobs = cls(kernel, settings, make_store(settings))
        await jobs._store.open(jobs._tell)
        jobs._runner = Runner(kernel, jobs._store, settings)
        return jobs

    async def close(self) -> None:
        """Put back what runs, and close the store."""
        if self._runner is not None:
            await self._runner.close()
        await self._store.close()

    def trouble(self) -> str | None:
        """Tell why the store cannot be used, if that is so."""
        return self._store.trouble()

    async def submit(self, principal: Principal | None, order: Order) -> Job:
        """Return a new job, which is kept now, or the one that the caller has with the same key.

        Raises:
            CallError: What a call of the function would be answered with before it begins.
            NotAJob, BadData, TooMuch, KeyTaken, Away: See there.
        """
        self._kernel.on_behalf_of(principal).check(order.function, order.data)
        check_function(order.function, self._settings.functions)
        data = pack(order.data)
        if len(data) > self._settings.max_data:
            raise TooMuch(
                f"The data has {len(data):,} bytes, and may have {self._settings.max_data:,} (plugins.jobs.max_data)."
            )
        created = now()
        timeout = self._settings.timeout
        job = Job(
            new_id(created),
            owner_of(principal),
            () if principal is None else tuple(sorted(principal.scopes)),
            order.function,
            order.attempts or self._settings.attempts,
            timeout if order.timeout is None else min(order.timeout, timeout),
            created,
            order.key,
            data,
            due=created + round(order.delay * 1000),
        )
        return replace(await self._store.add(job), data=None)

    async def get(self, principal: Principal | None, job_id: str) -> Job:
        """Return a job of the caller's.

        Raises:
            NotFound, Away: See there.
        """
        job = await self._store.get(job_id)
        if job is None or not (_is_admin(principal) or job.owner == owner_of(principal)):
            raise not_found(job_id)
        return job

    async def list(self, principal: Principal | None, wanted: Wanted, *, everybody: bool) -> list[Job]:
        """Return jobs of the caller's, or of everybody.

        Raises:
            NotAdmin, Away: See there.
        """
        if everybody and not _is_admin(principal):
            raise NotAdmin(f"You see your own jobs alone: all of them requires the scope {ADMIN}.")
        return await self._store.page(wanted if everybody else replace(wanted, owner=owner_of(principal)))

    async def cancel(self, principal: Principal | None, job_id: str) -> Job:
        """Cancel a job of the caller's, and return it as it is then; one that runs ends a little later.

        Raises:
            NotFound, Away: See there.
        """
        await self.get(principal, job_id)
        job = await self._store.cancel(job_id)
        if self._runner is not None:
            self._runner.stop(job_id)
        return job

    async def watch(self, principal: Principal | None, job_id: str) -> AsyncGenerator[Job, None]:
        """Yield a job of the caller's as it is, and again whenever it has changed, until it has ended.

        Raises:
            NotFound, TooMuch, Away: See there.
        """
        await self.get(principal, job_id)
        async with aclosing(self._watches.watch(job_id)) as states:
            async for job in states:
                yield job

    def _tell(self, job_id: str | None) -> None:
        self._watches.tell(job_id)
        if self._runner is not None:
            self._runner.tell(job_id)


def make_store(settings: JobsSettings) -> Store:
    """Return the store that the settings name."""
    if settings.queue is None:
        return SqliteStore(settings)
    from jackfield_jobs.saq_store import SaqStore  # noqa: PLC0415 - who has no Redis need not have the packages

    return SaqStore(settings.queue.get_secret_value(), settings)


def _is_admin(principal: Principal | None) -> bool:
    return principal is not None and ADMIN in principal.scopes
