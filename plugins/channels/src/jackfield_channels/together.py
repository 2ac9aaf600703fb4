"""Publications that come while others are being stored are stored together, next."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeAlias

from jackfield import CallError, Json, Position
from jackfield_channels.store import Keep, size_of

_TOGETHER: Final = 64
"""Publications that are stored at once at the most."""
_SIZE: Final = 1024 * 1024
"""Bytes of them, above which no further one comes along."""


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be published; see `Store.append`."""

    channel: str
    data: Json
    keep: Keep
    id: str | None


Outcome: TypeAlias = Position | CallError
Write: TypeAlias = Callable[[Sequence[Order]], Coroutine[object, object, Sequence[Outcome]]]
"""Stores, in order, and returns for each where it stands, or why it is refused."""


class _Waiting(NamedTuple):
    """A publication that is to be stored, and who waits for that."""

    order: Order
    result: asyncio.Future[Position]


class Together:
    """Stores publications in the order in which they come, several at once where they come quickly.

    Args:
        write: What stores them.
    """

    def __init__(self, write: Write) -> None:
        self._write = write
        self._waiting: list[_Waiting] = []
        self._writing: asyncio.Task[None] | None = None

    async def append(self, order: Order) -> Position:
        """Return where a publication stands, when it is stored; that it will be, even if nobody waits for it any more.

        Raises:
            CallError: It is refused, or what stores it has failed.
        """
        result: asyncio.Future[Position] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(order, result))
        if self._writing is None:
            self._writing = asyncio.create_task(self._run(), name="channels-write")
        try:
            return await result
        finally:
            del result  # which has the error, which has this frame: what was refused would stay until it is looked for

    async def done(self) -> None:
        """Return when nothing waits to be stored."""
        if self._writing is not None:
            await self._writing

    async def _run(self) -> None:
        while self._waiting:
            together = self._taken()
            outcomes = await self._written([one.order for one in together])
            for one, outcome in zip(together, outcomes, strict=True):
                if one.result.done():  # nobody waits for it any more
                    continue
                if isinstance(outcome, Exception):
                    one.result.set_exception(outcome)
                else:
                    one.result.set_result(outcome)
        self._writing = None

    async def _written(self, orders: Sequence[Order]) -> Sequence[Outcome | Exception]:
        try:
            return await self._write(orders)
        except Exception as error:  # noqa: BLE001 - whatever it is, those who wait are told
            return [error] * len(orders)

    def _taken(self) -> list[_Waiting]:
        size = count = 0
        for one in self._waiting[:_TOGETHER]:
            size += size_of(one.order.data)
            if count and size > _SIZE:
                break
            count += 1
        together, self._waiting = self._waiting[:count], self._waiting[count:]
        return together
