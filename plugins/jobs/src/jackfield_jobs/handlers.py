"""The functions of `api.jobs`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing, contextmanager
from datetime import UTC, datetime
from typing import Any, Final

from jackfield import Call, CallError, Code, Service
from jackfield_jobs import job as model
from jackfield_jobs.faults import Away, JobsFault
from jackfield_jobs.job import unpack
from jackfield_jobs.jobs import Jobs, Order
from jackfield_jobs.messages import Job, ListRequest, OneRequest, SubmitRequest, WholeJob
from jackfield_jobs.messages import Jobs as Page
from jackfield_jobs.store import Wanted

RUN: Final = "jobs:run"
"""The scope that callers need, where clients have to say who they are."""
_RETRY: Final = 1000
"""Milliseconds after which a store that was away may be back."""
_ALL: Final = ListRequest()
_OF_ONE: Final = (Code.NOT_FOUND, Code.UNAVAILABLE)


def make_service(opened: Callable[[Call], Jobs]) -> Service:
    """Return the service; `opened` tells which jobs a call is about."""
    service = Service("api.jobs")

    @service.function(
        requires=RUN,
        errors=[
            Code.INVALID_ARGUMENT,
            Code.NOT_FOUND,
            Code.PERMISSION_DENIED,
            Code.ALREADY_EXISTS,
            Code.RESOURCE_EXHAUSTED,
            Code.UNAVAILABLE,
        ],
    )
    async def submit(call: Call, data: SubmitRequest) -> Job:
        """Let the server call a function for you, with nobody waiting; the job is kept when this is answered.

        What you may not call you cannot submit, and data that do not fit are refused at once.
        """
        with _told():
            return Job(**_fields(await opened(call).submit(call.principal, Order(**dict(data)))))

    @service.function(requires=RUN, errors=_OF_ONE)
    async def get(call: Call, data: OneRequest) -> WholeJob:
        """Return a job as it is, with its result if it has succeeded."""
        with _told():
            return _whole(await opened(call).get(call.principal, data.id))

    @service.function(name="list", requires=RUN, errors=[Code.PERMISSION_DENIED, Code.UNAVAILABLE])
    async def list_jobs(call: Call, data: ListRequest = _ALL) -> Page:
        """Return your jobs, the newest first, without their results."""
        wanted = Wanted(None, data.state, data.function, data.cursor, data.limit)
        with _told():
            found = await opened(call).list(call.principal, wanted, everybody=data.everybody)
        return Page(
            jobs=[Job(**_fields(job)) for job in found], next=found[-1].id if len(found) == data.limit else None
        )

    @service.function(requires=RUN, errors=[*_OF_ONE, Code.RESOURCE_EXHAUSTED])
    async def watch(call: Call, data: OneRequest) -> AsyncIterator[WholeJob]:
        """Send a job as it is, and again whenever it has changed; the last item is how it has ended."""
        with _told():
            async with aclosing(opened(call).watch(call.principal, data.id)) as states:
                async for job in states:
                    yield _whole(job)

    @service.function(requires=RUN, errors=_OF_ONE)
    async def cancel(call: Call, data: OneRequest) -> Job:
        """Cancel a job: one that is queued never runs, one that runs is stopped, one that has ended stays as it is."""
        with _told():
            return Job(**_fields(await opened(call).cancel(call.principal, data.id)))

    return service


@contextmanager
def _told() -> Iterator[None]:
    """Tell the caller what is wrong with its request."""
    try:
        yield
    except JobsFault as fault:
        retry_after = _RETRY if isinstance(fault, Away) else None
        raise CallError(fault.code, str(fault), retry_after=retry_after) from None


def _whole(job: model.Job) -> WholeJob:
    return WholeJob(**_fields(job), result=None if job.result is None else unpack(job.result))


def _fields(job: model.Job) -> dict[str, Any]:
    return {
        "id": job.id,
        "function": job.function,
        "owner": job.owner or None,
        "key": job.key,
        "state": job.state,
        "attempt": job.attempt,
        "attempts": job.attempts,
        "created": _time(job.created),
        "due": _time(job.due) if job.state == "queued" else None,
        "started": _time(job.started),
        "ended": _time(job.ended),
        "progress": job.progress,
        "error": job.error,
    }


def _time(milliseconds: int | None) -> datetime | None:
    return None if milliseconds is None else datetime.fromtimestamp(milliseconds / 1000, UTC)
