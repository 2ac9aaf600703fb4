"""The newest changes of a store, read once for all who watch."""

from __future__ import annotations

import asyncio
from contextvars import Context
from typing import Final

from jackfield_kv.store import Change, Store

RECENT: Final = 1000
"""Changes that are held for all; whoever is further behind reads them from the store."""
RECENT_BYTES: Final = 8 * 1024 * 1024
_PORTION: Final = 100
_PORTION_BYTES: Final = 256 * 1024


class Tail:
    """Follows a store, from its newest change on, until it is closed or the store fails.

    Args:
        store: The store.

    Attributes:
        watches: How many watches follow it.
    """

    def __init__(self, store: Store) -> None:
        self.watches = 0
        self._store = store
        self._recent: list[Change] = []  # all from the one after `_floor` to the one of `_head`
        self._size = 0
        self._floor = self._head = -1
        self._news = asyncio.Event()
        self._failure: Exception | None = None
        # In a context of its own: it is for all who watch, and no part of the call that was the first.
        self._task = asyncio.create_task(self._run(), name="kv-tail", context=Context())

    @property
    def failed(self) -> bool:
        """Whether it has ended, because the store failed."""
        return self._failure is not None

    async def after(self, revision: int) -> list[Change]:
        """Return changes after a revision, in order and without a gap, as soon as there are some.

        Raises:
            OutOfReach: Some of them are forgotten.
            Away: The store cannot be reached.
        """
        while True:
            if self._failure is not None:
                raise self._failure
            if revision < self._floor:
                return await self._store.changes(revision)
            if revision < self._head:
                return self._portion(revision - self._floor)
            await self._news.wait()

    async def close(self) -> None:
        """Follow no more."""
        self._task.cancel()
        await asyncio.wait([self._task])

    async def _run(self) -> None:
        try:
            self._floor = self._head = await self._store.revision()
            while True:
                self._tell()
                while not (changes := await self._store.changes(self._head)):
                    await self._store.wait(self._head)
                self._add(changes)
        except Exception as error:  # noqa: BLE001 - whatever it is, those who watch are told
            self._failure = error
            self._tell()

    def _add(self, changes: list[Change]) -> None:
        self._recent += changes
        self._size += sum(change.size for change in changes)
        self._head = changes[-1].revision
        old = 0
        while self._size > RECENT_BYTES or len(self._recent) - old > RECENT:
            self._size -= self._recent[old].size
            self._floor = self._recent[old].revision
            old += 1
        del self._recent[:old]

    def _portion(self, start: int) -> list[Change]:
        """Return a few: whoever is slow holds no more than these."""
        end, size = start, 0
        while end < len(self._recent) and end - start < _PORTION and size < _PORTION_BYTES:
            size += self._recent[end].size
            end += 1
        return self._recent[start:end]

    def _tell(self) -> None:
        self._news.set()
        self._news = asyncio.Event()
