"""The key-value store of one server: what a caller may ask of it, within the limits of the settings."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import AsyncGenerator
from typing import Any, Final

from jackfield_kv.faults import Away, TooMuch
from jackfield_kv.keys import check_key, check_prefix
from jackfield_kv.settings import KvSettings
from jackfield_kv.sqlite_store import SqliteStore
from jackfield_kv.store import MANY, Bounds, Change, Entry, Order, Store, not_found
from jackfield_kv.values import pack
from jackfield_kv.watches import Reached, Wanted, Watches

log: Final = logging.getLogger(__name__)

_SWEEP: Final = 0.5
"""Seconds between two looks for values whose time is over."""


class Kv:
    """A store with its limits, its watches and its broom, from `open` to `close`.

    Args:
        settings: The plugin's settings.
        store: What they say; open.
    """

    def __init__(self, settings: KvSettings, store: Store) -> None:
        self._settings = settings
        self._store = store
        self._watches = Watches(store, settings.max_watches, settings.history)
        self._sweeping = asyncio.create_task(self._sweep(), name="kv-sweep")

    @classmethod
    async def open(cls, settings: KvSettings) -> Kv:
        """Open the store that the settings name.

        Raises:
            OSError, sqlite3.Error: The file cannot be used.
        """
        store = make_store(settings)
        await store.open()
        return cls(settings, store)

    async def close(self) -> None:
        """End what runs, and close the store."""
        self._sweeping.cancel()
        await asyncio.wait([self._sweeping])
        await self._watches.close()
        await self._store.close()

    def trouble(self) -> str | None:
        """Tell why the store cannot be reached, if that is so."""
        return self._store.trouble()

    async def get(self, key: str) -> Entry:
        """Return what a key has.

        Raises:
            BadKey, NotFound, Away: See there.
        """
        check_key(key, self._settings.max_key)
        entry = await self._store.get(key)
        if entry is None:
            raise not_found(key)
        return entry

    async def set(
        self,
        key: str,
        value: Any,
        ttl: float | None = None,
        *,
        if_version: int | None = None,
        if_absent: bool = False,
    ) -> int:
        """Set a value, and return its version; see `Order`, but `ttl` is seconds here.

        Raises:
            BadKey, BadValue, TooMuch, Exists, Conflict, Away: See there.
        """
        check_key(key, self._settings.max_key)
        packed = pack(value)
        if len(packed) > self._settings.max_value:
            raise TooMuch(
                f"The value has {len(packed):,} bytes, and may have {self._settings.max_value:,}"
                " (plugins.kv.max_value)."
            )
        milliseconds = None if ttl is None else math.ceil(ttl * 1000)
        return await self._store.set(Order(key, packed, milliseconds, if_version, if_absent))

    async def delete(self, key: str, if_version: int | None = None) -> int:
        """Delete a value, and return the revision of that.

        Raises:
            BadKey, NotFound, Conflict, Away: See there.
        """
        check_key(key, self._settings.max_key)
        return await self._store.delete(key, if_version)

    async def list(self, prefix: str, after: str, limit: int | None, *, values: bool) -> AsyncGenerator[Entry, None]:
        """Yield what the keys have that begin with a prefix and come after a key, in the order of code points.

        Raises:
            BadKey, Away: See there.
        """
        check_prefix(prefix, self._settings.max_key)
        check_prefix(after, self._settings.max_key)
        following: str | None = after
        left = math.inf if limit is None else limit
        while following is not None and left > 0:
            page = await self._store.page(prefix, following, int(min(left, MANY)), values=values)
            following = page.next
            left -= len(page.entries)
            for entry in page.entries:
                yield entry

    def watch(self, wanted: Wanted, after: int | None) -> AsyncGenerator[Change | Reached, None]:
        """Yield what keys have, and then every change of them; see `Watches.watch`.

        Raises:
            BadKey, TooMuch, OutOfReach, Behind, Away: See there.
        """
        (check_key if wanted.exact else check_prefix)(wanted.prefix, self._settings.max_key)
        return self._watches.watch(wanted, after)

    async def _sweep(self) -> None:
        while True:
            try:
                while await self._store.sweep():
                    pass
            except Away:
                pass  # the log has it
            except Exception:
                log.exception("values whose time is over could not be removed")
            await asyncio.sleep(_SWEEP)


def make_store(settings: KvSettings) -> Store:
    """Return the store that the settings name."""
    bounds = Bounds(settings.max_keys, settings.quota, settings.history)
    if settings.redis_url is None:
        return SqliteStore(settings.path, bounds)
    from jackfield_kv.redis_store import RedisStore  # noqa: PLC0415 - who has no Redis need not have the package

    return RedisStore(settings.redis_url.get_secret_value(), settings.redis_prefix, bounds)
