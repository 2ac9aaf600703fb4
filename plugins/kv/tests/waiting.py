"""Wait for what a store does with time."""

from __future__ import annotations

import asyncio

from jackfield_kv.store import Store
from tests.support.waiting import LIMIT


async def gone(store: Store, key: str) -> None:
    """Wait until the time of a value is over."""
    async with asyncio.timeout(LIMIT):
        while await store.get(key) is not None:  # noqa: ASYNC110 - nobody but the store says so
            await asyncio.sleep(0.002)
