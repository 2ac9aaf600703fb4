"""Calls that are done once: the first one runs, and the others get its reply."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from fnmatch import fnmatchcase
from typing import Any, Final, TypeVar

from jackfield import Call, CallError, Code, Json, Proceed
from jackfield_idempotency import faults
from jackfield_idempotency.faults import Away
from jackfield_idempotency.keys import Ticket
from jackfield_idempotency.records import Outcome, Record, error_of, failed, result_of, succeeded
from jackfield_idempotency.settings import IdempotencySettings
from jackfield_idempotency.sqlite_store import SqliteStore
from jackfield_idempotency.store import Store

T = TypeVar("T")

_NOT_DONE: Final = frozenset({Code.UNAVAILABLE, Code.RESOURCE_EXHAUSTED})
"""Codes that say that nothing was done, and that the same call may be made again."""
_FIRST: Final = 0.02
_LAST: Final = 0.2
"""Seconds between two looks whether the call that was first has ended."""
_BEATS: Final = 3
"""How often in a lease it is said that a call runs."""
_MOST_OWED: Final = 1000
"""Calls, that were not begun because the store was away, of which it is to forget what it may have heard."""


class Once:
    """A store, with the calls that run here, from `open` to `close`.

    Args:
        settings: The plugin's settings.
        store: What they say; not open yet.
    """

    def __init__(self, settings: IdempotencySettings, store: Store) -> None:
        self._settings = settings
        self._store = store
        self._running: dict[str, Ticket] = {}
        self._owed: dict[str, tuple[Ticket, Outcome | None]] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._beating: asyncio.Task[None] | None = None

    @classmethod
    async def open(cls, settings: IdempotencySettings) -> Once:
        """Open the store that the settings name.

        Raises:
            OSError, sqlite3.Error: The file cannot be used.
        """
        once = cls(settings, make_store(settings))
        await once._store.open()
        once._beating = asyncio.create_task(once._beat(), name="idempotency")
        return once

    async def close(self) -> None:
        """Bring to an end what is being written, and close the store."""
        if self._beating is not None:
            self._beating.cancel()
            await asyncio.wait([self._beating])
        if self._tasks:
            await asyncio.wait(self._tasks)
        await self._pay()
        await self._store.close()

    def concerns(self, event: str) -> bool:
        """Tell whether a function leaves its keys to this."""
        return not any(fnmatchcase(event, pattern) for pattern in self._settings.own)

    def trouble(self) -> str | None:
        """Tell why the store cannot be used, if that is so."""
        return self._store.trouble()

    async def run(self, ticket: Ticket, call: Call, proceed: Proceed, encode: Callable[[object], Json]) -> Json:
        """Run a call, or wait for the one with the same key that runs, and return the result of that.

        Raises:
            CallError: The first call's error; or there can be no reply, for the reason that its message tells.
        """
        pause = _FIRST
        while (found := await self._begin(ticket, call)) is not None:
            reply = self._reply(ticket, found)
            if reply is not None:
                return reply
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LAST)
        self._running[ticket.holder] = ticket
        outcome: Outcome | None = Outcome("unknown")  # which it stays where the call is cut short
        try:
            result = encode(await proceed())
            outcome = succeeded(result, self._settings.max_result)
            return result
        except CallError as error:
            outcome = None if error.code in _NOT_DONE else failed(error)
            raise
        finally:
            await asyncio.shield(self._spawn(self._settle(ticket, outcome)))

    def _reply(self, ticket: Ticket, found: Record) -> Json | None:
        """Return what the call gets that was first, or None while it runs."""
        if found.digest != ticket.digest:
            raise faults.other_data()
        match found.outcome.state:
            case "succeeded":
                return result_of(found.outcome)
            case "failed":
                raise error_of(found.outcome)
            case "large":
                raise faults.not_kept(self._settings.max_result)
            case "running" if found.held:
                return None
        raise faults.unknown()

    async def _begin(self, ticket: Ticket, call: Call) -> Record | None:
        """Return the call that was first, or None: it is this one, which runs on if its client goes away."""
        call.detached = True
        begun = self._spawn(self._store.begin(ticket))
        try:
            found = await asyncio.shield(begun)
        except asyncio.CancelledError:
            self._spawn(self._undo(begun, ticket))
            raise
        except Away:
            if len(self._owed) < _MOST_OWED:  # it may have been written down all the same
                self._owed[ticket.holder] = ticket, None
            raise
        call.detached = found is None
        return found

    async def _undo(self, begun: asyncio.Task[Record | None], ticket: Ticket) -> None:
        """Forget a call that was cancelled before it ran."""
        with contextlib.suppress(CallError):
            if await begun is None:
                await self._settle(ticket, None)

    async def _settle(self, ticket: Ticket, outcome: Outcome | None) -> None:
        """Take note of how a call has ended; None where it was not done.

        Where the store is away that is done later. The caller is told all the same: it is true, and whoever asks again
        is not let in meanwhile.
        """
        self._running.pop(ticket.holder, None)
        self._owed[ticket.holder] = ticket, outcome
        await self._pay(ticket.holder)

    async def _pay(self, *holders: str) -> None:
        """Write what is to be written, of some calls or of all."""
        for holder in holders or tuple(self._owed):
            if holder not in self._owed:  # it was written meanwhile
                continue
            ticket, outcome = self._owed[holder]
            try:
                await (self._store.free(ticket) if outcome is None else self._store.end(ticket, outcome))
            except Away:
                return
            self._owed.pop(holder, None)

    async def _beat(self) -> None:
        """Say again and again which calls run."""
        while True:
            await asyncio.sleep(self._settings.lease / _BEATS)
            await self._pay()
            held = [*self._running.values(), *(ticket for ticket, _ in self._owed.values())]
            with contextlib.suppress(Away):
                await self._store.renew(held)

    def _spawn(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Begin what goes on to its end whether or not somebody waits for it."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # it may be that nobody waits for it any more


def make_store(settings: IdempotencySettings) -> Store:
    """Return the store that the settings name, not open yet."""
    if settings.redis_url is None:
        return SqliteStore(settings)
    from jackfield_idempotency.redis_store import RedisStore  # noqa: PLC0415 - who has a file need not have the package

    return RedisStore(settings.redis_url.get_secret_value(), settings)
