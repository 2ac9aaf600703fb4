"""What a store can do, whatever it keeps jobs in; and the words for it."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from jackfield_jobs.faults import KeyTaken, NotFound, TooMuch
from jackfield_jobs.job import Job, Outcome, State, Told, unpack
from jackfield_jobs.settings import JobsSettings

Tell: TypeAlias = Callable[[str | None], None]
"""Is told that a job with this id has changed; None: any job may have."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which jobs are listed, newest first.

    Args:
        owner: Whose; None for everybody's.
        state: In which state; None for any.
        function: Of which function; None for any.
        after: The id behind which to begin.
        limit: How many at the most.
    """

    owner: str | None
    state: State | None = None
    function: str | None = None
    after: str | None = None
    limit: int = 100

    def covers(self, job: Job) -> bool:
        """Tell whether a job is wanted, wherever it stands."""
        return (
            self.owner in (None, job.owner)
            and self.state in (None, job.state)
            and self.function in (None, job.function)
        )


@dataclass(frozen=True, slots=True)
class Ending:
    """Which jobs a server is not to run any longer.

    Args:
        unwanted: Those that somebody wants canceled.
        lost: Those that are not its own any more: it was silent for too long.
    """

    unwanted: Collection[str] = ()
    lost: Collection[str] = ()


class Store(Protocol):
    """What keeps jobs, and gives each to one server at a time. Every method raises `Away` where it cannot be used.

    `progress`, `put_back` and `finish` take the job as `take` gave it, and do nothing if it was given to another server
    meanwhile: so each job has one end, however many servers believe that they run it.
    """

    async def open(self, tell: Tell) -> None:
        """Make it ready; to be called once, before all others. `tell` hears of changes, by other servers too."""

    async def close(self) -> None:
        """Give back what `open` took; nothing is called after it."""

    def trouble(self) -> str | None:
        """Tell why the store cannot be used, if that is so."""

    async def add(self, job: Job) -> Job:
        """Add a job, and return it, or the one that its owner has with the same key; when this returns it is kept.

        Raises:
            TooMuch: There are too many.
            KeyTaken: The one with the key is another job.
        """

    async def get(self, job_id: str) -> Job | None:
        """Return a job, without its data."""

    async def page(self, wanted: Wanted) -> list[Job]:
        """Return some jobs, without their data and results."""

    async def cancel(self, job_id: str) -> Job:
        """Let a job that is queued end as canceled, and ask for that where one runs; return it, as it is now.

        Raises:
            NotFound: There is none any more.
        """

    async def take(self) -> Job | None:
        """Return a job that is due, with its data, as running here and with one attempt more; None if none is."""

    async def progress(self, job: Job, progress: Told) -> None:
        """Take note of how far a job is."""

    async def put_back(self, job: Job, due: int, error: Told, *, counted: bool) -> None:
        """Queue a job again, or end it as canceled if that was asked for; `counted`: whether the attempt counts."""

    async def finish(self, job: Job, outcome: Outcome) -> None:
        """End a job."""

    async def look(self, running: Collection[str]) -> Ending:
        """Tell which of the jobs that this server runs it is not to run any longer."""

    async def beat(self, running: Collection[str]) -> None:
        """Say that this server is there, and runs these jobs."""

    async def sweep(self) -> int:
        """Queue or end what servers ran that are silent, and return how many; forget what has ended long ago."""


def refuse_more(settings: JobsSettings, everybody: int, own: int) -> None:
    """Refuse one job more, where so many have not ended, of everybody's and of the submitter's own.

    Raises:
        TooMuch: There may be no more.
    """
    if own >= settings.max_open_per_principal:
        raise TooMuch(
            f"{own:,} of your jobs have not ended, and there may be no more (plugins.jobs.max_open_per_principal)."
        )
    if everybody >= settings.max_open:
        raise TooMuch(f"{everybody:,} jobs have not ended, and there may be no more (plugins.jobs.max_open).")


def same(job: Job, found: Job) -> Job:
    """Return the job that was found under the key of another one, without its data, if it is the same call.

    Raises:
        KeyTaken: It is not.
    """
    if job.function != found.function or unpack(job.data or b"") != unpack(found.data or b""):
        raise KeyTaken(
            f"The key {job.key!r} is that of your job {found.id}, a call of {found.function} with other data or of "
            "another function: take another key."
        )
    return found


def not_found(job_id: str) -> NotFound:
    """Return the refusal of an id."""
    return NotFound(f"You have no job {job_id[:100]!r}; jobs that have ended are forgotten after a time.")
