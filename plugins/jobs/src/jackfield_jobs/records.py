"""What is done with Redis: the queue of SAQ, and what it has no words for.

SAQ has the queue: which jobs wait, which are taken, what has become of each; all of that in small records. Beside them
stand, under names of our own, data and results, the lists of each owner's jobs, keys, and what is wanted canceled.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import math
import secrets
from collections.abc import Collection
from dataclasses import replace
from typing import Any, Final
from weakref import WeakValueDictionary

import msgpack
from redis.asyncio import Redis
from saq.job import Job as Record
from saq.job import Status
from saq.queue.redis import RedisQueue

from jackfield_jobs.job import LOST, Job, Outcome, State, Told, now
from jackfield_jobs.settings import JobsSettings
from jackfield_jobs.store import Ending, Wanted, not_found, refuse_more, same

_SHORTLY: Final = 0.01
"""Seconds to wait for a job that is due; 0 would be for ever."""
_PORTION: Final = 100
"""Jobs that are read at once."""
_MANY: Final = 500
"""Jobs that are looked at in one sweep, of those that Redis may have forgotten."""
_WISH: Final = 3600
"""Seconds for which it is remembered that a job is not wanted; its server looks many times in these."""
_LONG: Final = 30 * 86_400
"""Seconds that a key is remembered beyond those that a job is kept: so long may one wait in the queue."""

_STATES: Final[dict[Status, State]] = {
    Status.NEW: "queued",
    Status.QUEUED: "queued",
    Status.ACTIVE: "running",
    Status.ABORTING: "running",
    Status.COMPLETE: "succeeded",
    Status.FAILED: "failed",
    Status.ABORTED: "canceled",
}
_STATUSES: Final = {state: status for status, state in _STATES.items() if status not in (Status.NEW, Status.ABORTING)}

logging.getLogger("saq").setLevel(logging.WARNING)  # it has lines for each job


class Records:
    """What one server does with the jobs in Redis.

    Args:
        redis: The connections.
        settings: How much is kept, how long, and under which name.

    Attributes:
        queue: SAQ's.
    """

    def __init__(self, redis: Redis, settings: JobsSettings) -> None:
        self.queue = RedisQueue(redis, settings.queue_name, dump=msgpack.packb, load=msgpack.unpackb)
        self._redis = redis
        self._settings = settings
        self._runner = secrets.token_hex(8)
        self._unmarked: set[str] = set()
        self._tidied = "-"
        self._writing: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def add(self, job: Job) -> Job:
        """Add a job; see `Store.add`."""
        if job.key is not None:
            name = self._name("key", hashlib.sha256(f"{job.owner}\0{job.key}".encode()).hexdigest())
            # Whoever was first with the key may not have come further than this: then the id is the same, and the job.
            if not await self._redis.set(name, job.id, nx=True, ex=self._settings.keep + _LONG):
                job = replace(job, id=_text(await self._redis.get(name) or job.id))
                found = await self.get(job.id)
                if found is not None:
                    same(job, replace(found, data=await self._bytes("data", job.id)))
                    return found
        await self._refuse_more(job.owner)
        async with self._redis.pipeline(transaction=True) as pipe:
            pipe.set(self._name("data", job.id), job.data or b"")
            pipe.zadd(self._name("all"), {job.id: 0})
            pipe.zadd(self._name("of", job.owner), {job.id: 0})
            pipe.sadd(self._name("open", job.owner), job.id)
            await pipe.execute()
        record = Record(
            job.function,
            key=job.id,
            timeout=0,  # the runner's business
            heartbeat=math.ceil(self._settings.lease),
            retries=job.attempts,
            ttl=self._settings.keep,
            scheduled=math.ceil(job.due / 1000) if job.due > now() else 0,
            meta={
                "owner": job.owner,
                "scopes": list(job.scopes),
                "timeout": job.timeout,
                "created": job.created,
                "key": job.key,
                "due": job.due,
            },
        )
        await self.queue.enqueue(record)
        return job

    async def get(self, job_id: str) -> Job | None:
        """Return a job without its data."""
        record = await self.queue.job(job_id)
        if record is None:
            return None
        result = await self._bytes("result", job_id) if record.status is Status.COMPLETE else None
        return _job(record, result=result)

    async def page(self, wanted: Wanted) -> list[Job]:
        """Return some jobs; see `Store.page`."""
        name = self._name("all") if wanted.owner is None else self._name("of", wanted.owner)
        found: list[Job] = []
        end = "+" if wanted.after is None else f"({wanted.after}"
        while len(found) < wanted.limit:
            ids = [_text(one) for one in await self._redis.zrevrangebylex(name, end, "-", 0, _PORTION)]
            if not ids:
                break
            end = f"({ids[-1]}"
            found += [job for record in await self._listed(name, ids) if wanted.covers(job := _job(record))]
        return found[: wanted.limit]

    async def cancel(self, job_id: str) -> Job:
        """Cancel a job, or ask for that; see `Store.cancel`."""
        # First the wish, which who takes the job looks at last: so one of the two ends it, whatever the order.
        await self._redis.set(self._name("unwanted", job_id), 1, ex=_WISH)
        record = await self.queue.job(job_id)
        if record is None:
            raise not_found(job_id)
        if record.status is Status.QUEUED:
            await self._end(record, Outcome("canceled"))
        else:
            await self.queue.notify(record)
        return replace(_job(record), asked=record.status is Status.ACTIVE)

    async def take(self) -> Job | None:
        """Take a job that is due; see `Store.take`."""
        await self.queue.schedule()
        while (record := await self.queue.dequeue(_SHORTLY)) is not None:
            if record.status is not Status.QUEUED:  # it was canceled, and its turn has come all the same
                await self._redis.lrem(self.queue.namespace("active"), 0, record.id)
                continue
            record.attempts += 1
            record.started = now()
            record.worker_id = self._runner
            record.meta |= {"started": record.started, "progress": None}
            await self.queue.update(record, status=Status.ACTIVE)
            if not await self._unwanted(record.key):
                return replace(_job(record), data=await self._bytes("data", record.key))
            await self._end(record, Outcome("canceled"))
        return None

    async def progress(self, job: Job, progress: Told) -> None:
        """Take note of how far a job is."""
        async with self._alone(job.id):
            if (record := await self._mine(job)) is not None:
                record.meta["progress"] = progress
                await self.queue.update(record)

    async def put_back(self, job: Job, due: int, error: Told, *, counted: bool) -> None:
        """Queue a job again; see `Store.put_back`."""
        async with self._alone(job.id):
            if (record := await self._mine(job)) is not None:
                record.attempts -= int(not counted)
                await self._again(record, due, error)

    async def finish(self, job: Job, outcome: Outcome) -> None:
        """End a job."""
        async with self._alone(job.id):
            if (record := await self._mine(job)) is not None:
                await self._end(record, outcome)

    async def look(self, running: Collection[str]) -> Ending:
        """Tell which jobs this server is not to run any longer; see `Store.look`."""
        ids = list(running)
        wishes = await self._redis.mget([self._name("unwanted", one) for one in ids])
        records = await self.queue.jobs(ids)
        lost = [one for one, record in zip(ids, records, strict=True) if record is None or not self._has(record)]
        return Ending([one for one, wish in zip(ids, wishes, strict=True) if wish and one not in lost], lost)

    async def touch(self, job_id: str) -> None:
        """Say that this server runs a job."""
        async with self._alone(job_id):
            record = await self.queue.job(job_id)
            if record is not None and self._has(record):
                await self.queue.update(record)

    async def sweep(self) -> int:
        """Give up what is lost, and return how many jobs that were; what has ended long ago is let go.

        SAQ has a sweep, which begins with taking a job off all lists; who is killed there loses it. This one moves it.
        """
        lease = round(self._settings.lease * 1000)
        if not await self._redis.set(self._name("sweep"), 1, nx=True, px=max(lease // 4, 1)):
            return 0
        lost, unmarked = 0, set()
        active = self.queue.namespace("active")
        for name in map(_text, await self._redis.lrange(active, 0, -1)):
            job_id = self.queue.job_key_from_id(name)
            record = await self.queue.job(job_id)
            if record is None:
                await self._redis.lrem(active, 0, name)
            elif self._has(record) or (record.status is Status.ACTIVE and now() - record.touched <= lease):
                continue  # who sweeps is there, however long it had to wait for that
            elif record.status is not Status.ACTIVE and job_id not in self._unmarked:
                unmarked.add(job_id)  # who has taken it may be about to say so
            else:
                lost += record.status is Status.ACTIVE
                await self._give_up(record)
        self._unmarked = unmarked
        await self._tidy()
        return lost

    async def _tidy(self) -> None:
        """Go on through the list of everybody's jobs, which nobody may ever ask for; those of owners expire."""
        name = self._name("all")
        found = await self._redis.zrangebylex(name, self._tidied, f"({self._oldest()}", 0, _MANY)
        ids = [_text(one) for one in found]
        self._tidied = f"({ids[-1]}" if ids else "-"
        if ids:
            await self._listed(name, ids)

    async def _give_up(self, record: Record) -> None:
        if record.completed:
            await self._redis.lrem(self.queue.namespace("active"), 0, record.id)
        elif record.attempts < record.retries:
            await self._again(record, now(), LOST)
        else:
            unwanted = await self._unwanted(record.key)
            await self._end(record, Outcome("canceled") if unwanted else Outcome("failed", error=LOST))

    async def _again(self, record: Record, due: int, error: Told) -> None:
        if await self._unwanted(record.key):
            await self._end(record, Outcome("canceled"))
            return
        record.meta |= {"progress": None, "due": due, "error": dict(error)}
        record.retry_delay = max(0.0, (due - now()) / 1000)
        await self.queue.retry(record, None)

    async def _end(self, record: Record, outcome: Outcome) -> None:
        keep, owner = self._settings.keep, str(record.meta["owner"])
        record.meta |= {"error": outcome.error, "progress": outcome.progress or record.meta.get("progress")}
        if outcome.result is not None:
            await self._redis.set(self._name("result", record.key), outcome.result, ex=keep)
        await self.queue.finish(record, _STATUSES[outcome.state])
        async with self._redis.pipeline(transaction=True) as pipe:
            pipe.expire(self._name("data", record.key), keep)
            pipe.srem(self._name("open", owner), record.key)
            pipe.expire(self._name("of", owner), keep + _LONG)
            await pipe.execute()
        await self._forget(owner)

    async def _forget(self, owner: str) -> None:
        """Forget the oldest of an owner's jobs that have ended, if there are too many."""
        mine, unended = self._name("of", owner), self._name("open", owner)
        waiting = await self._redis.scard(unended)
        many = await self._redis.zcard(mine) - waiting - self._settings.max_kept
        if many <= 0:
            return
        oldest = [_text(one) for one in await self._redis.zrange(mine, 0, many + waiting - 1)]
        running = await self._redis.smismember(unended, oldest)
        ended = [one for one, is_open in zip(oldest, running, strict=True) if not is_open]
        async with self._redis.pipeline(transaction=True) as pipe:
            for one in ended[:many]:
                pipe.delete(self.queue.job_id(one), self._name("data", one), self._name("result", one))
                pipe.zrem(mine, one)
                pipe.zrem(self._name("all"), one)
            await pipe.execute()

    async def _listed(self, name: str, ids: list[str]) -> list[Record]:
        """Return the jobs of a list that are there, and let the list forget those that Redis has forgotten."""
        records = await self.queue.jobs(ids)
        oldest = self._oldest()  # a younger one without a record may be about to have one
        if gone := [one for one, found in zip(ids, records, strict=True) if found is None and one < oldest]:
            await self._redis.zrem(name, *gone)
        return [record for record in records if record is not None]

    def _oldest(self) -> str:
        """Return where the ids begin of jobs that are too young to be forgotten."""
        return f"{now() - self._settings.keep * 1000:011x}"

    async def _refuse_more(self, owner: str) -> None:
        name, settings = self._name("open", owner), self._settings
        own = await self._redis.scard(name)
        if own >= settings.max_open_per_principal:  # some may have ended at a server that was killed then
            ids = [_text(one) for one in await self._redis.smembers(name)]
            records = await self.queue.jobs(ids)
            ended = [one for one, found in zip(ids, records, strict=True) if found is None or found.completed]
            own -= await self._redis.srem(name, *ended) if ended else 0
        refuse_more(settings, await self.queue.count("incomplete"), own)

    async def _bytes(self, *parts: str) -> bytes | None:
        found = await self._redis.get(self._name(*parts))
        return found if isinstance(found, bytes) else None

    async def _unwanted(self, job_id: str) -> bool:
        return bool(await self._redis.exists(self._name("unwanted", job_id)))

    def _alone(self, job_id: str) -> asyncio.Lock:
        """Return what lets one thing after the other be written of a job: SAQ reads a record, and writes it back."""
        return self._writing.setdefault(job_id, asyncio.Lock())

    async def _mine(self, job: Job) -> Record | None:
        """Return the record of a job that this server runs; None if it was given to another one meanwhile."""
        record = await self.queue.job(job.id)
        return record if record is not None and self._has(record) and record.attempts == job.attempt else None

    def _has(self, record: Record) -> bool:
        return record.status is Status.ACTIVE and record.worker_id == self._runner

    def _name(self, *parts: str) -> str:
        return ":".join([self._settings.queue_name, *parts])


def _text(name: object) -> str:
    return name.decode() if isinstance(name, bytes) else str(name)


def _job(record: Record, result: bytes | None = None) -> Job:
    meta: dict[str, Any] = record.meta
    return Job(
        record.key,
        meta["owner"],
        tuple(meta["scopes"]),
        record.function,
        record.retries,
        meta["timeout"],
        meta["created"],
        meta["key"],
        state=_STATES[record.status],
        attempt=record.attempts,
        due=meta["due"],
        started=meta.get("started"),
        ended=record.completed or None,
        progress=meta.get("progress"),
        result=result,
        error=meta.get("error"),
    )
