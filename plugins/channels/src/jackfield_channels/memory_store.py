"""A store in the memory of this process."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict, deque
from typing import Final

from jackfield import Json, Position
from jackfield_channels.store import Bounds, Keep, Page, Portion, Publication, State, Told, Used, new_epoch, size_of

_MAX_IDS: Final = 50_000
"""Ids of publications that are known at the most."""


class _Log:
    """One channel."""

    __slots__ = ("epoch", "kept", "size", "top", "used")

    def __init__(self, now: float) -> None:
        self.epoch = new_epoch()
        self.top = 0
        self.kept: deque[tuple[float, Publication]] = deque()
        self.size = 0
        self.used = now

    @property
    def state(self) -> State:
        """How far it is."""
        return State(self.epoch, self.top, self.top - len(self.kept))

    def drop(self) -> int:
        """Let go of the oldest publication, and return its size."""
        size = size_of(self.kept.popleft()[1].data)
        self.size -= size
        return size


class MemoryStore:
    """A store that forgets everything with its process.

    Args:
        bounds: How much it keeps.
        used: Which channels must not be forgotten.
    """

    def __init__(self, bounds: Bounds, used: Used) -> None:
        self._bounds = bounds
        self._used = used
        self._logs: OrderedDict[str, _Log] = OrderedDict()  # the one that rested longest first
        self._full: OrderedDict[str, _Log] = OrderedDict()  # those with publications, likewise
        self._ids: OrderedDict[tuple[str, str], tuple[float, Position]] = OrderedDict()
        self._size = 0
        self._told: Told

    async def open(self, told: Told) -> None:
        """Make it ready."""
        self._told = told

    async def close(self) -> None:
        """Do nothing: it ends with whoever holds it."""

    def trouble(self) -> None:
        """Return None: memory is always there."""

    async def state(self, channel: str) -> State:
        """Return how far a channel is."""
        return self._log(channel).state

    async def append(self, channel: str, data: Json, keep: Keep, id: str | None) -> Position:
        """Publish, and return where that stands."""
        now = time.monotonic()
        if id is not None and (found := self._ids.get((channel, id))) is not None and found[0] > now:
            return found[1]
        log = self._log(channel)
        log.top += 1
        publication = Publication(channel, Position(log.top, log.epoch), data)
        if id is not None:
            self._ids[channel, id] = now + self._bounds.dedup, publication.position
            self._ids.move_to_end((channel, id))  # it may be there, from before its time was over
            if len(self._ids) > _MAX_IDS:
                self._ids.popitem(last=False)
        if keep.size:
            log.kept.append((now + keep.ttl, publication))
            log.size += size_of(data)
            self._size += size_of(data)
            self._full[channel] = log
            self._full.move_to_end(channel)
        while len(log.kept) > keep.size:
            self._size -= log.drop()
        if not log.kept:
            self._full.pop(channel, None)
        self._make_room(channel)
        self._told(publication)
        await asyncio.sleep(0)  # who publishes without a pause would leave the event loop no time to write
        return publication.position

    async def read(self, channel: str, after: int, limit: int) -> Page:
        """Return publications after an offset."""
        log = self._log(channel)
        state, portion = log.state, Portion(limit)
        for index in range(max(after - state.floor, 0), len(log.kept)):
            if not portion.add(log.kept[index][1]):
                break
        return Page(state, portion.publications)

    async def read_back(self, channel: str, before: int, limit: int) -> Page:
        """Return publications before an offset, the newest first."""
        log = self._log(channel)
        state, portion = log.state, Portion(limit)
        for index in range(min(before - 1 - state.floor, len(log.kept)) - 1, -1, -1):
            if not portion.add(log.kept[index][1]):
                break
        return Page(state, portion.publications)

    async def sweep(self) -> None:
        """Let go of what is too old."""
        now = time.monotonic()
        for channel, log in list(self._full.items()):
            self._expire(channel, log, now)
        while self._ids and next(iter(self._ids.values()))[0] <= now:
            self._ids.popitem(last=False)
        for channel, log in list(self._logs.items()):
            if log.used > now - self._bounds.remember:
                break
            if log.kept or self._used(channel):
                self._touch(channel, log, now)
            else:
                del self._logs[channel]

    def _log(self, channel: str) -> _Log:
        """Return a channel, which is known from now on, without what is too old in it."""
        now = time.monotonic()
        log = self._logs.get(channel)
        if log is None:
            if len(self._logs) >= self._bounds.channels:
                self._forget_one()
            log = self._logs[channel] = _Log(now)
        else:
            self._touch(channel, log, now)
            self._expire(channel, log, now)
        return log

    def _touch(self, channel: str, log: _Log, now: float) -> None:
        log.used = now
        self._logs.move_to_end(channel)

    def _expire(self, channel: str, log: _Log, now: float) -> None:
        while log.kept and log.kept[0][0] <= now:
            self._size -= log.drop()
        if not log.kept:
            self._full.pop(channel, None)

    def _forget_one(self) -> None:
        """Forget the channel that rested longest, of those that have neither history nor subscribers.

        Raises:
            CallError: There is none.
        """
        for channel, log in self._logs.items():
            if not log.kept and not self._used(channel):
                del self._logs[channel]
                return
        raise self._bounds.refuse_channel()

    def _make_room(self, newest: str) -> None:
        """Keep within the quota: the channel that rested longest loses its history first."""
        while self._size > self._bounds.quota and self._full:
            channel, log = next(iter(self._full.items()))
            while log.kept and (channel != newest or self._size > self._bounds.quota):
                self._size -= log.drop()
            if not log.kept:
                self._full.pop(channel)
