"""Wait for what is going to happen, rather than for a time in which it may have."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

LIMIT = 20.0
_AGAIN = 0.02


async def until(look: Callable[[], T], limit: float = LIMIT) -> T:
    """Return the first thing that `look` returns that is true.

    Args:
        look: Asked again and again.
        limit: Seconds after which the test has failed.
    """
    end = time.monotonic() + limit
    while not (found := look()):
        assert time.monotonic() < end, f"still {found!r} after {limit:g} s"
        await asyncio.sleep(_AGAIN)
    return found


async def eventually(look: Callable[[], Awaitable[T]], limit: float = LIMIT) -> T:
    """Return the first thing that a `look` to be awaited returns that is true.

    Args:
        look: Asked again and again.
        limit: Seconds after which the test has failed, also in the middle of a look.
    """
    async with asyncio.timeout(limit):
        while not (found := await look()):  # noqa: ASYNC110 - there is nothing that would set it
            await asyncio.sleep(_AGAIN)
    return found
