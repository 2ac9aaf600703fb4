"""Token buckets, one for each key, in memory that does not grow with the number of keys."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Final

KEYS: Final = 50_000
"""So many keys are remembered for certain, and twice as many at the most."""

_ROUNDING: Final = 1e-7
"""Seconds that a sum of floats may be off: a call that comes when it was told to is never early."""


class Buckets:
    """Token buckets of one size.

    Of a bucket no more is kept than the moment at which it will be full again: a moment that has passed stands for a
    full one, and each token taken moves it on by the time in which one comes. A full bucket need not be kept at all.

    There are two generations. A key that is looked for moves to the young one; when that is large enough it becomes
    the old one, and what nobody looked for since is forgotten.

    Args:
        rate: Tokens per second.
        burst: Tokens in a full bucket.
        keys: How many keys make a generation.
    """

    __slots__ = ("_interval", "_keys", "_old", "_span", "_young")

    def __init__(self, rate: float, burst: int, keys: int = KEYS) -> None:
        self._interval = 1 / rate
        self._span = burst / rate + _ROUNDING
        self._keys = keys
        self._young: dict[Hashable, float] = {}
        self._old: dict[Hashable, float] = {}

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def take(self, key: Hashable, now: float) -> float:
        """Take a token if there is one.

        Args:
            key: Whose.
            now: The moment, on a clock that only goes forward, in seconds.

        Returns:
            0.0 if it was taken, else the seconds until there is one.
        """
        full = self._young.get(key)
        if full is None:
            full = self._remember(key)
        full = (full if full > now else now) + self._interval
        wait = full - now - self._span
        if wait > 0.0:
            return wait + _ROUNDING
        self._young[key] = full
        return 0.0

    def wait(self, key: Hashable, now: float) -> float:
        """Return the seconds until there is a token; 0.0 if there is one."""
        wait = max(self._full_at(key), now) + self._interval - now - self._span
        return wait + _ROUNDING if wait > 0.0 else 0.0

    def give_back(self, key: Hashable) -> None:
        """Put back a token that was just taken."""
        self._young[key] = self._full_at(key) - self._interval

    def _full_at(self, key: Hashable) -> float:
        full = self._young.get(key)
        return self._old.get(key, 0.0) if full is None else full

    def _remember(self, key: Hashable) -> float:
        """Let a key be young, and return when its bucket will be full."""
        if len(self._young) >= self._keys:
            self._old, self._young = self._young, {}
        full = self._old.pop(key, 0.0)
        if full:
            self._young[key] = full  # a caller who is only refused is not to be forgotten for that
        return full
