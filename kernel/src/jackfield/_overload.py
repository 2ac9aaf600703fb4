"""Whether the server has more to do than it can: then it turns clients and calls away, and does what it has begun.

Turning a call away costs time as well, about as much as the cheapest calls do. So calls are turned away until the loop
has caught up, for a moment at a time, and then taken for several times as long, however much comes.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import Final

from jackfield._settings import Limits

_WEIGHT: Final = 0.2
_MOST: Final = 4.0
"""How much the latest beat counts, and how many limits late it may be to count: one that is very late is not enough."""
_SHED: Final = 0.2
"""Seconds of turning calls away at the most, before some are taken again."""
_TAKE: Final = 6.0
"""How many times as long they are taken then."""
_CALM: Final = 2.0
"""Seconds without overload after which the log says that it is over."""
_FULL: Final = 0.8
_ROOMY: Final = 0.75
"""The parts of the memory at which the server begins, and ends, to turn away."""
_LOOK: Final = 1.0
"""Seconds between two looks at the memory."""
_MEMORY: Final = Path("/proc/self/statm")

log: Final = logging.getLogger("jackfield.overload")


class Overload:
    """Watches how late the event loop is, and how much memory the process has.

    Args:
        limits: The limits `loop_lag` and `memory`.
        shed: Called with the reason when calls are to be turned away, and with None when they are to be taken again.
        behind: Returns the seconds for which there has been more to read than was read.

    Attributes:
        active: Whether there is too much to do, so that new clients are to be turned away.
        lag: Seconds by which the event loop, or the reading of what clients have sent, is late, through whomever,
            smoothed over about a second.
    """

    def __init__(self, limits: Limits, shed: Callable[[str | None], None], behind: Callable[[], float]) -> None:
        self.active = False
        self._limit = limits.loop_lag
        self._memory = limits.memory
        self._shed = shed
        self._behind = behind
        self.lag = 0.0
        self._own_lag = 0.0
        self._used = 0
        self._slow = self._full = self._told = False
        self._busy_at = 0.0
        self._look_at = 0.0
        self._shedding: float | None = None
        self._take_until = 0.0

    def beat(self, late: float, traced: bool) -> None:
        """Take note of how late the loop was, which it tells several times a second.

        Args:
            late: By how many seconds.
            traced: Whether a plugin held it: then that one is taken out of service, and nobody turned away.
        """
        now = monotonic()
        late = max(late, self._behind())
        self.lag += _WEIGHT * (late - self.lag)
        late = 0.0 if traced else late
        self._own_lag += _WEIGHT * (min(late, _MOST * self._limit) - self._own_lag)
        if self._limit:
            self._slow = self._own_lag > (self._limit / 2 if self._slow else self._limit)
        if self._memory and now >= self._look_at:
            self._look_at = now + _LOOK
            self._used = _resident()
            self._full = self._used > (_ROOMY if self._full else _FULL) * self._memory
        self.active = self._slow or self._full
        self._tell(now)
        self._choose(now, late)

    def loop(self) -> str | None:
        """Return what is wrong with the event loop, if anything is."""
        return f"it is late by {self._own_lag:.2f} s (limits.loop_lag)" if self._slow else None

    def memory(self) -> str | None:
        """Return what is wrong with the memory, if anything is."""
        return f"{self._used:,} bytes are in use (limits.memory)" if self._full else None

    def _tell(self, now: float) -> None:
        """Log when it begins, and when it has been over for a moment: under a steady flood it comes and goes."""
        if self.active:
            self._busy_at = now
            if not self._told:
                self._told = True
                log.warning("overloaded: new clients and calls are turned away: %s", self.loop() or self.memory())
        elif self._told and now - self._busy_at > _CALM:
            self._told = False
            log.warning("no longer overloaded: new clients and calls are taken again")

    def _choose(self, now: float, late: float) -> None:
        """Decide whether calls are turned away until the next beat."""
        since = self._shedding
        if self._full:
            shed = True
        elif not self._slow:
            shed = False
        elif since is None:
            shed = now >= self._take_until
        else:
            shed = late > self._limit / 4 and now - since < _SHED
        if shed and since is None:
            self._shedding = now
            self._shed("overloaded")
        elif since is not None and not shed:
            self._shedding = None
            self._take_until = now + _TAKE * (now - since)
            self._shed(None)


def _resident() -> int:
    """Return the bytes of memory that the process holds; 0 where the system does not tell."""
    try:
        return int(_MEMORY.read_bytes().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0
