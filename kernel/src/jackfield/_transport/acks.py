"""Requests to one client, and the acknowledgements that it owes for them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from jackfield._errors import CallError, Code
from jackfield._json import Value
from jackfield._transport.packet import Ack, PacketError

_STRAY_ACKS: Final = 100
"""Answers that nobody waits for, and that a client may give within a minute: to requests that were given up."""
_MINUTE: Final = 60.0


class Acks:
    """What waits for one client's answers.

    Args:
        limit: How many may wait at a time.
        last: The number of the last request so far.
    """

    __slots__ = ("_limit", "_minute", "_stray", "_waiting", "last")

    def __init__(self, limit: int, last: int = 0) -> None:
        self.last = last
        self._limit = limit
        self._waiting: dict[int, asyncio.Future[Value]] = {}
        self._stray = 0
        self._minute = 0.0

    def next_number(self) -> int:
        """Return the number under which the client is to answer the next request."""
        self.last += 1
        return self.last

    async def ask(self, event: str, send: Callable[[int], None], timeout: float) -> Value:
        """Return what the client answers.

        Args:
            event: The event that it is asked with.
            send: Sends it under a number.
            timeout: Seconds to wait.

        Raises:
            CallError: `resource_exhausted` if too many wait, `deadline_exceeded` if it does not answer,
                `unavailable` if it goes.
        """
        if len(self._waiting) >= self._limit:
            raise CallError(
                Code.RESOURCE_EXHAUSTED,
                f"{self._limit} requests wait for this client's answer (limits.requests).",
            )
        number = self.next_number()
        future: asyncio.Future[Value] = asyncio.get_running_loop().create_future()
        self._waiting[number] = future
        try:
            send(number)
            async with asyncio.timeout(timeout):
                return await future
        except TimeoutError:
            raise CallError(
                Code.DEADLINE_EXCEEDED, f"The client did not answer {event!r} within {timeout:g} s."
            ) from None
        finally:
            del self._waiting[number]

    def answered(self, ack: Ack) -> bool:
        """Take an answer; tell whether somebody waits for it."""
        future = self._waiting.get(ack.id)
        if future is None or future.done():
            return False
        arguments = ack.arguments
        future.set_result(None if not arguments else arguments[0] if len(arguments) == 1 else list(arguments))
        return True

    def count_stray(self) -> None:
        """Take note of an answer that nobody waits for.

        Raises:
            PacketError: There are too many.
        """
        now = asyncio.get_running_loop().time()
        if now - self._minute >= _MINUTE:
            self._minute = now
            self._stray = 0
        self._stray += 1
        if self._stray > _STRAY_ACKS:
            raise PacketError("acknowledgements that nobody asked for")

    def give_up(self) -> None:
        """Take note that the client has gone."""
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(gone())


def gone() -> CallError:
    """Return what is told of a client that is no more."""
    return CallError(Code.UNAVAILABLE, "The client has gone.")
