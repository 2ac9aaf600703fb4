"""The two directions of a stream, where its function and its caller meet: items wait here, or their senders do."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from time import monotonic
from typing import Final, Protocol

from jackfield._errors import CallError, Code
from jackfield._flow import Pool, Window
from jackfield._frames import MAX_CREDIT, Item
from jackfield._json import MAX_BUFFERS, Json

_BURST: Final = 64
"""Items that a function may send before everybody else has a turn."""


class Line(Protocol):
    """What carries a function's items to who called it."""

    @property
    def congested(self) -> bool:
        """Whether so much waits to be read that `drained` would wait too."""

    def item(self, data: Json) -> None:
        """Send one item."""

    async def drained(self) -> None:
        """Return as soon as enough was read for more to be sent, or nobody is left to read it."""


class Wait:
    """A function that waits for its caller, or does not.

    Attributes:
        since: The time since when it waits, on the monotonic clock; None if it does not.
    """

    __slots__ = ("_future", "since")

    def __init__(self) -> None:
        self.since: float | None = None
        self._future: asyncio.Future[None] | None = None

    async def ended(self) -> None:
        """Return when `end` is called."""
        self.since = monotonic()
        self._future = asyncio.get_running_loop().create_future()
        try:
            await self._future
        finally:
            self.since = self._future = None

    def end(self) -> None:
        """Let the function go on."""
        if self._future is not None and not self._future.done():
            self._future.set_result(None)

    def renew(self) -> None:
        """Count from now: the caller has shown that it is there."""
        if self.since is not None:
            self.since = monotonic()


class Outlet:
    """What a function gives its items to, one after the other.

    Args:
        line: What carries them.
        credit: How many the caller takes before it says more.

    Attributes:
        credit: How many it still takes.
        wait: Whether the function waits for more credit.
    """

    __slots__ = ("_burst", "_held", "_line", "credit", "wait")

    def __init__(self, line: Line, credit: int) -> None:
        self.credit = min(credit, MAX_CREDIT)
        self.wait = Wait()
        self._line = line
        self._burst = 0
        self._held: Json | None = None

    def put(self, data: Json) -> bool:
        """Send an item if that can be done at once; else keep it, and then `flush` has to be awaited.

        Raises:
            CallError: It has more Buffers than clients take.
        """
        if len(data.buffers) > MAX_BUFFERS:
            raise CallError(
                Code.RESOURCE_EXHAUSTED,
                f"An item holds {len(data.buffers)} Buffers; clients take {MAX_BUFFERS} in one message.",
            )
        line = self._line
        if self.credit and self._burst < _BURST and not line.congested:
            self.credit -= 1
            self._burst += 1
            line.item(data)
            return True
        self._held = data
        return False

    async def flush(self) -> None:
        """Send the item that was kept as soon as that can be done."""
        if self._burst >= _BURST:
            await asyncio.sleep(0)
        line = self._line
        while not self.credit or line.congested:
            if self.credit:
                await line.drained()
            else:
                await self.wait.ended()
        self._burst = 1
        self.credit -= 1
        data, self._held = self._held, None
        if data is not None:
            line.item(data)

    def grant(self, items: int) -> None:
        """Take note that the caller takes so many items more."""
        self.credit = min(self.credit + items, MAX_CREDIT)
        self.wait.end()


class Inlet(AsyncIterator[object]):
    """What a function takes its caller's items from.

    Args:
        pool: What its client's streams may have promised together.
        tell: Called with the number of items that the client may send more.
        take: Unpacks and validates one, or raises the `CallError` that says why not.

    Attributes:
        wait: Whether the function waits for an item.
        window: What the client may send.
    """

    __slots__ = ("_number", "_over", "_queue", "_take", "wait", "window")

    def __init__(self, pool: Pool, tell: Callable[[int], None], take: Callable[[Item, bool], object]) -> None:
        self.wait = Wait()
        self.window = Window(pool, tell)
        self._queue: deque[tuple[Item, bool]] = deque()
        self._take = take
        self._number = 0
        self._over = False

    def arrive(self, item: Item, buffers: bool) -> None:
        """Keep an item until the function takes it.

        Args:
            item: The item.
            buffers: Whether its message held Buffers.

        Raises:
            CallError: The client may not send it.
        """
        if self._over:
            raise CallError(Code.INVALID_ARGUMENT, "An item after the end.")
        if not self.window.use():
            raise CallError(Code.RESOURCE_EXHAUSTED, "An item for which there was no credit: wait for more.")
        self._queue.append((item, buffers))
        self.wait.end()

    def finish(self) -> None:
        """Take note that the client sends no more.

        Raises:
            CallError: It has said so before.
        """
        if self._over:
            raise CallError(Code.INVALID_ARGUMENT, "The stream has been ended before.")
        self._over = True
        self.window.finish()
        self.wait.end()

    def close(self) -> None:
        """Let go of everything; the stream is over."""
        self._over = True
        self._queue.clear()
        self.window.close()
        self.wait.end()

    async def __anext__(self) -> object:
        """Return the next item as the function's type.

        Raises:
            CallError: `invalid_argument`, and the like: it is not what the function takes.
        """
        while not self._queue:
            if self._over:
                raise StopAsyncIteration
            if self.wait.since is not None:
                raise RuntimeError("two tasks read the items of one stream; let one of them hand them on")
            await self.wait.ended()
        item, buffers = self._queue.popleft()
        self._number += 1
        self.window.consumed()
        try:
            return self._take(item, buffers)
        except CallError as error:
            raise of_item(self._number, error) from None


def of_item(number: int, error: CallError) -> CallError:
    """Return the error that says which item of a stream, counted from 1, is not what the function takes."""
    return CallError(error.code, f"Item {number}: {error.message}", details=error.details)
