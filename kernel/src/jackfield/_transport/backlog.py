"""What waits for a client that does not read as fast as it is sent: how much it may be, and for how long."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

WATERLINE: Final = 64 * 1024
"""Bytes past which a client counts as behind; the transports of event loops have the same by default."""
_CHECK: Final = 1.0
"""Seconds between two looks at a client that is behind."""


class Backlog:
    """Judges one client.

    Args:
        limit: Bytes that may wait for it.
        patience: Seconds that it may be behind.
        waiting: Returns the bytes that wait for it now.
        too_slow: Called when it is to be given up.
    """

    __slots__ = ("_check", "_limit", "_patience", "_since", "_too_slow", "_waiters", "_waiting")

    def __init__(self, limit: int, patience: float, waiting: Callable[[], int], too_slow: Callable[[], None]) -> None:
        self._limit = limit
        self._patience = patience
        self._waiting = waiting
        self._too_slow = too_slow
        self._since: float | None = None
        self._check: asyncio.TimerHandle | None = None
        self._waiters: list[asyncio.Future[None]] | None = None

    @property
    def behind(self) -> bool:
        """Whether the client does not keep up."""
        return self._since is not None

    @property
    def full(self) -> bool:
        """Whether more waits than may."""
        return self._waiting() > self._limit

    def begin(self) -> None:
        """Take note that the client does not keep up."""
        if self._since is None:
            loop = asyncio.get_running_loop()
            self._since = loop.time()
            self._check = loop.call_later(_CHECK, self._look)

    def end(self) -> None:
        """Take note that it does again."""
        self._since = None
        if self._check is not None:
            self._check.cancel()
            self._check = None
        waiters, self._waiters = self._waiters, None
        for waiter in waiters or ():
            if not waiter.done():
                waiter.set_result(None)

    def close(self) -> None:
        """Take note that the client has gone, and let go of who asked to be called."""
        self.end()
        # Without this a session that is over would be a reference cycle, and stay until the garbage collector looks.
        self._waiting = _none
        self._too_slow = _nothing

    async def ended(self) -> None:
        """Return when the client keeps up, or has gone."""
        while self._since is not None:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            if self._waiters is None:
                self._waiters = []
            self._waiters.append(waiter)
            await waiter

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        if self._since is not None and (self.full or loop.time() - self._since > self._patience):
            self._too_slow()
        elif self._since is not None:
            self._check = loop.call_later(_CHECK, self._look)


def _none() -> int:
    return 0


def _nothing() -> None:
    pass
