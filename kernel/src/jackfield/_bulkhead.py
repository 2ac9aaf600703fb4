"""Bulkheads: how many calls of a plugin, and of a function, run at once, and how many wait for their turn."""

from __future__ import annotations

import asyncio
from collections import deque
from fnmatch import fnmatchcase
from typing import Final

from jackfield._errors import CallError, Code
from jackfield._settings import BulkheadSettings

_RETRY_MS: Final = 1000


class Bulkhead:
    """So many places, and so many who wait for one.

    Args:
        what: Whose places they are, for the error that callers get.
        setting: The setting that says how many.
        calls: How many places.
        queue: How many may wait.

    Attributes:
        running: How many places are taken.
    """

    __slots__ = ("_calls", "_queue", "_setting", "_waiting", "_what", "running")

    def __init__(self, what: str, setting: str, calls: int, queue: int) -> None:
        self._what = what
        self._setting = setting
        self._calls = calls
        self._queue = queue
        self._waiting: deque[asyncio.Future[None]] = deque()
        self.running = 0

    @property
    def queued(self) -> int:
        """How many wait for a place."""
        return len(self._waiting)

    def enter(self) -> bool:
        """Take a place if one is free.

        Returns:
            Whether it was; else `wait` takes one.

        Raises:
            CallError: `resource_exhausted`: neither a place is free nor one to wait in.
        """
        if self.running < self._calls:
            self.running += 1
            return True
        if len(self._waiting) >= self._queue:
            raise CallError(
                Code.RESOURCE_EXHAUSTED,
                f"{self._calls} calls of {self._what} run, and {self._queue} wait ({self._setting}).",
                retry_after=_RETRY_MS,
            )
        return False

    async def wait(self) -> None:
        """Take a place, now that none is free, as soon as there is one, in the order of those who ask."""
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(place)
        try:
            await place  # who leaves hands its place over
        except asyncio.CancelledError:
            if not place.cancelled():
                self.leave()
            elif place in self._waiting:
                self._waiting.remove(place)
            raise

    def leave(self) -> None:
        """Give a place back."""
        while self._waiting:
            place = self._waiting.popleft()
            if not place.done():
                place.set_result(None)
                return
        self.running -= 1


class Bulkheads:
    """The bulkheads of a server, made as its functions are looked at.

    Args:
        settings: How many.
    """

    def __init__(self, settings: BulkheadSettings) -> None:
        self._settings = settings
        self._plugins: dict[str, Bulkhead] = {}

    def of_plugin(self, plugin: str) -> Bulkhead:
        """Return what all calls of a plugin share."""
        if plugin not in self._plugins:
            self._plugins[plugin] = Bulkhead(
                f"the plugin {plugin}",
                "bulkhead.plugin_calls, bulkhead.plugin_queue",
                self._settings.plugin_calls,
                self._settings.plugin_queue,
            )
        return self._plugins[plugin]

    def of_function(self, plugin: str, event: str, *, streams: bool) -> tuple[Bulkhead, ...]:
        """Return where a call of a function takes places; streams take one only where a rule says how many."""
        common = () if streams else (self.of_plugin(plugin),)
        for rule in self._settings.rules:
            if any(fnmatchcase(event, pattern) for pattern in rule.functions):
                return Bulkhead(event, "bulkhead.rules", rule.calls, rule.queue), *common
        return common
