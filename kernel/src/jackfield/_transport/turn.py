"""A turn of the event loop: how long clients may keep it, and what is written for them when it is over."""

from __future__ import annotations

import asyncio
from collections import deque
from contextvars import copy_context
from itertools import islice
from time import monotonic
from typing import Final, Protocol

SLICE: Final = 0.01
"""Seconds for which clients are read before all else has its turn: together, or each at its own `Pace`."""


class Carried(Protocol):
    """A websocket that is read and written in turns."""

    def flush(self) -> None:
        """Write what is to be sent."""

    def read_on(self, until: float) -> bool:
        """Read what was kept, until that time at the latest; tell whether nothing is left."""

    def fail(self, error: Exception) -> None:
        """Take note that reading or writing has failed by no fault of the client."""


class Turn:
    """The turn that is going on.

    A client may send thousands of calls at once, and a function that does not suspend is run as soon as its call is
    read. So what comes when a turn has lasted long enough is kept, its connection unread meanwhile, and clients take
    turns. What they are sent is written once in each.

    Attributes:
        until: Until when messages are read at once, on the monotonic clock. What comes later asks `over`.
    """

    __slots__ = ("_context", "_ends", "_late", "_waiting", "_wires", "until")

    def __init__(self) -> None:
        self.until = 0.0
        self._ends = False
        self._wires: list[Carried] = []
        self._waiting: deque[Carried] = deque()
        self._late: dict[object, float] = {}
        # Whoever ends a turn may be a call that sends something: others are not to be read in its context.
        self._context = copy_context()

    @property
    def behind(self) -> float:
        """Seconds for which two clients have waited to be read; one alone waits for nobody but itself."""
        since = list(islice(self._late.values(), 2))
        return monotonic() - since[1] if len(since) > 1 else 0.0

    def late(self, who: object) -> None:
        """Take note that a client's messages wait."""
        self._late.setdefault(who, monotonic())

    def caught_up(self, who: object) -> None:
        """Take note that they do no more."""
        self._late.pop(who, None)

    def add(self, wire: Carried) -> None:
        """Flush a websocket when this turn is over."""
        self._end_soon()
        self._wires.append(wire)

    def over(self, now: float) -> bool:
        """Tell whether a message that came past `until` has to wait; the first one of a turn has not."""
        if self._waiting or self.until:
            return True
        self.until = now + SLICE
        self._end_soon()
        return False

    def wait(self, wire: Carried) -> None:
        """Let a websocket that has kept something read on in another turn."""
        self.late(wire)
        self._waiting.append(wire)
        self._end_soon()

    def _end_soon(self) -> None:
        if not self._ends:
            self._ends = True
            asyncio.get_running_loop().call_soon(self._end, context=self._context)

    def _end(self) -> None:
        self._ends = False
        self.until = 0.0
        if self._waiting:
            self._read_on()
        wires, self._wires = self._wires, []
        for wire in wires:
            try:
                wire.flush()
            except Exception as error:  # noqa: BLE001 - one connection's fault is not the others'
                wire.fail(error)

    def _read_on(self) -> None:
        until = monotonic() + SLICE
        while self._waiting and monotonic() < until:
            wire = self._waiting.popleft()
            try:
                done = wire.read_on(until)
            except Exception as error:  # noqa: BLE001 - one connection's fault is not the others'
                wire.fail(error)
                done = True
            if done:
                self.caught_up(wire)
            else:
                self._waiting.append(wire)
        if self._waiting:
            self._end_soon()


class Pace:
    """Lets others have their turn, where a client's messages are at hand already and taking them never waits.

    Args:
        turn: What is told when more has come than is taken.
        seconds: For which messages are taken before others have their turn.
    """

    __slots__ = ("_look", "_seconds", "_turn", "_until")

    def __init__(self, turn: Turn, seconds: float = SLICE) -> None:
        self._turn = turn
        self._seconds = seconds
        self._until = monotonic() + seconds
        self._look: asyncio.Handle | None = None

    async def keep(self) -> None:
        """Wait for another turn, if this one has lasted long enough."""
        if monotonic() <= self._until:
            return
        if self._look is not None:
            self._look.cancel()
        self._turn.late(self)
        await asyncio.sleep(0)
        self._until = monotonic() + self._seconds
        # It comes to this only when taking a message waits, which is when there is none.
        self._look = asyncio.get_running_loop().call_soon(self._turn.caught_up, self)

    def end(self) -> None:
        """Take note that nothing more is taken."""
        self._turn.caught_up(self)
