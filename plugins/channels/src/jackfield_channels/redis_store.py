"""A store in Redis, which several servers have in common."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Final, TypeAlias

from redis.exceptions import ResponseError

from jackfield import CallError, Code, Json, Position
from jackfield_channels.redis_scripts import APPEND, LOOK, PROVE, READ
from jackfield_channels.store import (
    MANY,
    PORTION,
    Bounds,
    Keep,
    Page,
    Portion,
    Publication,
    State,
    Told,
    join,
    new_epoch,
    size_of,
    split,
)
from jackfield_channels.together import Order, Outcome, Together
from jackfield_redis import Away, Link, Part, Reply, Script, Seal

log: Final = logging.getLogger(__name__)

NEWS: Final = "news"
"""The topic of publications."""
_UNUSABLE: Final = "The channel cannot be read or written now."
_UNKNOWN: Final = "It is not known whether that was done: the channel cannot be used now. Try again with the same id."
_RETRY: Final = 1000
"""Milliseconds after which Redis may be there again."""

_REMEMBER: Final = 60.0
"""Seconds that a channel is known at the least: much longer than from one `sweep` to the next, which keeps it known."""
_READS: Final = 2
"""Histories that are read at once: more would keep Redis from everything else, and be too late all together."""

Followed: TypeAlias = Callable[[], Mapping[str, Position | None]]
"""Tells which channels have subscribers here, and how far these channels are, as far as is known."""
Moved: TypeAlias = Callable[[str, Position], None]
"""Called with a channel, and how far it is."""


class RedisStore:
    """A store in Redis.

    Everything that was published comes by one topic, which each server hears, in the order in which Redis has stored
    it. How far a channel is comes the same way, so it is never ahead of what was told.

    Args:
        link: The way to Redis. Its listener passes on here what it hears of.
        seal: What tells our publications from others.
        bounds: How much is kept; those of channels and of bytes are Redis's own matter.
        followed: Which channels have subscribers.
        moved: Called from time to time, whenever Redis was away, and before `state` returns, with those that have.
    """

    def __init__(self, link: Link, seal: Seal, bounds: Bounds, followed: Followed, moved: Moved) -> None:
        self._link = link
        self._seal = seal
        self._bounds = bounds
        self._followed = followed
        self._moved = moved
        self._told: Told
        self._together = Together(self._write)
        self._reading = asyncio.Semaphore(_READS)
        self._numbers = itertools.count(1)
        self._refused: dict[Script, str] = {}
        self._looking: dict[int, asyncio.Future[State]] = {}

    async def open(self, told: Told) -> None:
        """Connect; if Redis is not there, go on trying."""
        self._told = told
        await self._link.open()

    async def close(self) -> None:
        """Store what is to be stored, and close the connections."""
        await self._together.done()
        with suppress(Away, ResponseError):
            await self._link.ask("PING")  # what was told before is there then
        await self._link.close()

    def trouble(self) -> str | None:
        """Tell why Redis cannot be used, if that is so."""
        return self._link.trouble or next(iter(self._refused.values()), None)

    async def state(self, channel: str) -> State:
        """Return how far a channel is."""
        number = next(self._numbers)
        found: asyncio.Future[State] = asyncio.get_running_loop().create_future()
        found.add_done_callback(_seen)
        self._looking[number] = found
        try:
            await self.run(LOOK, *self._look({channel: None}, number))
            return await found
        except Away:
            raise _unavailable() from None
        finally:
            del self._looking[number]

    async def append(self, channel: str, data: Json, keep: Keep, id: str | None) -> Position:
        """Publish, and return where that stands."""
        return await self._together.append(Order(channel, data, keep, id))

    async def read(self, channel: str, after: int, limit: int) -> Page:
        """Return publications after an offset."""
        return await self._read(channel, after + 1, limit, back=False)

    async def read_back(self, channel: str, before: int, limit: int) -> Page:
        """Return publications before an offset, the newest first."""
        return await self._read(channel, before - 1, limit, back=True)

    async def sweep(self) -> None:
        """Look how far the channels are that have subscribers: should something not have come, it is found out now.

        Where Redis has refused something, this finds out whether it takes things again.
        """
        for keys, arguments in self._looks():
            await self.run(LOOK, keys, arguments)
        if self._refused:
            await self.run(PROVE, [self._link.name("proof")], [])
            self._refused.clear()

    async def began(self) -> None:
        """Look how far the channels are that have subscribers, after Redis was away."""
        for reply in [
            self._link.tell("EVAL", LOOK.text, len(keys), *keys, *arguments) for keys, arguments in self._looks()
        ]:
            await reply

    def lost(self) -> None:
        """Let nobody wait for what will not come."""
        for found in self._looking.values():
            if not found.done():
                found.set_exception(Away(self._link.trouble or "", sent=False))

    def heard(self, message: bytes) -> None:
        """Take publications."""
        parts = split(message)
        for channel, epoch, offset, body in zip(*(iter(parts),) * 4, strict=False):
            publication = self._publication(channel.decode(), epoch.decode(), int(offset), body)
            if publication is not None:
                try:
                    self._told(publication)
                except Exception:  # the next one is to be told
                    log.exception("subscribers could not be told of a publication")

    def answered(self, message: bytes) -> None:
        """Take how far channels are."""
        number, *parts = split(message)
        found = self._looking.get(int(number))
        for channel, epoch, top, floor in zip(*(iter(parts),) * 4, strict=False):
            state = State(epoch.decode(), int(top), int(floor))
            self._moved(channel.decode(), Position(state.top, state.epoch))
            if found is not None and not found.done():
                found.set_result(state)

    async def run(self, script: Script, keys: Sequence[str], arguments: Sequence[Part]) -> Reply:
        """Return what a script returns.

        Raises:
            CallError: `unavailable`.
        """
        try:
            reply = await self._link.run(script, keys, arguments)
        except Away as away:
            raise _unavailable(_UNKNOWN if away.sent and script is APPEND else _UNUSABLE) from None
        except ResponseError as error:
            if not self._refused:
                log.warning("Redis does not do what it is to do with channels: %s", error)
            self._refused[script] = str(error)
            raise _unavailable() from None
        self._refused.pop(script, None)  # that of another one stands: a full Redis still reads
        return reply

    def _looks(self) -> Iterable[tuple[list[str], list[Part]]]:
        followed = list(self._followed().items())
        return [self._look(dict(followed[at : at + MANY]), 0) for at in range(0, len(followed), MANY)]

    def _look(self, channels: Mapping[str, Position | None], number: int) -> tuple[list[str], list[Part]]:
        """Return the keys and arguments of `LOOK`."""
        keys = [self._link.own]
        arguments: list[Part] = [number, self._remember, new_epoch()]
        for channel, seen in channels.items():
            keys += self._keys(channel)
            arguments += [channel, *(("", 0) if seen is None else (seen.epoch, seen.offset))]
        return keys, arguments

    async def _write(self, orders: Sequence[Order]) -> Sequence[Outcome]:
        keys = [self._link.name(NEWS)]
        arguments: list[Part] = [_milliseconds(self._bounds.dedup), new_epoch()]
        for order in orders:
            keep, ttl = order.keep, _milliseconds(order.keep.ttl)
            body = self._seal.close(join([order.data.text, *order.data.buffers]), order.channel.encode())
            named = order.id is not None
            keys += [*self._keys(order.channel), self._link.name("id", f"{order.channel} {order.id}")]
            arguments += [order.channel, body, keep.size, ttl, self._remember + (ttl if keep.size else 0), int(named)]
        reply = await self.run(APPEND, keys, arguments)
        if sum(size_of(order.data) for order in orders) > PORTION:
            # Redis cuts off who is too far behind, so this is to be heard before there is more of it.
            with suppress(CallError):
                await self.state(orders[0].channel)
        return [Position(int(offset), epoch.decode()) for epoch, offset in zip(reply[::2], reply[1::2], strict=True)]

    async def _read(self, channel: str, first: int, limit: int, *, back: bool) -> Page:
        arguments: list[Part] = [self._remember, new_epoch(), first, min(limit, MANY), PORTION, int(back)]
        async with self._reading:
            epoch, top, floor, *rest = await self.run(READ, self._keys(channel), arguments)
        state = State(epoch.decode(), int(top), int(floor))
        portion = Portion(limit)
        for offset, body in zip(rest[::2], rest[1::2], strict=True):
            publication = self._publication(channel, state.epoch, int(offset), body)
            if publication is None or not portion.add(publication):
                break
        return Page(state, portion.publications)

    def _publication(self, channel: str, epoch: str, offset: int, body: bytes) -> Publication | None:
        content = self._seal.open(body, channel.encode())
        if content is None:
            return None
        try:
            text, *buffers = split(content)
        except ValueError:
            self._seal.refused += 1
            return None
        return Publication(channel, Position(offset, epoch), Json(text, tuple(buffers)))

    def _keys(self, channel: str) -> list[str]:
        return [self._link.name("meta", channel), self._link.name("log", channel)]

    @property
    def _remember(self) -> int:
        return _milliseconds(max(self._bounds.remember, _REMEMBER))


def _milliseconds(seconds: float) -> int:
    """Return what Redis takes, which is no 0."""
    return max(int(seconds * 1000), 1)


def _seen(found: asyncio.Future[State]) -> None:
    """Look at the outcome, of which asyncio would complain where the question had not even been asked."""
    if not found.cancelled():
        found.exception()


def _unavailable(message: str = _UNUSABLE) -> CallError:
    return CallError(Code.UNAVAILABLE, message, retry_after=_RETRY)
