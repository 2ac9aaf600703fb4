"""Token buckets that several servers have in common: each has a copy, and tells of what it takes."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Final

from jackfield_ratelimit.buckets import Buckets
from jackfield_ratelimit.settings import Rule

_ROUND: Final = 0.02
"""Seconds in which the others have heard of a token, where all is well; whoever has to wait for that is told so."""


@dataclass(frozen=True, slots=True)
class Report:
    """What is told of one bucket.

    Args:
        key: Whose it is.
        count: How many tokens were taken since the last report.
        interval: Seconds in which one comes.
        known: Seconds until it is full, without these, as far as this server knows; for those who know nothing of it.
    """

    key: Hashable
    count: int
    interval: float
    known: float


class SharedBuckets(Buckets):
    """Token buckets of one rule.

    Of each bucket so many tokens can be taken ahead of the others hearing of it, and no more. If others took some
    meanwhile, the bucket is in debt, and gives nothing until that is paid.

    Args:
        rule: The rule.
        ahead: Which part of a burst may be taken ahead.
        wake: Called when there is something to tell.

    Attributes:
        ahead: How many tokens that is.
        connected: Whether there is somebody to tell; if not, these are buckets of this server alone.
    """

    __slots__ = ("_new", "_told", "_wake", "ahead", "connected")

    def __init__(self, rule: Rule, ahead: float, wake: Callable[[], None]) -> None:
        super().__init__(rule.rate, rule.size)
        self.ahead = min(rule.size, max(1, math.ceil(rule.size * ahead), math.ceil(rule.rate * _ROUND)))
        self._wake = wake
        self._new: dict[Hashable, int] = {}
        self._told: dict[Hashable, int] = {}
        self.connected = False

    def take(self, key: Hashable, now: float) -> float:
        """Take a token if there is one, and it need not be told of before."""
        if not self.connected:
            return super().take(key, now)
        if self._is_ahead(key):
            return max(_ROUND, super().wait(key, now))
        wait = super().take(key, now)
        if not wait:
            self._new[key] = self._new.get(key, 0) + 1
            self._wake()
        return wait

    def wait(self, key: Hashable, now: float) -> float:
        """Return the seconds until there is a token; 0.0 if there is one."""
        wait = super().wait(key, now)
        return max(_ROUND, wait) if self.connected and self._is_ahead(key) else wait

    def give_back(self, key: Hashable) -> None:
        """Put back a token that was just taken."""
        super().give_back(key)
        if self.connected:
            self._new[key] -= 1

    def reports(self, now: float, most: int) -> Iterator[Report]:
        """Yield what is to be told, of so many buckets at the most."""
        for key in list(islice(self._new, most)):
            if count := self._new.pop(key):
                self._told[key] = count
                yield Report(key, count, self._interval, self._full_at(key) - now - count * self._interval)

    def heard(self, report: Report, full: float) -> None:
        """Take note that the others know.

        Args:
            report: What they know.
            full: The moment at which the bucket will be full, by all that they know, and not earlier.
        """
        key = report.key
        self._told.pop(key, None)
        full += self._new.get(key, 0) * self._interval
        if key not in self._young:
            self._remember(key)
        self._young[key] = max(full, self._full_at(key))

    def part(self) -> None:
        """Go on alone."""
        self.connected = False
        self._new.clear()
        self._told.clear()

    def _is_ahead(self, key: Hashable) -> bool:
        return self._new.get(key, 0) + self._told.get(key, 0) >= self.ahead
