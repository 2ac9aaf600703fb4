"""How many sessions there may be: of all clients, from one address, and opened in a second."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable

from jackfield._settings import Limits
from jackfield._transport.eio import Refused
from jackfield._transport.trust import neighbourhood

_LATER = 5
"""Seconds after which a client may find room."""


class Admission:
    """Counts the sessions of one server; each limit that is 0 is none.

    Args:
        limits: The limits.
        clock: Seconds that only grow.
    """

    def __init__(self, limits: Limits, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits = limits
        self._clock = clock
        self._all = 0
        self._by_address: Counter[str] = Counter()
        self._burst = max(1.0, limits.connects)
        self._left = self._burst
        self._looked = clock()

    def check(self, address: str, pending: int) -> None:
        """See whether there is room for one more.

        Args:
            address: Whose it is; empty where there are none.
            pending: How many have not said yet who they are.

        Raises:
            Refused: There is not.
        """
        limits = self._limits
        if pending >= limits.pending:
            raise _full("too many clients are about to connect", "pending")
        if limits.connections and self._all >= limits.connections:
            raise _full("there are too many connections", "connections")
        most = limits.connections_per_address
        if most and address and self._by_address[neighbourhood(address)] >= most:
            raise _full("this address has too many connections", "connections_per_address")

    def knock(self) -> None:
        """Count one more of this second.

        Raises:
            Refused: There are enough.
        """
        rate = self._limits.connects
        if not rate:
            return
        now = self._clock()
        self._left = min(self._burst, self._left + (now - self._looked) * rate)
        self._looked = now
        if self._left < 1:
            raise _full("too many clients connect at once", "connects", math.ceil((1 - self._left) / rate))
        self._left -= 1

    def opened(self, address: str) -> None:
        """Count a session."""
        self._all += 1
        if self._limits.connections_per_address and address:
            self._by_address[neighbourhood(address)] += 1

    def closed(self, address: str) -> None:
        """Count a session no more."""
        self._all -= 1
        if self._limits.connections_per_address and address:
            network = neighbourhood(address)
            self._by_address[network] -= 1
            if not self._by_address[network]:
                del self._by_address[network]


def _full(why: str, limit: str, seconds: int = _LATER) -> Refused:
    return Refused(503, 3, f"{why[0].upper()}{why[1:]}; try again (limits.{limit})", {"retry-after": str(seconds)})
