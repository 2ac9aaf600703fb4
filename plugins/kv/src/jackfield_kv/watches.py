"""Watches: what keys have, and then every change of them, in order."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Final

from jackfield_kv.faults import Away, Behind, OutOfReach, TooMuch
from jackfield_kv.store import MANY, Change, Entry, Store
from jackfield_kv.tail import Tail

_SILENCE: Final = 4
"""A watch is told how far it has come when a part of the history, this one, has passed without a change for it."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is watched.

    Args:
        prefix: The beginning of the keys.
        exact: Whether that is the whole key.
    """

    prefix: str
    exact: bool = False

    def covers(self, key: str) -> bool:
        """Tell whether a key is watched."""
        return key == self.prefix if self.exact else key.startswith(self.prefix)


@dataclass(frozen=True, slots=True)
class Reached:
    """All has been told up to a revision.

    Args:
        revision: It.
    """

    revision: int


class Watches:
    """All watches of one server.

    Args:
        store: What is watched.
        most: How many there may be at once.
        history: How many changes the store remembers.
    """

    def __init__(self, store: Store, most: int, history: int) -> None:
        self._store = store
        self._most = most
        self._patience = max(history // _SILENCE, 1)
        self._count = 0
        self._tail: Tail | None = None

    async def close(self) -> None:
        """Follow the store no more."""
        if self._tail is not None:
            await self._tail.close()

    async def watch(self, wanted: Wanted, after: int | None) -> AsyncGenerator[Change | Reached, None]:
        """Yield what keys have, each as the change that made it, and then every change of them.

        Between the two comes `Reached`: whoever has heard all up to it has exactly what the store had at that revision.
        It comes again where many changes of other keys have gone by.

        Args:
            wanted: Which keys.
            after: The revision after which to begin with changes; None to begin with what there is.

        Raises:
            TooMuch: There are too many watches.
            OutOfReach: Nobody can begin there.
            Behind: Changes are forgotten that were not told yet.
            Away: The store cannot be reached; the message says after which revision to go on.
        """
        async with self._followed() as tail:
            told = position = await self._store.revision() if after is None else after
            snapshot = _Snapshot()
            changes: list[Change] = []
            if after is None:
                async with aclosing(snapshot.read(self._store, wanted)) as entries:
                    async for entry in entries:
                        yield Change(entry.version, entry.key, "set", entry.value, entry.expires)
                goal: int | None = snapshot.revision
            else:
                goal = await self._store.revision()
                changes = await self._store.changes(after)
            while True:
                for change in changes:
                    position = change.revision
                    if wanted.covers(change.key) and not snapshot.has(change):
                        told = position
                        yield change
                if position >= goal if goal is not None else position - told >= self._patience:
                    goal, told = None, position
                    yield Reached(position)
                changes = await _next(tail, position, whole=goal is None or after is not None)

    @asynccontextmanager
    async def _followed(self) -> AsyncIterator[Tail]:
        """Follow the store, as long as somebody does."""
        if self._count >= self._most:
            raise TooMuch(f"There are {self._count:,} watches, and there may be no more (plugins.kv.max_watches).")
        if self._tail is None or self._tail.failed:
            self._tail = Tail(self._store)  # those who follow one that has failed are about to end
        tail = self._tail
        tail.watches += 1
        self._count += 1
        try:
            yield tail
        finally:
            self._count -= 1
            tail.watches -= 1
            if not tail.watches:
                if self._tail is tail:
                    self._tail = None
                await tail.close()


class _Snapshot:
    """What a watch begins with: pages, each read at another time.

    A change that was made while they were read is news to some of them, and known to others.
    """

    def __init__(self) -> None:
        self._ends: list[str] = []
        self._revisions: list[int] = []

    @property
    def revision(self) -> int:
        """The revision of the newest page."""
        return self._revisions[-1]

    async def read(self, store: Store, wanted: Wanted) -> AsyncGenerator[Entry, None]:
        """Yield what keys have, in the order of keys."""
        after: str | None = ""
        while after is not None:
            page = await store.page(wanted.prefix, after, 1 if wanted.exact else MANY, values=True)
            after = None if wanted.exact else page.next
            self._ends.append(after or "")
            self._revisions.append(page.revision)
            for entry in page.entries:
                if wanted.covers(entry.key):
                    yield entry

    def has(self, change: Change) -> bool:
        """Tell whether the page in which the key lies was read after the change."""
        if not self._revisions or change.revision > self.revision:
            return False
        return change.revision <= self._revisions[bisect_left(self._ends, change.key, hi=len(self._ends) - 1)]


async def _next(tail: Tail, position: int, *, whole: bool) -> list[Change]:
    """Return the next changes; `whole` tells whether all up to the position has been told."""
    try:
        return await tail.after(position)
    except Away as fault:
        how = f"with `after` {position}" if whole else "anew"
        raise Away(f"{fault} The watch can go on {how}.") from None
    except OutOfReach:
        raise Behind(
            f"Changes after the revision {position} are forgotten, and were not told yet; watch without `after`."
        ) from None
